// SPDX-License-Identifier: Apache-2.0
// Sarvam-30B (Sarvam AI 2026), which is GLM-4.5 whose heads turn as a whole, with names of its own,
// and Sarvam-105B, which is DeepSeek-V3 without groups of experts and with queries in one step.
// Transformers has the classes of those models run them, and writes files that name these classes
// and have its words for keys; both spellings are read.
#include <array>

#include "layers/models/deepseek_parts.h"
#include "runtime/model_config_rope.h"

namespace folkmoot {
namespace {

constexpr std::array<KeyAlias, 3> kAliases = {{{"num_experts", "n_routed_experts", true},
                                               {"n_shared_experts", "num_shared_experts", true},
                                               {"attention_bias", "use_qkv_bias", true}}};
constexpr std::span<const KeyAlias> kLatentAliases = std::span(kAliases).first(2);

constexpr FixedKey kFixed[] = {
    {"scoring_func", "\"sigmoid\""}, {"score_function", "\"sigmoid\""},
    {"topk_method", "\"noaux_tc\""}, {"moe_router_enable_expert_bias", "true"},
    {"use_bias", "false"},           {"default_theta", "8000000.0"}};
constexpr FixedKey kLatentFixed[] = {
    {"scoring_func", "\"sigmoid\""}, {"score_function", "\"sigmoid\""},
    {"topk_method", "\"noaux_tc\""}, {"moe_router_enable_expert_bias", "true"},
    {"moe_layer_freq", "1"},         {"default_theta", "10000.0"}};

// Read; then those of training, of windows that no layer has and of layers that no file has.
constexpr std::string_view kOwnKeys[] = {
    "n_group",          "topk_group",         "routed_scaling_factor",
    "n_shared_experts", "num_shared_experts", "use_qk_norm",
    "attention_bias",   "use_qkv_bias",       "embedding_dropout",
    "output_dropout",   "max_window_layers",  "num_nextn_predict_layers",
    "num_mtp_layers"};
// The same; use_qk_norm stands in released files, of which no norm comes.
constexpr std::string_view kLatentKeys[] = {
    "n_group",          "topk_group",         "routed_scaling_factor",
    "n_shared_experts", "num_shared_experts", "rope_interleave",
    "q_head_dim",       "use_qk_norm",        "num_nextn_predict_layers",
    "num_mtp_layers"};

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  FM_RETURN_IF_ERROR(ReadBiasedExperts(keys, {}, 2.5, 1, config.moe));
  FM_ASSIGN_OR_RETURN(config.qkv_bias, keys.Bool("attention_bias", false));
  FM_ASSIGN_OR_RETURN(const bool norms, keys.Bool("use_qk_norm", true));
  if (norms) config.qk_norm = QkNormKind::kHeads;
  return absl::OkStatus();
}

// The authors call YaRN with DeepSeek's mscales a type of its own.
absl::StatusOr<RopeConfig> ReadRope(const ConfigReader& keys, const ModelConfig& config) {
  const int64_t dim = config.latent.rope_dim;
  if (dim % 2 != 0) return keys.Wrong("qk_rope_head_dim", "it must be even");
  nlohmann::json all = keys.object();
  nlohmann::json& scaling = all["rope_scaling"];
  for (const char* type : {"type", "rope_type"}) {
    if (!scaling.is_object() || !scaling.contains(type)) continue;
    if (scaling[type] == "deepseek_yarn") scaling[type] = "yarn";
  }
  return ParseRope(ConfigReader(all, keys.prefix()),
                   {.dim = dim, .max_positions = config.max_positions});
}

absl::Status ReadLatentKind(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  // In the authors' files head_dim is the width of a row of vLLM's cache.
  FM_RETURN_IF_ERROR(ReadLatentDims(source, {.q_rank = 0, .any_head_dim = true}, config));
  FM_ASSIGN_OR_RETURN(const auto whole, keys.OptionalInt("q_head_dim"));
  if (whole.value_or(config.head_dim) != config.head_dim) {
    return keys.Wrong("q_head_dim",
                      fmt::format("where it is given it must be {}, the numbers of a head that "
                                  "turn and that do not",
                                  config.head_dim));
  }
  FM_ASSIGN_OR_RETURN(config.rope, ReadRope(keys, config));
  FM_ASSIGN_OR_RETURN(config.rope.neighbours, keys.Bool("rope_interleave", true));
  FM_RETURN_IF_ERROR(SetLatentScale(keys, config));
  return ReadBiasedExperts(keys, {}, 2.5, 1, config.moe);
}

LayerNames Names(const std::string& prefix) {
  const std::string attention = prefix + "attention.";
  LayerNames names = UsualLayerNames(prefix);
  names.attention.qkv = attention + "query_key_value";
  names.attention.o = attention + "dense";
  names.attention.q_norm = attention + "query_layernorm";
  names.attention.k_norm = attention + "key_layernorm";
  names.moe.selection_bias = prefix + "mlp.gate.expert_bias";
  return names;
}

EndNames Ends() {
  EndNames names = UsualEndNames();
  names.embedding = "model.word_embeddings.weight";
  return names;
}

// As Transformers' modules have them.
constexpr OtherNames kOtherNames[] = {{.tensor = "model.embed_tokens.weight",
                                       .layers = "model.layers.",
                                       .layer_names = UsualLayerNames,
                                       .end_names = UsualEndNames}};

}  // namespace

const Family kSarvamMoe = {
    .config = {.architecture = "SarvamMoEForCausalLM",
               .other_architecture = "Glm4MoeForCausalLM",
               .model_type = "sarvam_moe",
               .vocab = 262144,
               .hidden = 4096,
               .intermediate = 8192,
               .layers = 19,
               .heads = 64,
               .kv_heads = 4,
               .max_positions = 131072,
               .head_dim = 64,
               .rope_theta = 8e6,
               .partial_rotary = 1.0,
               .eos = 1,
               .kv_heads_null = false,
               .head_dim_null = false,
               .experts = 128,
               .top_k = 6,
               .moe_intermediate = 1024,
               .dense = DenseRule::kFirst,
               .first_dense = 1,
               .local_experts_alias = true,
               .norm_topk_key = true,
               .norm_topk = true,
               .aliases = kAliases,
               .fixed = kFixed,
               .own_keys = kOwnKeys,
               .read = Read},
    .layer_names = Names,
    .end_names = Ends,
    .other_names = kOtherNames,
    .gate = BiasedSigmoidGate,
    .unused = kPredictionLayers,
};

const Family kSarvamMla = {
    .config = {.architecture = "SarvamMLAForCausalLM",
               .other_architecture = "DeepseekV3ForCausalLM",
               .model_type = "sarvam_mla",
               .vocab = 262144,
               .hidden = 4096,
               .intermediate = 16384,
               .layers = 32,
               .heads = 64,
               .max_positions = 4096,
               .head_dim = 192,
               .own_rope = true,
               .latent_rope_dim = 64,
               .eos = 1,
               .bias = BiasRule::kAttentionKey,
               .experts = 128,
               .top_k = 8,
               .moe_intermediate = 2048,
               .dense = DenseRule::kFirst,
               .first_dense = 1,
               .local_experts_alias = true,
               .norm_topk_key = true,
               .norm_topk = true,
               .aliases = kLatentAliases,
               .fixed = kLatentFixed,
               .own_keys = kLatentKeys,
               .read = ReadLatentKind},
    .gate = BiasedSigmoidGate,
    .unused = kPredictionLayers,
};

}  // namespace folkmoot
