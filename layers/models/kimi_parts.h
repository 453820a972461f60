// SPDX-License-Identifier: Apache-2.0
// What families have in common whose linear attention is Kimi's (layers/kimi_delta_attention.h):
// Kimi Linear, GLM-5.3-Flash, Ling 3.
#pragma once

#include <cstdint>
#include <string>

#include "layers/layer_names.h"
#include "runtime/model_config.h"
#include "runtime/model_config_json.h"

namespace folkmoot {

// Keys that Kimi Linear's configuration class spells in its own way.
inline constexpr KeyAlias kKimiAliases[] = {{"max_position_embeddings", "model_max_length", true},
                                            {"num_experts_per_tok", "num_experts_per_token", true},
                                            {"norm_topk_prob", "moe_renormalize", true},
                                            {"n_group", "num_expert_group", true},
                                            {"n_shared_experts", "num_shared_experts", true}};

// Of absent keys.
struct KimiDefaults {
  int64_t heads = 32;
  int64_t head_dim = 128;
  int64_t kernel = 4;
};
inline constexpr IntRange kKimiHeadDim = {1, 1 << 12};

// Heads, their numbers and the rows of convolutions, by the authors' keys in linear_attn_config or
// those of Transformers, which may not contradict each other. Behind config.activation, that of
// convolutions.
absl::Status ReadKimiAttention(const ConfigReader& keys, const KimiDefaults& defaults,
                               ModelConfig& config);

// The authors' names; `mixer` is "model.layers.3.self_attn.".
RecurrentNames KimiAttentionNames(const std::string& mixer);

}  // namespace folkmoot
