// SPDX-License-Identifier: Apache-2.0
// CPU side of runtime/ops/state_space.h; shapes are checked there.
#pragma once

#include <span>

#include "runtime/ops/state_space.h"

namespace folkmoot::cpu {

void StateSpace(ThreadPool& pool, const StateSpaceParams& params,
                std::span<const AttentionSequence> sequences, ConstMatrix projected,
                RecurrentState& state, Workspace& workspace, Matrix out);

}  // namespace folkmoot::cpu
