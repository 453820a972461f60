// SPDX-License-Identifier: Apache-2.0
// Muse Spark (Meta 2026): q and k of length one, of which most layers rotate them and see a window;
// what heads give is normalised, then gated; gates mix the residual and what parts of a layer give,
// each normalised; experts chosen by biased sigmoid scores have a width of their own, and what each
// of them gives is normalised, too. Muse Glimmer is the same without experts, gates of the residual
// and norms of what heads give. What looks at pictures and listens is not used.
#include <cmath>

#include "layers/models/deepseek_parts.h"
#include "layers/models/layer_kinds.h"

namespace folkmoot {
namespace {

constexpr const char* kThetas = "layer_rope_theta";

constexpr std::string_view kOwnKeys[] = {
    "sliding_window",          "qk_scale_factor", "output_multiplier",
    "final_logit_softcapping", "post_norm_eps",   kThetas,
    "moe_hidden_size",         "mlp_layer_types", "residual_gate_temperature",
    "routed_scaling_factor"};
constexpr std::string_view kDenseKeys[] = {"sliding_window",          "qk_scale_factor",
                                           "output_multiplier",       "post_norm_eps",
                                           "final_logit_softcapping", kThetas};
constexpr KeyAlias kDenseAliases[] = {{"hidden_act", "hidden_activation"}};
constexpr std::string_view kBesideText[] = {
    "vision_config",  "audio_config",    "image_token_id",        "video_token_id",
    "audio_token_id", "out_hidden_size", "projector_hidden_size", "projector_hidden_act"};
constexpr std::string_view kNotText[] = {"model.vision_tower.", "model.vision_adapter.",
                                         "model.vision_projection.", "model.audio_tower."};

// Every fourth layer, counted from the last, sees all of the past.
bool SeesAll(size_t layer, size_t layers) { return (layers - 1 - layer) % 4 == 0; }

// Layers with 0 do not rotate. Another base than the model's is what its documentation promises,
// and not what Transformers computes with.
absl::Status ReadRotations(const ConfigReader& keys, ModelConfig& config) {
  const size_t layers = config.layers.size();
  for (size_t i = 0; i < layers; ++i) config.layers[i].rope = !SeesAll(i, layers);
  if (!keys.HasValue(kThetas)) return absl::OkStatus();
  FM_ASSIGN_OR_RETURN(const auto thetas, keys.Numbers(kThetas, kBelowZero));
  if (thetas.size() != layers) return keys.WrongLength(kThetas, layers);
  for (size_t i = 0; i < layers; ++i) {
    config.layers[i].rope = thetas[i] > 0;
    if (thetas[i] == 0 || thetas[i] == config.rope.theta) continue;
    return keys.Wrong(kThetas, fmt::format("entry {} is {}; known: 0, and rope_theta = {}", i,
                                           thetas[i], config.rope.theta));
  }
  return absl::OkStatus();
}

absl::Status ReadAttention(const ConfigReader& keys, double usual_factor, ModelConfig& config) {
  const size_t layers = config.layers.size();
  FM_RETURN_IF_ERROR(ReadSlidingLayers(
      keys, 2048, [=](size_t i) { return !SeesAll(i, layers); }, config));
  FM_RETURN_IF_ERROR(ReadRotations(keys, config));
  config.attention_gate = AttentionGate::kOwn;
  FM_ASSIGN_OR_RETURN(const double factor, keys.Number("qk_scale_factor", usual_factor, 0.0));
  config.attention_multiplier =
      static_cast<float>(factor / std::sqrt(static_cast<double>(config.head_dim)));
  return absl::OkStatus();
}

absl::Status ReadNorms(const ConfigReader& keys, ModelConfig& config) {
  config.embedding_norm = true;
  config.final_norm = NormKind::kRms;
  config.post_norms = true;
  FM_ASSIGN_OR_RETURN(const double eps, keys.Number("post_norm_eps", 1e-8, kBelowZero));
  config.post_norm_eps = static_cast<float>(eps);
  return absl::OkStatus();
}

// Returns what logits are multiplied with.
absl::StatusOr<float> ReadHead(const ConfigReader& keys, float usual, ModelConfig& config) {
  FM_ASSIGN_OR_RETURN(const float multiplier, keys.Float("output_multiplier", usual, 0.0));
  config.logits_scaling = 1.0f / multiplier;
  FM_ASSIGN_OR_RETURN(config.logits_softcap, keys.Float("final_logit_softcapping", 20.0f, 0.0));
  return multiplier;
}

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  FM_RETURN_IF_ERROR(ReadAttention(keys, 5.4730064863875, config));
  FM_RETURN_IF_ERROR(ReadNorms(keys, config));
  config.attended_norm = true;
  config.late_norms = true;
  FM_ASSIGN_OR_RETURN(config.residual.gate_temperature,
                      keys.Float("residual_gate_temperature", 0.3f, 0.0));
  FM_RETURN_IF_ERROR(ReadMlpLayerTypes(keys, config));
  MoeConfig& moe = config.moe;
  moe.selection_bias = true;
  moe.expert_norms = true;
  FM_ASSIGN_OR_RETURN(moe.latent, keys.Int("moe_hidden_size", 4096, kWidthRange));
  FM_ASSIGN_OR_RETURN(moe.routed_scaling, keys.Number("routed_scaling_factor", 1.0, 0.0));
  if (config.tied_embeddings) {
    return keys.Wrong("tie_word_embeddings",
                      "Transformers reads a head of its own whatever it says");
  }
  // Of the router's logits, too.
  FM_ASSIGN_OR_RETURN(moe.router_scale, ReadHead(keys, 0.17677669f, config));
  return absl::OkStatus();
}

absl::Status ReadDense(const ConfigSource& source, ModelConfig& config) {
  FM_RETURN_IF_ERROR(ReadAttention(source.keys, 3.87, config));
  FM_RETURN_IF_ERROR(ReadNorms(source.keys, config));
  return ReadHead(source.keys, 0.19611613f, config).status();
}

LayerNames Names(const std::string& prefix) {
  LayerNames names = UsualLayerNames(prefix);
  names.ffn_norm = prefix + "pre_feedforward_layernorm";
  names.attention_post_norm.clear();
  names.ffn_post_norm = prefix + "post_feedforward_layernorm";
  names.attention_residual.gate = prefix + "post_attention_residual_gate.gate";
  names.ffn_residual.gate = prefix + "post_feedforward_residual_gate.gate";
  names.moe.latent_in = prefix + "mlp.pre_expert_proj";
  names.moe.latent_norm = prefix + "mlp.pre_expert_norm";
  names.moe.latent_out = prefix + "mlp.post_expert_proj";
  names.moe.expert_norm = prefix + "mlp.experts.post_expert_norm";
  return names;
}

LayerNames DenseNames(const std::string& prefix) {
  LayerNames names = UsualLayerNames(prefix);
  names.attention_post_norm = names.ffn_norm;
  names.ffn_norm = prefix + "pre_feedforward_layernorm";
  names.ffn_post_norm = prefix + "post_feedforward_layernorm";
  return names;
}

GateConfig PublishedGate(const ModelConfig& config) {
  GateConfig gate = BiasedSigmoidGate(config);
  gate.norm_eps = 1e-15;
  return gate;
}

}  // namespace

