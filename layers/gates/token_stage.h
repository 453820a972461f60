// SPDX-License-Identifier: Apache-2.0
// Everything that needs one token only (stages 1 to 5 of a gate): scores, selection, raw weights
// and the policy of the extra slots. Pure functions of the token, its draws and the config, so the
// result cannot depend on the batch.
#pragma once

#include <cstdint>
#include <span>

#include "layers/gates/decisions.h"
#include "layers/gates/gate_config.h"
#include "runtime/random.h"
#include "runtime/workspace.h"

namespace folkmoot {

struct TokenInput {
  std::span<const float> logits;  // [E and shared sinks], finite
  std::span<const float> router_bias;
  std::span<const float> selection_bias;
  DrawKey draws;                    // seed, stream, layer and position; the purpose is set here
  std::span<const float> uniforms;  // [K - 1] or [1] injected draws of the extra slots; or empty
  std::span<const int32_t> forced;  // [K] experts from a token table; or empty
  bool valid = true;
};

// Fills row `token` of `out` but for `place`, `order` and `position`.
void DecideToken(const GateConfig& config, const TokenInput& input, int64_t token,
                 Workspace& workspace, Decisions& out);

// The divisor of normalisation for a sum of weights; 0 or less means that all weights are 0.
double NormDivisor(const GateConfig& config, double sum);

}  // namespace folkmoot
