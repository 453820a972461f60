// SPDX-License-Identifier: Apache-2.0
// Arcee Trinity (AFMoE, 2025): layers with a window rotate q and k, every few see all of the past
// and do not; what heads give is gated by sigmoids of the layer's input; norms before and after
// attention and FFN; experts chosen by biased sigmoid scores beside shared ones.
#include <cmath>

#include "layers/models/deepseek_parts.h"

namespace folkmoot {
namespace {

constexpr KeyAlias kAliases[] = {{"sliding_window_pattern", "global_attn_every_n_layers"},
                                 {"first_k_dense_replace", "num_dense_layers"},
                                 {"n_shared_experts", "num_shared_experts"},
                                 {"routed_scaling_factor", "route_scale"}};
constexpr FixedKey kFixed[] = {
    {"score_func", "\"sigmoid\""}, {"route_norm", "true"},     {"n_group", "1"},
    {"topk_group", "1"},           {"num_expert_groups", "1"}, {"num_limited_groups", "1"}};
// Read; then those of training and of how products are carried out.
constexpr std::string_view kOwnKeys[] = {
    "global_attn_every_n_layers", "num_shared_experts", "route_scale", "mup_enabled",
    "load_balance_coeff",         "use_grouped_mm"};

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  config.attention_gate = AttentionGate::kOwn;
  config.post_norms = true;
  config.moe.selection_bias = true;
  for (LayerConfig& layer : config.layers) layer.rope = layer.sliding_window > 0;
  FM_ASSIGN_OR_RETURN(const bool scaled, keys.Bool("mup_enabled", false));
  if (scaled) config.embedding_multiplier = std::sqrt(static_cast<float>(config.hidden));
  return ReadScaledAndShared(keys, 1.0, 2, config.moe);
}

LayerNames Names(const std::string& prefix) {
  LayerNames names = UsualLayerNames(prefix);
  names.attention_post_norm = prefix + "post_attention_layernorm";
  names.ffn_norm = prefix + "pre_mlp_layernorm";
  names.ffn_post_norm = prefix + "post_mlp_layernorm";
  names.moe.router = prefix + "mlp.router.gate.weight";
  names.moe.selection_bias = prefix + "mlp.expert_bias";
  return names;
}

}  // namespace

const Family kAfmoe = {
    .config = {.architecture = "AfmoeForCausalLM",
               .model_type = "afmoe",
               .vocab = 200192,
               .hidden = 2048,
               .intermediate = 6144,
               .layers = 32,
               .heads = 16,
               .max_positions = 16384,
               .head_dim = 128,
               .rms_norm_eps = 1e-5,
               .bias = BiasRule::kAttentionKey,
               .qk_norm = QkNormKind::kHeads,
               .window = WindowRule::kAllButNth,
               .window_size = 1024,
               .window_pattern = 4,
               .head_dim_null = false,
               .experts = 64,
               .top_k = 6,
               .moe_intermediate = 1408,
               .dense = DenseRule::kFirst,
               .first_dense = 1,
               .aliases = kAliases,
               .fixed = kFixed,
               .own_keys = kOwnKeys,
               .read = Read},
    .layer_names = Names,
    .gate = BiasedSigmoidGate,
};

}  // namespace folkmoot
