// SPDX-License-Identifier: Apache-2.0
// CPU side of runtime/ops/delta_rule.h; shapes are checked there.
#pragma once

#include <span>

#include "runtime/ops/delta_rule.h"

namespace folkmoot::cpu {

void GatedDeltaRule(ThreadPool& pool, const DeltaRuleParams& params,
                    std::span<const AttentionSequence> sequences, ConstMatrix projected,
                    RecurrentState& state, Workspace& workspace, Matrix out);

}  // namespace folkmoot::cpu
