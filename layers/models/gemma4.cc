// SPDX-License-Identifier: Apache-2.0
// Gemma 4 (Google 2026), dense and with experts, and the text model of its multimodal checkpoints.
// Layers with a window and those without have heads and rotations of their own; scores are not
// scaled, since q, k and v are normalised. Experts stand beside a dense network, and both read the
// stream through norms of their own. Small models have embeddings of each layer, and last layers
// that read the keys and values of earlier ones.
#include <charconv>
#include <cmath>
#include <optional>

#include "layers/models/family.h"
#include "layers/models/layer_kinds.h"
#include "runtime/model_config_rope.h"

namespace folkmoot {
namespace {

using nlohmann::json;

constexpr KeyAlias kActivationAlias[] = {{"hidden_act", "hidden_activation"}};
constexpr FixedKey kFixed[] = {{"use_bidirectional_attention", "\"vision\""}};
// Nobody reads them: rope_parameters decides.
constexpr std::string_view kAbsent[] = {"rope_theta", "rope_scaling",
                                        "original_max_position_embeddings"};
constexpr std::string_view kOwnKeys[] = {"sliding_window",
                                         "global_head_dim",
                                         "num_global_key_value_heads",
                                         "per_layer_config",
                                         "attention_k_eq_v",
                                         "num_kv_shared_layers",
                                         "use_double_wide_mlp",
                                         "hidden_size_per_layer_input",
                                         "vocab_size_per_layer_input",
                                         "enable_moe_block",
                                         "num_experts",
                                         "top_k_experts",
                                         "moe_intermediate_size",
                                         "final_logit_softcapping"};
constexpr std::string_view kBesideText[] = {"vision_config",
                                            "audio_config",
                                            "boi_token_id",
                                            "eoi_token_id",
                                            "image_token_id",
                                            "video_token_id",
                                            "boa_token_id",
                                            "eoa_token_id",
                                            "eoa_token_index",
                                            "audio_token_id",
                                            "vision_soft_tokens_per_image"};
constexpr std::string_view kNotText[] = {"model.vision_tower.", "model.audio_tower.",
                                         "model.embed_vision.", "model.embed_audio."};
constexpr IntRange kSizes = {1, 1 << 16};
constexpr IntRange kOptional = {0, 1 << 16};

bool Slides(const LayerConfig& layer) { return layer.sliding_window > 0; }

// per_layer_config: heads by the number of the layer, as newer files have them.
absl::Status ReadHeadsOfLayers(const ConfigReader& keys, ModelConfig& config) {
  constexpr const char* kLayers = "per_layer_config";
  if (!keys.HasValue(kLayers)) return absl::OkStatus();
  if (!keys.Find(kLayers)->is_object()) return keys.Wrong(kLayers, "it must be an object");
  for (const auto& [name, entry] : keys.Find(kLayers)->items()) {
    size_t index = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), index);
    if (error != std::errc() || end != name.data() + name.size() || index >= config.layers.size() ||
        !entry.is_object()) {
      return keys.Wrong(kLayers,
                        fmt::format("'{}' must be the number of a layer, with an object", name));
    }
    const ConfigReader own(entry, fmt::format("{}{}.{}.", keys.prefix(), kLayers, name));
    for (const auto& [key, value] : entry.items()) {
      if (key == "head_dim" || key == "num_key_value_heads") continue;
      return own.Wrong(key, "layers may differ in head_dim and num_key_value_heads only");
    }
    LayerConfig& layer = config.layers[index];
    FM_ASSIGN_OR_RETURN(layer.head_dim, own.Int("head_dim", 0, kSizes));
    FM_ASSIGN_OR_RETURN(layer.kv_heads, own.Int("num_key_value_heads", 0, kSizes));
  }
  return absl::OkStatus();
}

