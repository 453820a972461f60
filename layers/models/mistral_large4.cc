// SPDX-License-Identifier: Apache-2.0
// Mistral Large 4 (Mistral AI 2026): latent attention that is sparse as in GLM-5, whose queries
// have no latent and are scaled by the position; some layers do not rotate, and some read the
// latents of one before them. Learned numbers stretch the rotation. Experts are those of Mistral
// Small 4, always renormalised. Of the published multimodal checkpoint only the text model is run,
// and what predicts further tokens is not used.
#include <algorithm>

#include "layers/models/deepseek_parts.h"
#include "layers/models/sparse_parts.h"

namespace folkmoot {
namespace {

constexpr const char* kRotating = "no_rope_layers";
constexpr const char* kInterval = "no_rope_layer_interval";
constexpr const char* kSources = "kv_source_layers";
constexpr const char* kSoftcap = "final_logit_softcapping";
constexpr const char* kQueryRank = "q_lora_rank";

constexpr std::string_view kOwnKeys[] = {
    "n_group",          "topk_group",      "routed_scaling_factor",
    "n_shared_experts", "index_topk",      "index_n_heads",
    "index_head_dim",   "mlp_layer_types", kIndexerTypes,
    kIndexerPattern,    kIndexerEvery,     kIndexerOffset,
    kRotating,          kInterval,         kSources,
    kSoftcap,           "num_mtp_layers",  "num_nextn_predict_layers"};
constexpr KeyAlias kAliases[] = {{"num_experts", "n_routed_experts"}};
constexpr FixedKey kFixed[] = {
    {"norm_topk_prob", "true"},         {"mlp_bias", "false"},
    {"scoring_func", "\"softmax\""},    {"moe_layer_freq", "1"},
    {"rope_interleave", "true"},        {"indexer_rope_interleave", "true"},
    {"moe_router_dtype", "\"float32\""}};
// YaRN over the 512 tokens of the first training.
constexpr std::string_view kRope =
    R"({"rope_type": "yarn", "rope_theta": 10000.0, "factor": 2048.0, "attention_factor": 1.0,
        "original_max_position_embeddings": 512, "beta_fast": 32.0, "beta_slow": 1.0})";
constexpr std::string_view kBesideText[] = {"vision_config",        "image_token_index",
                                            "image_token_id",       "multimodal_projector_bias",
                                            "projector_hidden_act", "spatial_merge_size",
                                            "vision_feature_layer"};
// As published, and as modules of Transformers are called.
constexpr std::string_view kUnused[] = {"mtp_dspark.",
                                        "vision_encoder.",
                                        "patch_merger.",
                                        "pre_mm_projector_norm.",
                                        "vision_language_adapter.",
                                        "model.vision_tower.",
                                        "model.multi_modal_projector."};

// The list says which layers do rotate, whatever its name.
absl::Status ReadRotations(const ConfigReader& keys, ModelConfig& config) {
  FM_ASSIGN_OR_RETURN(const int64_t interval, keys.Int(kInterval, 4));
  FM_ASSIGN_OR_RETURN(const auto rotates, keys.Ints(kRotating, {0, 1}));
  const bool listed = keys.HasValue(kRotating);
  if (listed && rotates.size() < config.layers.size()) {
    return keys.WrongLength(kRotating, config.layers.size());
  }
  for (size_t i = 0; i < config.layers.size(); ++i) {
    config.layers[i].rope =
        listed ? rotates[i] != 0 : (static_cast<int64_t>(i) + 1) % interval != 0;
  }
  return absl::OkStatus();
}

// Does layer `index` have latents that a layer behind it reads?
bool Lends(const std::vector<int64_t>& sources, size_t index) {
  const auto behind = sources.begin() + static_cast<std::ptrdiff_t>(index) + 1;
  return std::find(behind, sources.end(), static_cast<int64_t>(index)) != sources.end();
}

// Transformers looks for latents not where the list says, but at the last layer before that lends
// any and rotates as this one does: it must be the same.
absl::Status CheckSource(const ConfigReader& keys, const std::vector<int64_t>& sources,
                         size_t index, const ModelConfig& config) {
  const auto source = static_cast<size_t>(sources[index]);
  const bool rope = config.layers[index].rope;
  if (source > index || sources[source] != sources[index]) {
    return keys.Wrong(kSources, fmt::format("layer {} must read its own latents, or those of a "
                                            "layer before it that has its own",
                                            index));
  }
  if (config.layers[source].rope != rope) {
    return keys.Wrong(kSources, fmt::format("of layers {} and {} one rotates and the other does "
                                            "not: their latents differ",
                                            source, index));
  }
  for (size_t between = source + 1; between < index; ++between) {
    if (!Lends(sources, between) || config.layers[between].rope != rope) continue;
    return keys.Wrong(kSources, fmt::format("layer {} reads those of layer {}, but layer {} lends "
                                            "its own since, and Transformers would read these",
                                            index, source, between));
  }
  return absl::OkStatus();
}

absl::Status ReadSources(const ConfigReader& keys, ModelConfig& config) {
  if (!keys.HasValue(kSources)) return absl::OkStatus();
  const auto last = static_cast<int64_t>(config.layers.size()) - 1;
  FM_ASSIGN_OR_RETURN(const auto sources, keys.Ints(kSources, {0, last}));
  if (sources.size() != config.layers.size()) {
    return keys.WrongLength(kSources, config.layers.size());
  }
  for (size_t i = 0; i < sources.size(); ++i) {
    if (sources[i] == static_cast<int64_t>(i)) continue;
    FM_RETURN_IF_ERROR(CheckSource(keys, sources, i, config));
    config.layers[i].kv_layer = sources[i];
  }
  return absl::OkStatus();
}

