// SPDX-License-Identifier: Apache-2.0
// Stage 3 of a gate: which experts a token asks for. Group-limited selection is DeepSeek-V2 (best
// expert of a group) and DeepSeek-V3 (sum of the two best).
#pragma once

#include <cstdint>
#include <span>

#include "layers/gates/gate_config.h"
#include "runtime/workspace.h"

namespace folkmoot {

// The values by which experts are ranked: score or logit, plus `bias` (empty = none), and
// group_fill in groups that were not kept. All spans [E].
void SelectionKey(const GateConfig& config, std::span<const double> logits,
                  std::span<const double> score, std::span<const float> bias, Workspace& workspace,
                  std::span<double> key);

// The best chosen.size() of key, best first; equal keys: the lower index. chosen.size() is at most
// key.size().
void TopIndices(std::span<const double> key, std::span<int32_t> chosen);

}  // namespace folkmoot
