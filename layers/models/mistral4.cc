// SPDX-License-Identifier: Apache-2.0
// Mistral Small 4 (Mistral AI 2026): latent attention and experts of DeepSeek, the latter chosen by
// softmax; queries far behind the context before stretching are scaled as in Llama 4. Of the
// published multimodal checkpoints only the text model is run.
#include "layers/models/deepseek_parts.h"
#include "runtime/model_config_rope.h"

namespace folkmoot {
namespace {

using nlohmann::json;

constexpr std::string_view kOwnKeys[] = {"n_group",
                                         "topk_group",
                                         "routed_scaling_factor",
                                         "n_shared_experts",
                                         "first_k_dense_replace",
                                         "rope_interleave"};
constexpr KeyAlias kAliases[] = {{"num_experts", "n_routed_experts"}};
constexpr std::string_view kBesideText[] = {"vision_config",        "image_token_index",
                                            "image_token_id",       "multimodal_projector_bias",
                                            "projector_hidden_act", "spatial_merge_size",
                                            "vision_feature_layer"};
constexpr std::string_view kNotText[] = {"vision_tower.", "multi_modal_projector."};
constexpr const char* kBeta = "llama_4_scaling_beta";
constexpr const char* kContext = "original_max_position_embeddings";

// Keys of the rope object that say something about other things than rotations, and leave it.
absl::Status ReadBeside(const ConfigReader& rope, ModelConfig& config) {
  FM_ASSIGN_OR_RETURN(const auto beta, rope.OptionalNumber(kBeta, kBelowZero));
  FM_ASSIGN_OR_RETURN(const auto part, rope.OptionalNumber("partial_rotary_factor", 0.0));
  const LatentConfig& latent = config.latent;
  const int64_t whole = latent.nope_dim + latent.rope_dim;
  if (part && static_cast<int64_t>(*part * static_cast<double>(whole)) != latent.rope_dim) {
    return rope.Wrong(
        "partial_rotary_factor",
        fmt::format("qk_rope_head_dim = {} of {} numbers of a head turn", latent.rope_dim, whole));
  }
  if (beta.value_or(0.0) == 0.0) return absl::OkStatus();
  FM_ASSIGN_OR_RETURN(const auto context, rope.OptionalInt(kContext));
  if (!context) return rope.Wrong(kContext, fmt::format("{} needs it", kBeta));
  config.temperature = {
      .scale = static_cast<float>(*beta), .floor = static_cast<float>(*context), .ahead = 0};
  return absl::OkStatus();
}

absl::Status ReadRope(const ConfigReader& keys, ModelConfig& config) {
  json all = keys.object();
  const bool given = keys.HasValue("rope_parameters") || keys.HasValue("rope_scaling");
  if (!given) {
    all["rope_parameters"] = {{"type", "yarn"},        {"factor", 128.0}, {kContext, 8192},
                              {"mscale_all_dim", 1.0}, {"mscale", 1.0},   {kBeta, 0.1}};
  }
  for (const char* name : {"rope_parameters", "rope_scaling"}) {
    if (!all.contains(name) || !all[name].is_object()) continue;
    json& object = all[name];
    FM_RETURN_IF_ERROR(
        ReadBeside(ConfigReader(object, fmt::format("{}{}.", keys.prefix(), name)), config));
    for (const char* key : {kBeta, "partial_rotary_factor", "max_position_embeddings"}) {
      object.erase(key);
    }
  }
  FM_ASSIGN_OR_RETURN(config.rope, ParseRope(ConfigReader(all, keys.prefix()),
                                             {.dim = config.latent.rope_dim,
                                              .max_positions = config.max_positions}));
  FM_ASSIGN_OR_RETURN(config.rope.neighbours, keys.Bool("rope_interleave", true));
  return absl::OkStatus();
}

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  const LatentDefaults defaults = {
      .q_rank = 1024, .kv_rank = 256, .nope_dim = 64, .value_dim = 128, .whole_head_dim = true};
  FM_RETURN_IF_ERROR(ReadLatentDims(source, defaults, config));
  FM_RETURN_IF_ERROR(ReadRope(keys, config));
  FM_RETURN_IF_ERROR(SetLatentScale(keys, config));
  FM_RETURN_IF_ERROR(ReadGroups(keys, {}, config.moe));
  return ReadScaledAndShared(keys, 1.0, 1, config.moe);
}

constexpr ConfigFamily kText = {.architecture = "Mistral4ForCausalLM",
                                .model_type = "mistral4",
                                .vocab = 131072,
                                .hidden = 4096,
                                .intermediate = 12288,
                                .layers = 36,
                                .heads = 32,
                                .max_positions = 1048576,
                                .head_dim = 128,
                                .own_rope = true,
                                .latent_rope_dim = 64,
                                .eos = 2,
                                .bias = BiasRule::kAttentionKey,
                                .experts = 128,
                                .top_k = 4,
                                .moe_intermediate = 2048,
                                .dense = DenseRule::kFirst,
                                .local_experts_alias = true,
                                .norm_topk_key = true,
                                .norm_topk = true,
                                .aliases = kAliases,
                                .own_keys = kOwnKeys,
                                .read = Read};

constexpr ConfigFamily MultimodalConfig() {
  ConfigFamily config = kText;
  config.architecture = "Mistral3ForConditionalGeneration";
  config.model_type = "mistral3";
  config.text_model_type = "mistral4";
  config.beside_text = kBesideText;
  return config;
}

}  // namespace

const Family kMistral4 = {.config = kText, .gate = GroupedSoftmaxGate};

const Family kMistral4Multimodal = {.config = MultimodalConfig(),
                                    .end_names = LanguageModelEndNames,
                                    .layers = "language_model.model.layers.",
                                    .gate = GroupedSoftmaxGate,
                                    .unused = kNotText};

}  // namespace folkmoot
