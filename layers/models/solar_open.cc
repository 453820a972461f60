// SPDX-License-Identifier: Apache-2.0
// Solar Open (Upstage 2026): GLM-4.5 without norms of q and k and without dense layers, whose heads
// turn as a whole.
#include "layers/models/deepseek_parts.h"

namespace folkmoot {
namespace {

constexpr KeyAlias kAliases[] = {{"num_experts", "n_routed_experts"}};
constexpr FixedKey kFixed[] = {{"first_k_dense_replace", "0"},
                               {"use_qk_norm", "false"},
                               {"scoring_func", "\"sigmoid\""},
                               {"topk_method", "\"noaux_tc\""}};
// Read; the last is the width of dense layers, of which there are none.
constexpr std::string_view kOwnKeys[] = {"n_group",          "topk_group",
                                         "attention_bias",   "routed_scaling_factor",
                                         "n_shared_experts", "intermediate_size"};

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  FM_ASSIGN_OR_RETURN(config.qkv_bias, source.keys.Bool("attention_bias", false));
  return ReadBiasedExperts(source.keys, {}, 1.0, 1, config.moe);
}

}  // namespace

const Family kSolarOpen = {
    .config = {.architecture = "SolarOpenForCausalLM",
               .model_type = "solar_open",
               .vocab = 196608,
               .hidden = 4096,
               .layers = 48,
               .heads = 64,
               .kv_heads = 8,
               .max_positions = 131072,
               .head_dim = 128,
               .rms_norm_eps = 1e-5,
               .rope_theta = 1e6,
               .kv_heads_null = false,
               .head_dim_null = false,
               .experts = 128,
               .top_k = 8,
               .moe_intermediate = 1280,
               .local_experts_alias = true,
               .norm_topk_key = true,
               .norm_topk = true,
               .aliases = kAliases,
               .fixed = kFixed,
               .own_keys = kOwnKeys,
               .read = Read},
    .gate = BiasedSigmoidGate,
};

}  // namespace folkmoot