absl::Status ReadAttention(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  if (keys.HasValue(kQueryRank)) {
    return keys.Wrong(kQueryRank, "queries of this model have no latent: it must be null");
  }
  FM_RETURN_IF_ERROR(
      ReadLatent(source, {.q_rank = 0, .kv_rank = 512, .nope_dim = 64, .value_dim = 128}, config));
  config.latent.norm_eps = config.rms_norm_eps;
  config.latent.whole_without_rope = true;
  config.query_scales = true;
  config.rope.neighbours = true;
  config.learned_frequencies = true;
  FM_RETURN_IF_ERROR(ReadRotations(keys, config));
  return ReadSources(keys, config);
}

absl::Status ReadChoices(const ConfigReader& keys, ModelConfig& config) {
  config.indexer.of_hidden = true;
  config.indexer.neighbours = true;
  FM_RETURN_IF_ERROR(ReadIndexer(keys, 32, config));
  FM_RETURN_IF_ERROR(ReadSparseLayerTypes(keys, config));
  FM_ASSIGN_OR_RETURN(const char* const rule, ReadIndexerTypes(keys, config));
  return CheckFirstIndexer(keys, rule, config);
}

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  FM_RETURN_IF_ERROR(ReadAttention(source, config));
  FM_RETURN_IF_ERROR(ReadChoices(keys, config));
  FM_RETURN_IF_ERROR(ReadMlpLayerTypes(keys, config));
  FM_RETURN_IF_ERROR(ReadGroups(keys, {}, config.moe));
  FM_RETURN_IF_ERROR(ReadScaledAndShared(keys, 1.0, 1, config.moe));
  FM_ASSIGN_OR_RETURN(config.logits_softcap, keys.Float(kSoftcap, 30.0f, 0.0));
  return absl::OkStatus();
}

LayerNames PublishedLayerNames(const std::string& prefix) {
  const std::string attention = prefix + "attention.";
  const std::string indexer = attention + "indexer.";
  LayerNames names;
  names.input_norm = prefix + "attention_norm";
  names.ffn_norm = prefix + "ffn_norm";
  names.attention = {.q = attention + "wq",
                     .o = attention + "wo",
                     .kv_a = attention + "wkv_a_with_mqa",
                     .kv_a_norm = attention + "kv_a_norm",
                     .kv_b = attention + "wkv_b",
                     .index_q = indexer + "wq_b",
                     .index_k = indexer + "wk",
                     .index_q_norm = indexer + "q_input_norm",
                     .index_k_norm = indexer + "k_norm",
                     .index_weights = indexer + "weights_proj",
                     .q_scale = {attention + "ssmax_scaling.s", attention + "ssmax_scaling.b"},
                     .index_q_scale = {indexer + "ssmax_scaling.s", indexer + "ssmax_scaling.b"}};
  names.dense_gate = prefix + "feed_forward.w1";
  names.dense_up = prefix + "feed_forward.w3";
  names.dense_down = prefix + "feed_forward.w2";
  names.moe = {
      .router = prefix + "gate.weight",
      .experts = {.prefix = prefix, .gate = "w1.weight", .up = "w3.weight", .down = "w2.weight"},
      .shared_prefix = prefix + "shared_experts.",
      .shared_as_experts = true};
  return names;
}

EndNames PublishedEndNames() {
  EndNames names = {"tok_embeddings.weight", "norm", "output"};
  names.frequencies = "lerope.alpha";
  return names;
}

// What Transformers makes of the published names.
LayerNames ModuleLayerNames(const std::string& prefix) {
  const std::string attention = prefix + "self_attn.";
  const std::string own = attention + "softmax_scaling.";
  const std::string index = attention + "indexer.softmax_scaling.";
  LayerNames names = UsualLayerNames(prefix);
  names.attention.index_q_norm = attention + "indexer.q_input_norm";
  names.attention.q_scale = {own + "scale", own + "bias"};
  names.attention.index_q_scale = {index + "scale", index + "bias"};
  return names;
}

EndNames ModuleEndNames() {
  EndNames names = InnerLanguageModelEndNames();
  names.frequencies = "model.language_model.rotary_emb.alpha";
  return names;
}

constexpr OtherNames kOtherNames[] = {{.tensor = "model.language_model.norm.weight",
                                       .layers = "model.language_model.layers.",
                                       .layer_names = ModuleLayerNames,
                                       .end_names = ModuleEndNames}};

}  // namespace

const Family kMistralLarge4 = {
    .config = {.architecture = "MistralLarge4ForConditionalGeneration",
               .model_type = "mistral_large4",
               .vocab = 204800,
               .hidden = 6144,
               .intermediate = 24576,
               .layers = 72,
               .heads = 64,
               .kv_heads = 64,
               .max_positions = 1048576,
               .head_dim = 64,
               .rms_norm_eps = 1e-5,
               .latent_rope_dim = 64,
               .rope_absent = kRope,
               .eos = 2,
               .bias = BiasRule::kAttentionKey,
               .window = WindowRule::kOwn,
               .kv_heads_null = false,
               .experts = 128,
               .top_k = 4,
               .moe_intermediate = 6144,
               .dense = DenseRule::kFirst,
               .first_dense = 1,
               .local_experts_alias = true,
               .aliases = kAliases,
               .text_model_type = "mistral_large4_text",
               .beside_text = kBesideText,
               .fixed = kFixed,
               .own_keys = kOwnKeys,
               .read = Read},
    .layer_names = PublishedLayerNames,
    .end_names = PublishedEndNames,
    .layers = "layers.",
    .other_names = kOtherNames,
    .gate = GroupedSoftmaxGate,
    .unused = kUnused,
};

}  // namespace folkmoot
