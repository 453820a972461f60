// SPDX-License-Identifier: Apache-2.0
// What families have in common whose linear attention is Kimi's (layers/kimi_delta_attention.h):
// Kimi Linear, GLM-5.3-Flash.
#pragma once

#include <cstdint>
#include <string>

#include "layers/layer_names.h"
#include "runtime/model_config.h"
#include "runtime/model_config_json.h"

namespace folkmoot {

// Heads (absent: `heads`), their numbers and the rows of convolutions, by the authors' keys in
// linear_attn_config or those of Transformers, which may not contradict each other. Behind
// config.activation, that of convolutions.
absl::Status ReadKimiAttention(const ConfigReader& keys, int64_t heads, ModelConfig& config);

// The authors' names; `mixer` is "model.layers.3.self_attn.".
RecurrentNames KimiAttentionNames(const std::string& mixer);

}  // namespace folkmoot
