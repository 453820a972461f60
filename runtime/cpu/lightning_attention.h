// SPDX-License-Identifier: Apache-2.0
// CPU side of runtime/ops/lightning_attention.h; shapes are checked there.
#pragma once

#include <span>

#include "runtime/ops/lightning_attention.h"

namespace folkmoot::cpu {

void LightningAttention(ThreadPool& pool, const LightningParams& params,
                        std::span<const AttentionSequence> sequences, Matrix qkv,
                        RecurrentState& state, Matrix out);

}  // namespace folkmoot::cpu
