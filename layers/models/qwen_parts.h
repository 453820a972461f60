// SPDX-License-Identifier: Apache-2.0
// What families have in common whose linear attention is Qwen's gated delta rule
// (layers/gated_delta_net.h): Qwen3-Next, Qwen3.5, Qwen4-Exp, and Lara-4 Mini, which is not Qwen's.
#pragma once

#include <cstdint>
#include <string>

#include "layers/layer_names.h"
#include "runtime/model_config.h"
#include "runtime/model_config_json.h"

namespace folkmoot {

// Of absent keys.
struct DeltaHeadDefaults {
  int64_t key_heads = 16;
  int64_t value_heads = 32;
};
// Heads, their numbers and the rows of convolutions. Behind config.activation, that of
// convolutions.
absl::Status ReadGatedDelta(const ConfigReader& keys, const DeltaHeadDefaults& defaults,
                            ModelConfig& config);

// As Qwen3.5 writes them: a matrix for each projection. `mixer` is "model.layers.3.linear_attn.".
RecurrentNames GatedDeltaNames(const std::string& mixer);

}  // namespace folkmoot
