// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "runtime/ops/convolved_heads.h"

namespace folkmoot::cpu {

// Shapes are checked in runtime/ops.
void MakeHeadWindows(ThreadPool& pool, const HeadWindows& windows,
                     std::span<const AttentionSequence> sequences, ConstMatrix inputs,
                     RecurrentState& state, Matrix out);
void AddHeadMeans(ThreadPool& pool, int64_t head_dim, int64_t queries, ConstMatrix projected,
                  Matrix out);

}  // namespace folkmoot::cpu
