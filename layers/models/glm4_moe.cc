// SPDX-License-Identifier: Apache-2.0
// GLM-4.5, 4.6 and 4.7 (arXiv 2508.06471): grouped-query attention of which half a head turns, with
// the experts of DeepSeek-V3; and GLM-4.7-Flash, which has its attention too. The layer for
// multi-token prediction is not used. Of GLM-4.5V and 4.6V only the text model is
// run: without pictures the three sections of its positions are equal.
#include "layers/models/deepseek_parts.h"
#include "runtime/model_config_rope.h"

namespace folkmoot {
namespace {

constexpr std::string_view kOwnKeys[] = {
    "n_group",     "topk_group",     "routed_scaling_factor",    "n_shared_experts",
    "use_qk_norm", "attention_bias", "num_nextn_predict_layers", "num_mtp_layers",
    "ep_size"};
constexpr std::string_view kLiteKeys[] = {"n_group",
                                          "topk_group",
                                          "routed_scaling_factor",
                                          "n_shared_experts",
                                          "rope_interleave",
                                          "mlp_layer_types",
                                          "num_nextn_predict_layers",
                                          "num_mtp_layers",
                                          "first_k_dense_replace"};
constexpr KeyAlias kAliases[] = {{"num_experts", "n_routed_experts"}};
constexpr FixedKey kFixed[] = {
    {"scoring_func", "\"sigmoid\""}, {"topk_method", "\"noaux_tc\""}, {"moe_layer_freq", "1"}};
constexpr FixedKey kLiteFixed[] = {{"scoring_func", "\"sigmoid\""},
                                   {"topk_method", "\"noaux_tc\""},
                                   {"moe_layer_freq", "1"},
                                   {"use_qk_norm", "false"}};

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  FM_RETURN_IF_ERROR(ReadBiasedExperts(source.keys, {}, 1.0, 1, config.moe));
  FM_ASSIGN_OR_RETURN(config.qkv_bias, source.keys.Bool("attention_bias", false));
  FM_ASSIGN_OR_RETURN(const bool norms, source.keys.Bool("use_qk_norm", false));
  if (norms) config.qk_norm = QkNormKind::kHeads;
  return absl::OkStatus();
}

absl::Status ReadLite(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  FM_RETURN_IF_ERROR(
      ReadLatent(source, {.q_rank = 768, .nope_dim = 192, .value_dim = 256}, config));
  FM_RETURN_IF_ERROR(ReadBiasedExperts(keys, {}, 1.8, 1, config.moe));
  FM_ASSIGN_OR_RETURN(config.rope.neighbours, keys.Bool("rope_interleave", true));
  config.layers.front().moe = false;  // where mlp_layer_types is absent
  return ReadMlpLayerTypes(keys, config);
}

constexpr std::string_view kPictureKeys[] = {"n_group", "topk_group", "routed_scaling_factor",
                                             "n_shared_experts", "attention_bias"};
constexpr FixedKey kPictureFixed[] = {
    {"use_qk_norm", "false"}, {"scoring_func", "\"sigmoid\""}, {"topk_method", "\"noaux_tc\""}};
constexpr std::string_view kBesideText[] = {
    "vision_config",      "image_token_id",       "video_token_id",    "image_start_token_id",
    "image_end_token_id", "video_start_token_id", "video_end_token_id"};
constexpr std::string_view kNotText[] = {"model.visual.", "model.language_model.layers.{}."};

absl::Status ReadPictureText(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  FM_RETURN_IF_ERROR(ReadBiasedExperts(keys, {}, 1.0, 1, config.moe));
  FM_ASSIGN_OR_RETURN(config.qkv_bias, keys.Bool("attention_bias", true));
  FM_ASSIGN_OR_RETURN(config.rope, ParseRope(keys, {.dim = config.head_dim,
                                                    .partial = source.family.partial_rotary,
                                                    .max_positions = config.max_positions,
                                                    .sections = true}));
  return absl::OkStatus();
}

}  // namespace

const Family kGlm4vMoe = {
    .config = {.architecture = "Glm4vMoeForConditionalGeneration",
               .model_type = "glm4v_moe",
               .vocab = 151424,
               .hidden = 4096,
               .intermediate = 10944,
               .layers = 46,
               .heads = 96,
               .kv_heads = 8,
               .max_positions = 65536,
               .rms_norm_eps = 1e-5,
               .partial_rotary = 0.5,
               .own_rope = true,
               .kv_heads_null = false,
               .head_dim_null = false,
               .experts = 128,
               .top_k = 8,
               .moe_intermediate = 1408,
               .dense = DenseRule::kFirst,
               .first_dense = 1,
               .local_experts_alias = true,
               .norm_topk_key = true,
               .norm_topk = true,
               .aliases = kAliases,
               .text_model_type = "glm4v_moe_text",
               .beside_text = kBesideText,
               .fixed = kPictureFixed,
               .own_keys = kPictureKeys,
               .read = ReadPictureText},
    .end_names = InnerLanguageModelEndNames,
    .layers = "model.language_model.layers.",
    .gate = BiasedSigmoidGate,
    .unused = kNotText,
};

const Family kGlm4Moe = {
    .config = {.architecture = "Glm4MoeForCausalLM",
               .model_type = "glm4_moe",
               .vocab = 151552,
               .hidden = 4096,
               .intermediate = 10944,
               .layers = 46,
               .heads = 96,
               .kv_heads = 8,
               .max_positions = 131072,
               .rms_norm_eps = 1e-5,
               .partial_rotary = 0.5,
               .kv_heads_null = false,
               .head_dim_null = false,
               .experts = 128,
               .top_k = 8,
               .moe_intermediate = 1408,
               .dense = DenseRule::kFirst,
               .first_dense = 1,
               .local_experts_alias = true,
               .norm_topk_key = true,
               .norm_topk = true,
               .aliases = kAliases,
               .fixed = kFixed,
               .own_keys = kOwnKeys,
               .read = Read},
    .gate = BiasedSigmoidGate,
    .unused = kPredictionLayers,
};

const Family kGlm4MoeLite = {
    .config = {.architecture = "Glm4MoeLiteForCausalLM",
               .model_type = "glm4_moe_lite",
               .vocab = 154880,
               .hidden = 2048,
               .intermediate = 10240,
               .layers = 47,
               .heads = 20,
               .kv_heads = 20,
               .max_positions = 202752,
               .head_dim = 256,
               .rms_norm_eps = 1e-5,
               .latent_rope_dim = 64,
               .eos = 1,
               .bias = BiasRule::kAttentionKey,
               .kv_heads_null = false,
               .experts = 64,
               .top_k = 4,
               .moe_intermediate = 1536,
               .dense = DenseRule::kOwn,
               .local_experts_alias = true,
               .norm_topk_key = true,
               .norm_topk = true,
               .aliases = kAliases,
               .fixed = kLiteFixed,
               .own_keys = kLiteKeys,
               .read = ReadLite},
    .gate = BiasedSigmoidGate,
    .unused = kPredictionLayers,
};

}  // namespace folkmoot