const Family kMuseGlimmer = {
    .config = {.architecture = "MuseGlimmerForConditionalGeneration",
               .model_type = "muse_glimmer",
               .vocab = 202048,
               .hidden = 6656,
               .intermediate = 19968,
               .layers = 52,
               .heads = 32,
               .kv_heads = 2,
               .max_positions = 131072,
               .head_dim = 128,
               .rms_norm_eps = 1e-5,
               .norm = NormKind::kRmsPlusOne,
               .eos = 200001,
               .bias = BiasRule::kAttentionKey,
               .qk_norm = QkNormKind::kUnit,
               .window = WindowRule::kOwn,
               .kv_heads_null = false,
               .head_dim_null = false,
               .aliases = kDenseAliases,
               .text_model_type = "muse_glimmer_text",
               .beside_text = kBesideText,
               .own_keys = kDenseKeys,
               .read = ReadDense},
    .layer_names = DenseNames,
    .end_names = InnerLanguageModelEndNames,
    .layers = "model.language_model.layers.",
    .unused = kNotText,
};

const Family kMuseSpark = {
    .config = {.architecture = "MuseSparkForConditionalGeneration",
               .model_type = "muse_spark",
               .vocab = 202048,
               .hidden = 8192,
               .intermediate = 16384,
               .layers = 62,
               .heads = 128,
               .kv_heads = 16,
               .max_positions = 1048576,
               .head_dim = 64,
               .rms_norm_eps = 1e-5,
               .norm = NormKind::kRmsPlusOne,
               .rope_absent = R"({"rope_type": "default", "rope_theta": 500000.0})",
               .eos = 200001,
               .bias = BiasRule::kAttentionKey,
               .qk_norm = QkNormKind::kUnit,
               .window = WindowRule::kOwn,
               .experts = 256,
               .top_k = 8,
               .moe_intermediate = 4096,
               .dense = DenseRule::kOwn,
               .local_experts_alias = true,
               .local_experts_only = true,
               .text_model_type = "muse_spark_text",
               .beside_text = kBesideText,
               .own_keys = kOwnKeys,
               .read = Read},
    .layer_names = Names,
    .end_names = InnerLanguageModelEndNames,
    .layers = "model.language_model.layers.",
    .gate = PublishedGate,
    .unused = kNotText,
};

}  // namespace folkmoot
