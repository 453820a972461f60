// SPDX-License-Identifier: Apache-2.0
// OLMo 2 (arXiv 2501.00656) and OLMo 3 (Ai2 2025), dense, and FlexOlmo (arXiv 2507.07024), with the
// experts of OLMoE: norms of what attention and FFN give instead of what they read, and of q and k
// over all heads. Three of four layers of OLMo 3 have a window; YaRN stretches the others alone.
#include "layers/models/family.h"
#include "layers/models/layer_ropes.h"

namespace folkmoot {
namespace {

absl::Status Read(const ConfigSource&, ModelConfig& config) {
  config.input_norms = false;
  config.post_norms = true;
  return absl::OkStatus();
}

// A rope_theta outside of rope_parameters is that of all layers, as in the authors' code;
// Transformers 5 gives layers with a window the default.
absl::Status Read3(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  FM_RETURN_IF_ERROR(Read(source, config));
  constexpr std::string_view kOlder[] = {"rope_theta", "rope_scaling"};
  OlderRopeKeys full = {.theta = 5e5};
  if (keys.HasValue("rope_theta")) full.keys["rope_theta"] = *keys.Find("rope_theta");
  const OlderRopeKeys local = full;
  if (keys.HasValue("rope_scaling")) full.keys["rope_scaling"] = *keys.Find("rope_scaling");
  return ReadLayerRopes(keys, kOlder, full, local, config);
}

LayerNames Names(const std::string& prefix) {
  LayerNames names = UsualLayerNames(prefix);
  names.attention_post_norm = prefix + "post_attention_layernorm";
  names.ffn_post_norm = prefix + "post_feedforward_layernorm";
  return names;
}

constexpr ConfigFamily SecondConfig() {
  return {.architecture = "Olmo2ForCausalLM",
          .model_type = "olmo2",
          .vocab = 50304,
          .hidden = 4096,
          .intermediate = 11008,
          .layers = 32,
          .heads = 32,
          .max_positions = 2048,
          .rms_norm_eps = 1e-5,
          .eos = 50279,
          .bias = BiasRule::kAttentionKey,
          .qk_norm = QkNormKind::kRows,
          .head_dim_null = false,
          .read = Read};
}

constexpr ConfigFamily ThirdConfig() {
  ConfigFamily config = SecondConfig();
  config.architecture = "Olmo3ForCausalLM";
  config.model_type = "olmo3";
  config.window = WindowRule::kAllButNth;
  config.window_size = 4096;
  config.window_pattern = 4;
  config.own_rope = true;
  config.read = Read3;
  return config;
}

}  // namespace

const Family kOlmo2 = {.config = SecondConfig(), .layer_names = Names};
const Family kOlmo3 = {.config = ThirdConfig(), .layer_names = Names};

const Family kFlexOlmo = {
    .config = {.architecture = "FlexOlmoForCausalLM",
               .model_type = "flex_olmo",
               .vocab = 100352,
               .hidden = 4096,
               .intermediate = 11008,
               .layers = 32,
               .heads = 32,
               .max_positions = 4096,
               .rope_theta = 5e5,
               .eos = 100257,
               .bias = BiasRule::kAttentionKey,
               .qk_norm = QkNormKind::kRows,
               .head_dim_null = false,
               .experts = 7,
               .top_k = 5,
               .local_experts_alias = true,
               .norm_topk_key = true,
               .read = Read},
    .layer_names = Names,
    .gate = TopKGate,
};

}  // namespace folkmoot
