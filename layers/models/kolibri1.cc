// SPDX-License-Identifier: Apache-2.0
// Kolibri-1 (Aleph Alpha 2026): the attention of EXAONE 4, whose layers with a window rotate q and
// k and whose others do not, between the norms of GLM-4, before and behind it; experts in all
// layers, chosen by logit plus a bias of the layer and weighed by the sigmoid of the logit alone,
// beside a shared one.
#include "layers/models/family.h"

namespace folkmoot {
namespace {

// What released files say beside what is read.
constexpr FixedKey kFixed[] = {{"use_sliding_window", "true"}, {"head_dtype", "\"float32\""}};

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  if (keys.Has("sliding_window") && !keys.HasValue("sliding_window")) {
    return keys.Wrong("sliding_window", "it must be a number, if only one that no layer uses");
  }
  config.post_norms = true;
  config.moe.selection_bias = true;
  for (LayerConfig& layer : config.layers) layer.rope = layer.sliding_window > 0;
  return absl::OkStatus();
}

GateConfig PublishedGate(const ModelConfig& config) {
  GateConfig gate = TopKGate(config);
  gate.score_fn = ScoreFn::kSigmoid;
  gate.select_on = SelectOn::kLogit;
  return gate;
}

LayerNames SavedNames(const std::string& prefix) {
  LayerNames names = UsualLayerNames(prefix);
  names.attention_post_norm = prefix + "post_self_attn_layernorm";
  names.ffn_post_norm = prefix + "post_mlp_layernorm";
  return names;
}

LayerNames Names(const std::string& prefix) {
  LayerNames names = UsualLayerNames(prefix);
  names.attention_post_norm = prefix + "post_attn_norm";
  names.ffn_post_norm = prefix + "post_ffn_norm";
  names.moe.selection_bias = prefix + "moe.router.expert_bias";
  return names;
}

// As Transformers' modules have them.
constexpr OtherNames kOtherNames[] = {{.tensor = "model.layers.0.post_mlp_layernorm.weight",
                                       .layers = "model.layers.",
                                       .layer_names = SavedNames,
                                       .end_names = UsualEndNames}};

}  // namespace

const Family kKolibri1 = {
    .config = {.architecture = "Kolibri1ForCausalLM",
               .model_type = "kolibri1",
               .vocab = 128000,
               .hidden = 2560,
               .layers = 50,
               .heads = 48,
               .kv_heads = 4,
               .max_positions = 262144,
               .head_dim = 128,
               .qk_norm = QkNormKind::kHeads,
               .window = WindowRule::kAllButNth,
               .window_size = 513,
               .window_pattern = 5,
               .kv_heads_null = false,
               .head_dim_null = false,
               .experts = 384,
               .top_k = 6,
               .moe_intermediate = 512,
               .shared_intermediate = 512,
               .local_experts_alias = true,
               .norm_topk_key = true,
               .fixed = kFixed,
               .read = Read},
    .layer_names = Names,
    .other_names = kOtherNames,
    .gate = PublishedGate,
};

}  // namespace folkmoot