// Of layers without a window, where no per_layer_config says so.
absl::Status ReadHeadsOfKinds(const ConfigReader& keys, bool keys_are_values, ModelConfig& config) {
  FM_ASSIGN_OR_RETURN(const int64_t dim, keys.Int("global_head_dim", 512, kSizes));
  FM_ASSIGN_OR_RETURN(const auto heads, keys.OptionalInt("num_global_key_value_heads", kSizes));
  for (LayerConfig& layer : config.layers) {
    if (Slides(layer)) continue;
    layer.head_dim = dim;
    // As in Transformers: only where keys are values, too.
    if (keys_are_values) layer.kv_heads = heads.value_or(0);
  }
  return absl::OkStatus();
}

// All layers of a kind must have the heads of its first.
absl::Status CheckHeads(const ConfigReader& keys, const ModelConfig& config) {
  const char* const key = keys.Has("per_layer_config") ? "per_layer_config" : "global_head_dim";
  const LayerConfig* firsts[2] = {};
  for (size_t i = 0; i < config.layers.size(); ++i) {
    const LayerConfig& layer = config.layers[i];
    const LayerConfig*& first = firsts[Slides(layer) ? 1 : 0];
    if (first == nullptr) first = &layer;
    const int64_t dim = config.head_dim_of(layer);
    const int64_t kv_heads = config.kv_heads_of(layer);
    if (dim != config.head_dim_of(*first) || kv_heads != config.kv_heads_of(*first)) {
      return keys.Wrong(key, fmt::format("layer {} has other heads than the first of its kind", i));
    }
    if (dim % 2 != 0) return keys.Wrong(key, "rotary embeddings need an even head_dim");
    if (config.heads % kv_heads != 0) {
      return keys.Wrong(
          keys.Has("per_layer_config") ? key : "num_global_key_value_heads",
          fmt::format("num_attention_heads = {} must be a multiple of it", config.heads));
    }
  }
  return absl::OkStatus();
}

absl::Status ReadAttention(const ConfigReader& keys, ModelConfig& config) {
  FM_RETURN_IF_ERROR(ReadSlidingLayers(
      keys, 512, [](size_t i) { return (i + 1) % 6 != 0; }, config));
  config.layers.back().sliding_window = 0;  // whatever layer_types says, as in Transformers
  FM_ASSIGN_OR_RETURN(const bool keys_are_values, keys.Bool("attention_k_eq_v", false));
  for (LayerConfig& layer : config.layers) {
    layer.keys_are_values = keys_are_values && !Slides(layer);
  }
  FM_RETURN_IF_ERROR(keys.Has("per_layer_config")
                         ? ReadHeadsOfLayers(keys, config)
                         : ReadHeadsOfKinds(keys, keys_are_values, config));
  config.attention_multiplier = 1.0f;
  config.value_norm = true;
  return CheckHeads(keys, config);
}

// The rotation of a kind of layers, of which `layer` is one.
absl::StatusOr<RopeConfig> ReadRope(const ConfigReader& keys, const json& kinds, const char* kind,
                                    const LayerConfig& layer, const ModelConfig& config) {
  constexpr const char* kBoth = "rope_parameters";
  if (!kinds.contains(kind) || !kinds[kind].is_object() || !kinds[kind].contains("rope_theta")) {
    return keys.Wrong(kBoth, fmt::format("it must have an entry {} with a rope_theta", kind));
  }
  const json part = {{kBoth, kinds[kind]}};
  FM_ASSIGN_OR_RETURN(RopeConfig rope,
                      ParseRope(ConfigReader(part, fmt::format("{}{}.", keys.prefix(), kind)),
                                {.dim = config.head_dim_of(layer),
                                 .max_positions = config.max_positions,
                                 .proportional = true}));
  rope.dim = config.head_dim_of(layer);
  return rope;
}

