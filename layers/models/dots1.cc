// SPDX-License-Identifier: Apache-2.0
// dots.llm1 (arXiv 2506.05767): the attention of Qwen3 with the experts of DeepSeek-V3.
#include "layers/models/deepseek_parts.h"

namespace folkmoot {
namespace {

constexpr std::string_view kOwnKeys[] = {"n_group",          "topk_group", "routed_scaling_factor",
                                         "n_shared_experts", "ep_size",    "seq_aux",
                                         "aux_loss_alpha"};
constexpr KeyAlias kAliases[] = {{"num_experts", "n_routed_experts"}};
// The published file says "noaux_tc" where it means the method.
constexpr FixedKey kFixed[] = {{"scoring_func", "\"noaux_tc\""}, {"scoring_func", "\"sigmoid\""},
                               {"topk_method", "\"noaux_tc\""},  {"moe_layer_freq", "1"},
                               {"qk_layernorm", "true"},         {"num_nextn_predict_layers", "0"},
                               {"use_sliding_window", "false"},  {"use_sliding_window", "true"}};

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  for (const char* key : {"n_routed_experts", "num_experts_per_tok", "n_shared_experts"}) {
    if (source.keys.HasValue(key)) continue;
    return source.keys.Wrong(key, "this architecture has no default for it");
  }
  return ReadBiasedExperts(source.keys, {}, 1.0, 1, config.moe);
}

}  // namespace

const Family kDots1 = {
    .config = {.architecture = "Dots1ForCausalLM",
               .model_type = "dots1",
               .vocab = 152064,
               .hidden = 4608,
               .intermediate = 10944,
               .layers = 62,
               .heads = 32,
               .kv_heads = 32,
               .max_positions = 2048,
               .bias = BiasRule::kAttentionKey,
               .qk_norm = QkNormKind::kHeads,
               .window = WindowRule::kAlwaysFromMax,
               .window_size = 4096,
               .max_window_layers = 62,
               .head_dim_null = false,
               .experts = 1 << 16,  // no default: Read asks for it
               .top_k = 1,
               .moe_intermediate = 1408,
               .dense = DenseRule::kFirst,
               .local_experts_alias = true,
               .norm_topk_key = true,
               .aliases = kAliases,
               .fixed = kFixed,
               .own_keys = kOwnKeys,
               .read = Read},
    .gate = BiasedSigmoidGate,
};

}  // namespace folkmoot
