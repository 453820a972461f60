// SPDX-License-Identifier: Apache-2.0
// DeepSeek-V3 and R1 (arXiv 2412.19437), Kimi-K2 and Moonlight: latent attention, leading dense
// layers, experts chosen in groups by biased sigmoid scores. The layer for multi-token prediction
// is not used. A.X-K1 (SK Telecom 2026) is the same with a norm behind its experts. Of Kimi-K2.5
// (Moonshot AI 2026) only the text model is run, which is that of Kimi-K2.
#include "layers/models/deepseek_parts.h"

namespace folkmoot {
namespace {

constexpr std::string_view kAxKeys[] = {
    "n_group",         "topk_group",     "routed_scaling_factor",    "n_shared_experts",
    "rope_interleave", "aux_loss_alpha", "num_nextn_predict_layers", "num_mtp_layers",
    "ep_size",         "seq_aux",        "mlp_layer_types"};
constexpr auto kOwnKeys = std::span(kAxKeys).first<std::size(kAxKeys) - 1>();
constexpr KeyAlias kAliases[] = {{"num_experts", "n_routed_experts"}};
constexpr FixedKey kFixed[] = {
    {"scoring_func", "\"sigmoid\""}, {"topk_method", "\"noaux_tc\""}, {"moe_layer_freq", "1"}};

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  FM_RETURN_IF_ERROR(ReadLatent(source, {}, config));
  FM_RETURN_IF_ERROR(
      ReadBiasedExperts(source.keys, {.groups = 8, .chosen = 4}, 2.5, 1, config.moe));
  FM_ASSIGN_OR_RETURN(config.rope.neighbours, source.keys.Bool("rope_interleave", true));
  return absl::OkStatus();
}

// Transformers since 5.24 writes mlp_layer_types in place of first_k_dense_replace.
absl::Status ReadAx(const ConfigSource& source, ModelConfig& config) {
  config.expert_post_norms = true;
  FM_RETURN_IF_ERROR(Read(source, config));
  return ReadMlpLayerTypes(source.keys, config);
}

// The authors do not normalise the weight of a token's only expert.
GateConfig PublishedGate(const ModelConfig& config) {
  GateConfig gate = BiasedSigmoidGate(config);
  if (config.moe.top_k == 1) gate.normalize = Normalize::kNone;
  return gate;
}

constexpr std::string_view kBesideText[] = {
    "vision_config",          "media_placeholder_token_id", "video_placeholder",
    "ignore_index",           "use_unified_vision_chunk",   "image_token_id",
    "video_token_id",         "vision_start_token_id",      "vision_end_token_id",
    "projection_hidden_size", "projection_layer_norm_eps"};
constexpr std::string_view kNotText[] = {"vision_tower.", "mm_projector.",
                                         "language_model.model.layers.{}."};

constexpr ConfigFamily kText = {.architecture = "DeepseekV3ForCausalLM",
                                .model_type = "deepseek_v3",
                                .other_model_type = "kimi_k2",
                                .vocab = 129280,
                                .hidden = 7168,
                                .intermediate = 18432,
                                .layers = 61,
                                .heads = 128,
                                .max_positions = 4096,
                                .head_dim = 192,
                                .latent_rope_dim = 64,
                                .eos = 1,
                                .bias = BiasRule::kAttentionKey,
                                .experts = 256,
                                .top_k = 8,
                                .moe_intermediate = 2048,
                                .dense = DenseRule::kFirst,
                                .first_dense = 3,
                                .local_experts_alias = true,
                                .norm_topk_key = true,
                                .norm_topk = true,
                                .aliases = kAliases,
                                .fixed = kFixed,
                                .own_keys = kOwnKeys,
                                .read = Read};

constexpr ConfigFamily MultimodalConfig() {
  ConfigFamily config = kText;
  config.architecture = "KimiK25ForConditionalGeneration";
  config.other_architecture = "Kimi_K25ForConditionalGeneration";
  config.model_type = "kimi_k25";
  config.other_model_type = "";
  config.text_model_type = "deepseek_v3";
  config.other_text_model_type = "kimi_k2";
  config.beside_text = kBesideText;
  return config;
}

constexpr ConfigFamily AxConfig() {
  ConfigFamily config = kText;
  config.architecture = "AXK1ForCausalLM";
  config.model_type = "axk1";
  config.other_model_type = "AXK1";
  config.vocab = 163840;
  config.heads = 64;
  config.max_positions = 32768;
  config.first_dense = 1;
  config.experts = 192;
  config.eos = 163691;
  config.own_keys = kAxKeys;
  config.read = ReadAx;
  return config;
}

LayerNames AxNames(const std::string& prefix) {
  LayerNames names = UsualLayerNames(prefix);
  names.ffn_post_norm = prefix + "post_mlp_layernorm";
  return names;
}

// What Transformers makes of layers where it writes them.
constexpr OtherNames kOtherNames[] = {
    {.tensor = "language_model.model.blocks.0.input_layernorm.weight",
     .layers = "language_model.model.blocks.",
     .layer_names = UsualLayerNames,
     .end_names = LanguageModelEndNames}};

}  // namespace

const Family kAxk1 = {.config = AxConfig(),
                      .layer_names = AxNames,
                      .gate = BiasedSigmoidGate,
                      .unused = kPredictionLayers};

const Family kDeepseekV3 = {.config = kText, .gate = PublishedGate, .unused = kPredictionLayers};

const Family kKimiK25 = {.config = MultimodalConfig(),
                         .end_names = LanguageModelEndNames,
                         .layers = "language_model.model.layers.",
                         .other_names = kOtherNames,
                         .gate = PublishedGate,
                         .unused = kNotText};

}  // namespace folkmoot