absl::Status ReadRopes(const ConfigReader& keys, ModelConfig& config) {
  constexpr const char* kBoth = "rope_parameters";
  constexpr const char* kKinds[] = {"full_attention", "sliding_attention"};
  json kinds = {
      {kKinds[0],
       {{"rope_type", "proportional"}, {"partial_rotary_factor", 0.25}, {"rope_theta", 1e6}}},
      {kKinds[1], {{"rope_type", "default"}, {"rope_theta", 1e4}}}};
  if (keys.HasValue(kBoth)) kinds = *keys.Find(kBoth);
  bool known = kinds.is_object();
  for (const auto& [kind, entry] : kinds.items()) {
    known = known && (kind == kKinds[0] || kind == kKinds[1]);
  }
  if (!known) {
    return keys.Wrong(kBoth, "it must have entries full_attention and sliding_attention only");
  }
  FM_ASSIGN_OR_RETURN(config.rope, ReadRope(keys, kinds, kKinds[0], config.layers.back(), config));
  for (LayerConfig& layer : config.layers) {
    layer.local_rope = Slides(layer);
    if (!Slides(layer) || config.local_rope) continue;
    FM_ASSIGN_OR_RETURN(config.local_rope, ReadRope(keys, kinds, kKinds[1], layer, config));
  }
  return absl::OkStatus();
}

// The last layers read the keys and values of the last layer of their kind before them.
absl::Status ReadSharing(const ConfigReader& keys, ModelConfig& config) {
  constexpr const char* kShared = "num_kv_shared_layers";
  const auto layers = static_cast<int64_t>(config.layers.size());
  FM_ASSIGN_OR_RETURN(const int64_t shared, keys.Int(kShared, 0, {0, INT32_MAX}));
  FM_ASSIGN_OR_RETURN(const bool wide, keys.Bool("use_double_wide_mlp", false));
  if (shared >= layers) {
    return keys.Wrong(kShared, fmt::format("some of the {} layers must have keys", layers));
  }
  for (int64_t i = layers - shared; i < layers; ++i) {
    LayerConfig& layer = config.layers[static_cast<size_t>(i)];
    for (int64_t j = 0; j < layers - shared; ++j) {
      if (Slides(config.layers[static_cast<size_t>(j)]) == Slides(layer)) layer.kv_layer = j;
    }
    if (layer.kv_layer < 0) {
      return keys.Wrong(
          kShared, fmt::format("layer {} finds none of its kind before the last {}", i, shared));
    }
    if (wide) layer.intermediate = 2 * config.intermediate;
  }
  return absl::OkStatus();
}

absl::Status ReadExperts(const ConfigReader& keys, ModelConfig& config) {
  FM_ASSIGN_OR_RETURN(const bool enabled, keys.Bool("enable_moe_block", false));
  if (!enabled) return absl::OkStatus();
  MoeConfig& moe = config.moe;
  for (const auto& [key, value] :
       {std::pair("num_experts", &moe.experts), std::pair("top_k_experts", &moe.top_k),
        std::pair("moe_intermediate_size", &moe.intermediate)}) {
    FM_ASSIGN_OR_RETURN(const auto number, keys.OptionalInt(key, kSizes));
    if (!number) return keys.Wrong(key, "enable_moe_block needs it");
    *value = *number;
  }
  if (moe.top_k > moe.experts) {
    return keys.Wrong("top_k_experts",
                      fmt::format("{} of {} experts cannot be chosen", moe.top_k, moe.experts));
  }
  moe.norm_topk_prob = true;
  moe.weight_scales = true;
  for (LayerConfig& layer : config.layers) layer.moe = layer.beside = true;
  return absl::OkStatus();
}

absl::Status ReadLayerInputs(const ConfigReader& keys, ModelConfig& config) {
  constexpr const char* kVocab = "vocab_size_per_layer_input";
  FM_ASSIGN_OR_RETURN(config.layer_inputs,
                      keys.IntOrNull("hidden_size_per_layer_input", 256, kOptional));
  FM_ASSIGN_OR_RETURN(config.layer_input_vocab, keys.Int(kVocab, 262144, kWidthRange));
  if (config.layer_inputs == 0 || config.layer_input_vocab >= config.vocab) return absl::OkStatus();
  return keys.Wrong(kVocab, fmt::format("every one of the {} tokens of vocab_size needs an "
                                        "embedding: it must be at least that",
                                        config.vocab));
}

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  config.embedding_multiplier = std::sqrt(static_cast<float>(config.hidden));
  config.post_norms = true;
  config.layer_scalars = true;
  FM_RETURN_IF_ERROR(ReadAttention(keys, config));
  FM_RETURN_IF_ERROR(ReadRopes(keys, config));
  FM_RETURN_IF_ERROR(ReadSharing(keys, config));
  FM_RETURN_IF_ERROR(ReadExperts(keys, config));
  FM_RETURN_IF_ERROR(ReadLayerInputs(keys, config));
  FM_ASSIGN_OR_RETURN(config.logits_softcap,
                      keys.FloatOrNull("final_logit_softcapping", 0.0f, 0.0));
  return absl::OkStatus();
}

