// SPDX-License-Identifier: Apache-2.0
// CPU side of runtime/ops/selective_scan.h; shapes are checked there.
#pragma once

#include <span>

#include "runtime/ops/selective_scan.h"

namespace folkmoot::cpu {

void SelectiveScan(ThreadPool& pool, const SelectiveScanParams& params,
                   std::span<const AttentionSequence> sequences, const SelectiveScanRows& rows,
                   RecurrentState& state, Matrix out);

}  // namespace folkmoot::cpu
