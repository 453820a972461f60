// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "runtime/ops/sum_mixture.h"

namespace folkmoot::cpu {

// Shapes are checked in runtime/ops.
void MixSums(ThreadPool& pool, ConstMatrix sums, std::span<const float> queries, int64_t hidden,
             Workspace& workspace, Matrix out);

}  // namespace folkmoot::cpu