LayerNames Names(const std::string& prefix) {
  const std::string norm = "feedforward_layernorm";
  LayerNames names = UsualLayerNames(prefix);
  names.attention_post_norm = prefix + "post_attention_layernorm";
  names.ffn_norm = prefix + "pre_" + norm;
  names.ffn_post_norm = prefix + "post_" + norm;
  names.dense_post_norm = prefix + "post_" + norm + "_1";
  names.expert_norm = prefix + "pre_" + norm + "_2";
  names.expert_post_norm = prefix + "post_" + norm + "_2";
  names.router_norm = prefix + "router.scale";
  names.moe = {.router = prefix + "router.proj.weight",
               .experts = {.prefix = prefix,
                           .gate = "gate_proj.weight",
                           .up = "up_proj.weight",
                           .down = "down_proj.weight",
                           .packed_gate_up = prefix + "experts.gate_up_proj",
                           .packed_down = prefix + "experts.down_proj",
                           .always_packed = true},
               .weight_scales = prefix + "router.per_expert_scale"};
  names.input_gate = prefix + "per_layer_input_gate";
  names.input_projection = prefix + "per_layer_projection";
  names.input_post_norm = prefix + "post_per_layer_input_norm";
  names.scalar = prefix + "layer_scalar";
  return names;
}

EndNames WithInputs(EndNames names, const std::string& prefix) {
  names.input_embedding = prefix + "embed_tokens_per_layer.weight";
  names.input_projection = prefix + "per_layer_model_projection";
  names.input_norm = prefix + "per_layer_projection_norm";
  return names;
}

EndNames Ends() { return WithInputs(UsualEndNames(), "model."); }
EndNames InnerEnds() { return WithInputs(InnerLanguageModelEndNames(), "model.language_model."); }

constexpr ConfigFamily kText = {.architecture = "Gemma4ForCausalLM",
                                .model_type = "gemma4_text",
                                .vocab = 262144,
                                .hidden = 2304,
                                .intermediate = 9216,
                                .layers = 30,
                                .heads = 8,
                                .kv_heads = 4,
                                .max_positions = 131072,
                                .head_dim = 256,
                                .own_rope = true,
                                .eos = 1,
                                .tied_embeddings = true,
                                .activation = Activation::kGeluTanh,
                                .bias = BiasRule::kAttentionKey,
                                .qk_norm = QkNormKind::kHeads,
                                .window = WindowRule::kOwn,
                                .kv_heads_null = false,
                                .head_dim_null = false,
                                .aliases = kActivationAlias,
                                .fixed = kFixed,
                                .absent_keys = kAbsent,
                                .own_keys = kOwnKeys,
                                .read = Read};

constexpr ConfigFamily MultimodalConfig() {
  ConfigFamily config = kText;
  config.text_model_type = config.model_type;
  config.architecture = "Gemma4ForConditionalGeneration";
  config.model_type = "gemma4";
  config.beside_text = kBesideText;
  return config;
}

}  // namespace

const Family kGemma4 = {.config = kText, .layer_names = Names, .end_names = Ends, .gate = TopKGate};

const Family kGemma4Multimodal = {.config = MultimodalConfig(),
                                  .layer_names = Names,
                                  .end_names = InnerEnds,
                                  .layers = "model.language_model.layers.",
                                  .gate = TopKGate,
                                  .unused = kNotText};

}  // namespace folkmoot
