// SPDX-License-Identifier: Apache-2.0
// dots3.note (Dots Studio 2026): the sparse latent attention of GLM-5, and in most layers latent
// attention with a window, heads, latents and a rotation of its own; latents are scaled, the key
// that all heads share is normalised, and what a head gives is multiplied with one sigmoid. Experts
// are those of DeepSeek-V3 beside shared ones of a width of their own. Files have the authors' keys
// or those of Transformers, in text_config or beside what describes pictures and sounds. What looks
// and listens and the layer for multi-token prediction are not used.
#include <array>

#include "layers/models/deepseek_parts.h"
#include "layers/models/dots3_note_latents.h"
#include "layers/models/layer_kinds.h"
#include "layers/models/sparse_parts.h"

namespace folkmoot {
namespace {

constexpr const char* kTypes = "layer_types";
constexpr const char* kDsa = "use_dsa";
constexpr const char* kSlides = "use_sliding_window";
constexpr const char* kWindow = "sliding_window";
constexpr const char* kWindowSize = "sliding_window_size";
constexpr const char* kNth = "moe_layer_freq";
constexpr const char* kSharedWidth = "shared_experts_intermediate_size";
constexpr const char* kSharedWidthBefore = "moe_shared_expert_intermediate_size";

constexpr std::string_view kFull = "full_attention";
constexpr std::array<std::string_view, 3> kKinds = {"sliding_attention", kFull, kIndexed};

constexpr std::string_view kOwnKeys[] = {
    "n_group", "topk_group", "routed_scaling_factor", "n_shared_experts", kSharedWidth,
    kSharedWidthBefore, "mlp_layer_types", kNth, "index_topk", "index_n_heads", "index_head_dim",
    kDsa, kSlides, kWindow, kWindowSize, kDots3PerLayer, "swa_rope_theta",
    "swa_num_attention_heads", "swa_num_key_value_heads", "swa_q_lora_rank", "swa_kv_lora_rank",
    "swa_head_dim", "swa_qk_nope_head_dim", "swa_qk_rope_head_dim", "swa_v_head_dim", "moe_topk",
    // What looks at pictures and listens.
    "vision_config", "audio_config", "image_token_id", "image_start_token_id", "image_end_token_id",
    "video_token_id", "audio_token_id", "audio_start_token_id", "audio_end_token_id",
    // Of training, of the layer for multi-token prediction, and in what numbers the authors compute
    // the router's logits, which here are float32.
    "seq_length", "aux_loss_alpha", "seq_aux", "ep_size", "num_nextn_predict_layers",
    "num_mtp_layers", "mtp_use_moe", "mtp_head_sharing", "use_dedicated_mtp_embeddings",
    "moe_gating_fp32"};
constexpr KeyAlias kAliases[] = {{"num_experts", "n_routed_experts"}};
constexpr FixedKey kFixed[] = {{"k_rope_only_layernorm", "true"},
                               {"apply_mla_qkv_lora_rescale", "true"},
                               {"attention_gate_type", "\"headwise\""},
                               {"swa_attention_gate_type", "\"headwise\""},
                               {"multi_latent_attention", "true"},
                               {"qk_layernorm", "true"},
                               {"normalization", "\"RMSNorm\""},
                               {"final_norm", "\"RMSNorm\""},
                               {"softmax_type", "\"vanilla\""},
                               {"scoring_func", "\"sigmoid\""},
                               {"topk_method", "\"noaux_tc\""},
                               {"use_dynamic_rsf", "false"},
                               {"rope_interleave", "true"},
                               {"indexer_rope_interleave", "true"},
                               {"rope_scaling", "null"}};
constexpr std::string_view kAbsent[] = {"rope_scaling", "original_max_position_embeddings"};
// As published, and as modules of Transformers are called.
constexpr std::string_view kUnused[] = {"model.layers.{}.",
                                        "model.mtp.",
                                        "vision_encoder.",
                                        "audio_encoder.",
                                        "audio_adapter.",
                                        "model.language_model.layers.{}.",
                                        "model.language_model.mtp.",
                                        "model.vision_tower.",
                                        "model.audio_tower."};

absl::StatusOr<int64_t> ReadWindowSize(const ConfigReader& keys) {
  FM_ASSIGN_OR_RETURN(const auto authors, keys.OptionalInt(kWindowSize, {1, INT32_MAX}));
  FM_ASSIGN_OR_RETURN(const auto named, keys.OptionalInt(kWindow, {1, INT32_MAX}));
  const int64_t window = named.value_or(authors.value_or(512));
  if (!authors || *authors == window) return window;
  return keys.Wrong(kWindowSize, fmt::format("it contradicts {} = {}", kWindow, window));
}

// The place in kKinds of what each layer is.
absl::StatusOr<std::vector<size_t>> KindsOf(const ConfigReader& keys, size_t layers) {
  FM_ASSIGN_OR_RETURN(const bool slides, keys.Bool(kSlides, true));
  std::vector<size_t> kinds(layers);
  if (keys.HasValue(kTypes)) {
    FM_ASSIGN_OR_RETURN(kinds, ReadLayerKinds(keys, kTypes, kKinds, layers));
  } else {
    for (size_t i = 0; i < layers; ++i) kinds[i] = slides && i > 1 && i % 4 != 1 ? 0 : 2;
  }
  for (size_t i = 0; !slides && i < layers; ++i) {
    if (kinds[i] == 0) return keys.Wrong(kSlides, fmt::format("layer {} of {} slides", i, kTypes));
  }
  return kinds;
}

// Layers without a window, of whatever kind, choose keys, or, where use_dsa says so, see all;
// beside per_layer_config, which Transformers writes, and without use_dsa they are what they are
// called.
absl::StatusOr<bool> Chooses(const ConfigReader& keys, std::string_view kind) {
  if (keys.HasValue(kDsa)) return keys.Bool(kDsa, true);
  return kind != kFull || !(keys.Has(kDsa) || keys.Has(kDots3PerLayer));
}

// Returns what rope_parameters call those without a window.
absl::StatusOr<std::string_view> ReadKinds(const ConfigReader& keys, ModelConfig& config) {
  FM_ASSIGN_OR_RETURN(const int64_t window, ReadWindowSize(keys));
  FM_ASSIGN_OR_RETURN(const auto kinds, KindsOf(keys, config.layers.size()));
  std::string_view others;
  for (size_t i = 0; i < kinds.size(); ++i) {
    LayerConfig& layer = config.layers[i];
    if (kinds[i] == 0) {
      layer.sliding_window = window;
      continue;
    }
    FM_ASSIGN_OR_RETURN(layer.indexer, Chooses(keys, kKinds[kinds[i]]));
    const std::string_view kind = layer.indexer ? kIndexed : kFull;
    if (!others.empty() && others != kind) {
      return keys.Wrong(kTypes, fmt::format("not both: {}, {}", kFull, kIndexed));
    }
    others = kind;
  }
  return others;
}

absl::Status ReadChoices(const ConfigReader& keys, ModelConfig& config) {
  if (config.indexers() == 0) return absl::OkStatus();
  config.indexer.neighbours = true;
  FM_RETURN_IF_ERROR(ReadIndexer(keys, 64, config));
  for (LayerConfig& layer : config.layers) layer.indexer = layer.sliding_window == 0;
  return absl::OkStatus();
}

// Behind the leading ones, and where mlp_layer_types does not say it: layers whose places
// moe_layer_freq divides, or, where that is a list, that it names.
absl::Status ReadExpertLayers(const ConfigReader& keys, ModelConfig& config) {
  FM_RETURN_IF_ERROR(ReadMlpLayerTypes(keys, config));
  int64_t nth = 1;
  std::vector<int64_t> listed;
  if (keys.HasValue(kNth) && keys.Find(kNth)->is_array()) {
    FM_ASSIGN_OR_RETURN(listed, ReadLayerInts(keys, kNth, {0, 1}, config));
  } else {
    FM_ASSIGN_OR_RETURN(nth, keys.Int(kNth, nth, {1, 1 << 20}));
  }
  const auto has = [&](size_t i) {
    return listed.empty() ? static_cast<int64_t>(i) % nth == 0 : listed[i] == 1;
  };
  return KeepExperts(keys, kNth, has, config);
}

absl::Status ReadExperts(const ConfigReader& keys, ModelConfig& config) {
  MoeConfig& moe = config.moe;
  FM_RETURN_IF_ERROR(ReadExpertLayers(keys, config));
  FM_RETURN_IF_ERROR(ReadBiasedExperts(keys, {}, 1.0, 1, moe));
  if (moe.shared_intermediate == 0) {
    return keys.Wrong("n_shared_experts", "there must be one at least");
  }
  const int64_t shared = moe.shared_intermediate / moe.intermediate;
  FM_ASSIGN_OR_RETURN(const auto before, keys.OptionalInt(kSharedWidthBefore, kWidthRange));
  FM_ASSIGN_OR_RETURN(const int64_t width,
                      keys.Int(kSharedWidth, before.value_or(1536), kWidthRange));
  if (before && *before != width) {
    return keys.Wrong(kSharedWidthBefore,
                      fmt::format("it contradicts {} = {}", kSharedWidth, width));
  }
  moe.shared_intermediate = shared * width;
  FM_ASSIGN_OR_RETURN(const auto chosen, keys.OptionalInt("moe_topk"));
  if (!chosen || *chosen == moe.top_k) return absl::OkStatus();
  return keys.Wrong("moe_topk", fmt::format("it contradicts num_experts_per_tok = {}", moe.top_k));
}

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  FM_ASSIGN_OR_RETURN(const std::string_view kind, ReadKinds(keys, config));
  FM_RETURN_IF_ERROR(ReadDots3Latents(source, config));
  FM_RETURN_IF_ERROR(ReadDots3Ropes(keys, kind, config));
  FM_RETURN_IF_ERROR(ReadChoices(keys, config));
  return ReadExperts(keys, config);
}

LayerNames Names(const std::string& prefix) {
  const std::string attention = prefix + "self_attn.";
  LayerNames names = UsualLayerNames(prefix);
  names.attention.gate = attention + "g_proj";
  names.attention.k_norm = attention + "k_rope_only_layernorm";
  return names;
}

constexpr OtherNames kOtherNames[] = {{.tensor = "model.language_model.norm.weight",
                                       .layers = "model.language_model.layers.",
                                       .layer_names = Names,
                                       .end_names = InnerLanguageModelEndNames}};

// As published: the keys of the text stand in the file, beside those of what is not used.
constexpr ConfigFamily kText = {.architecture = "Dots3NoteForCausalLM",
                                .model_type = "dots3_note_text",
                                .other_model_type = "dots3_note",
                                .vocab = 152064,
                                .hidden = 5120,
                                .intermediate = 13824,
                                .layers = 46,
                                .heads = 128,
                                .kv_heads = 128,
                                .max_positions = 524288,
                                .head_dim = 256,
                                .rms_norm_eps = 1e-5,
                                .own_rope = true,
                                .latent_rope_dim = 64,
                                .eos = 151668,
                                .bias = BiasRule::kAttentionKey,
                                .window = WindowRule::kOwn,
                                .head_dim_null = false,
                                .experts = 256,
                                .top_k = 8,
                                .moe_intermediate = 1536,
                                .dense = DenseRule::kFirst,
                                .first_dense = 1,
                                .local_experts_alias = true,
                                .norm_topk_key = true,
                                .norm_topk = true,
                                .aliases = kAliases,
                                .fixed = kFixed,
                                .absent_keys = kAbsent,
                                .own_keys = kOwnKeys,
                                .read = Read};

constexpr ConfigFamily MultimodalConfig() {
  ConfigFamily config = kText;
  config.architecture = "Dots3NoteForConditionalGeneration";
  config.model_type = "dots3_note";
  config.other_model_type = "";
  config.text_model_type = kText.model_type;
  config.text_left_outside = true;
  return config;
}

}  // namespace

const Family kDots3Note = {
    .config = kText, .layer_names = Names, .gate = BiasedSigmoidGate, .unused = kUnused};
const Family kDots3NoteMultimodal = {.config = MultimodalConfig(),
                                     .layer_names = Names,
                                     .other_names = kOtherNames,
                                     .gate = BiasedSigmoidGate,
                                     .unused = kUnused};

}  // namespace folkmoot
