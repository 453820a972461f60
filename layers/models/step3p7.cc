// SPDX-License-Identifier: Apache-2.0
// Step-3.5-Flash and the text model of Step-3.7-Flash (StepFun 2026): layers with a window have
// query heads and rotations of their own; what a head gives is multiplied with one sigmoid; experts
// chosen by biased sigmoids beside a shared one, SwiGLU limited in some layers. Lists with an entry
// per layer may go on for layers of multi-token prediction, which are not used.
#include <cmath>

#include "layers/models/deepseek_parts.h"
#include "layers/models/layer_kinds.h"
#include "layers/models/layer_ropes.h"

namespace folkmoot {
namespace {

using nlohmann::json;

constexpr std::string_view kOwnKeys[] = {"sliding_window",
                                         "mlp_layer_types",
                                         "moe_layers_enum",
                                         "attention_other_setting",
                                         "num_sliding_attention_heads",
                                         "partial_rotary_factors",
                                         "moe_router_scaling_factor",
                                         "query_pre_attn_scalar",
                                         "swiglu_limits",
                                         "swiglu_limits_shared",
                                         "share_expert_dim",
                                         "share_expert_dims",
                                         "num_nextn_predict_layers",
                                         "num_mtp_layers",
                                         "mtp_layer_types",
                                         "mtp_mlp_layer_types",
                                         "max_seq_len",
                                         "need_fp32_gate",
                                         "per_layer_config"};
constexpr KeyAlias kAliases[] = {{"num_key_value_heads", "num_attention_groups", true},
                                 {"num_experts", "moe_num_experts", true},
                                 {"num_experts", "n_routed_experts", true},
                                 {"num_experts_per_tok", "moe_top_k", true}};
constexpr FixedKey kFixed[] = {{"gating", "true"},
                               {"gating", "\"per-head\""},
                               {"use_head_wise_attn_gate", "true"},
                               {"use_bidirectional_attention", "false"},
                               {"use_qk_norm", "true"},
                               {"use_moe", "true"},
                               {"use_moe_router_bias", "true"},
                               {"moe_router_activation", "\"sigmoid\""},
                               {"norm_expert_weight", "true"},
                               {"moe_every_n_layer", "1"},
                               {"moe_layer_offset", "0"},
                               {"att_impl_type", "\"GQA\""},
                               {"use_rope_layers", "[]"},
                               {"yarn_only_types", "[\"full_attention\"]"},
                               {"sink", "false"},
                               {"zero_centered", "true"}};
constexpr std::string_view kBesideText[] = {"vision_config",
                                            "image_token_id",
                                            "projector_bias",
                                            "im_end_token",
                                            "im_patch_token",
                                            "im_start_token",
                                            "understand_projector_stride"};
constexpr std::string_view kUnused[] = {"model.layers.{}.", "vision_model.",
                                        "vit_large_projector."};
constexpr IntRange kSizes = {1, 1 << 16};

// The file with all lists by layer cut to the layers that are run.
json CutLists(const ConfigReader& keys, size_t layers) {
  json object = keys.object();
  const auto padded = object.value("num_nextn_predict_layers", json(0));
  const size_t longest = layers + (padded.is_number_unsigned() ? padded.get<size_t>() : 0);
  for (const char* key : {"layer_types", "mlp_layer_types", "swiglu_limits", "swiglu_limits_shared",
                          "rope_theta", "partial_rotary_factors"}) {
    const auto found = object.find(key);
    if (found == object.end() || !found->is_array() || found->size() != longest) continue;
    found->erase(found->begin() + static_cast<int64_t>(layers), found->end());
  }
  return object;
}

// "3,4,5" or [3, 4, 5].
absl::StatusOr<std::vector<int64_t>> ListedLayers(const ConfigReader& keys) {
  constexpr const char* kListed = "moe_layers_enum";
  if (!keys.HasValue(kListed) || !keys.Find(kListed)->is_string()) {
    return keys.Ints(kListed, {0, INT32_MAX});
  }
  const std::string text = "[" + keys.Find(kListed)->get<std::string>() + "]";
  const json parsed = json::parse(text, nullptr, false);
  if (parsed.is_discarded()) return keys.Wrong(kListed, "it must be a list of layers");
  const json one = {{kListed, parsed}};
  return ConfigReader(one, keys.prefix()).Ints(kListed, {0, INT32_MAX});
}

absl::Status ReadMoeLayers(const ConfigReader& keys, ModelConfig& config) {
  const auto layers = static_cast<int64_t>(config.layers.size());
  for (size_t i = 0; i < config.layers.size(); ++i) config.layers[i].moe = i >= 3;
  FM_ASSIGN_OR_RETURN(const auto listed, ListedLayers(keys));
  if (!keys.HasValue("moe_layers_enum")) return ReadMlpLayerTypes(keys, config);
  if (keys.HasValue("mlp_layer_types")) {
    return keys.Wrong("moe_layers_enum", "mlp_layer_types decides; remove one of them");
  }
  for (LayerConfig& layer : config.layers) layer.moe = false;
  for (const int64_t i : listed) {
    if (i < layers) config.layers[static_cast<size_t>(i)].moe = true;
  }
  return absl::OkStatus();
}

// Query heads of layers with a window; other numbers of attention_other_setting must be those of
// all layers.
absl::Status ReadWindowHeads(const ConfigReader& keys, ModelConfig& config) {
  constexpr const char* kOther = "attention_other_setting";
  constexpr const char* kOwn = "num_sliding_attention_heads";
  int64_t heads = config.heads;
  if (keys.HasValue(kOther)) {
    if (!keys.Find(kOther)->is_object()) return keys.Wrong(kOther, "it must be an object");
    const ConfigReader other(*keys.Find(kOther), fmt::format("{}{}.", keys.prefix(), kOther));
    FM_ASSIGN_OR_RETURN(heads, other.Int("num_attention_heads", heads, kSizes));
    const std::pair<const char*, int64_t> same[] = {{"num_attention_groups", config.kv_heads},
                                                    {"head_dim", config.head_dim},
                                                    {"true_head_dim", config.head_dim}};
    for (const auto& [key, size] : same) {
      FM_ASSIGN_OR_RETURN(const auto number, other.OptionalInt(key));
      if (number && *number != size) {
        return other.Wrong(key, fmt::format("all layers must have {}", size));
      }
    }
    for (const auto& [key, value] : keys.Find(kOther)->items()) {
      const bool known = key == "attention_type" || key == "num_attention_heads" ||
                         key == "num_attention_groups" || key.ends_with("head_dim");
      if (!known) return other.Wrong(key, "it has no such key");
    }
  }
  FM_ASSIGN_OR_RETURN(heads, keys.Int(kOwn, heads, kSizes));
  for (LayerConfig& layer : config.layers) {
    if (layer.sliding_window == 0) continue;
    FM_RETURN_IF_ERROR(SetHeads(keys, keys.Has(kOwn) ? kOwn : kOther, heads, config, layer));
  }
  return absl::OkStatus();
}

// What Transformers writes beside num_sliding_attention_heads: heads by the number of the layer.
absl::Status CheckHeadsOfLayers(const ConfigReader& keys, const ModelConfig& config) {
  constexpr const char* kLayers = "per_layer_config";
  if (!keys.HasValue(kLayers)) return absl::OkStatus();
  const json& entries = *keys.Find(kLayers);
  for (size_t i = 0; i < config.layers.size(); ++i) {
    const int64_t heads = config.heads_of(config.layers[i]);
    const json usual = {{"num_attention_heads", heads}};
    if (!entries.is_object()) break;
    const auto entry = entries.find(fmt::format("{}", i));
    if (entry == entries.end() ? heads == config.heads : *entry == usual) continue;
    return keys.Wrong(kLayers, fmt::format("it contradicts {} query heads of layer {}, or says "
                                           "more than them",
                                           heads, i));
  }
  if (entries.is_object()) return absl::OkStatus();
  return keys.Wrong(kLayers, "it must be an object");
}

// The last is the name that Transformers writes.
absl::Status CheckExperts(const ConfigReader& keys, const ModelConfig& config) {
  constexpr const char* kExperts = "n_routed_experts";
  FM_ASSIGN_OR_RETURN(const auto experts, keys.OptionalInt(kExperts));
  if (!experts || *experts == config.moe.experts) return absl::OkStatus();
  return keys.Wrong(
      kExperts,
      fmt::format("it contradicts moe_num_experts = {}; keep one of the two", config.moe.experts));
}

// null and 0: no limit.
absl::Status ReadLimits(const ConfigReader& keys, const char* key, float LayerConfig::*limit,
                        ModelConfig& config) {
  if (!keys.HasValue(key)) return absl::OkStatus();
  const json& list = *keys.Find(key);
  if (!list.is_array() || list.size() != config.layers.size()) {
    return keys.WrongLength(key, config.layers.size());
  }
  for (size_t i = 0; i < list.size(); ++i) {
    if (list[i].is_null()) continue;
    if (!list[i].is_number() || list[i].get<double>() < 0) {
      return keys.Wrong(key, fmt::format("entry {} must be a number, at least 0, or null", i));
    }
    config.layers[i].*limit = list[i].get<float>();
  }
  return absl::OkStatus();
}

// What `key` says of the layers that have a window, or of the others: one number for all, or a list
// in which they agree. null: nothing.
absl::StatusOr<json> OfKind(const ConfigReader& keys, const char* key, bool windows,
                            const ModelConfig& config) {
  if (!keys.HasValue(key)) return json();
  const json& value = *keys.Find(key);
  if (!value.is_array()) return value;
  if (value.size() != config.layers.size()) return keys.WrongLength(key, config.layers.size());
  json found;
  for (size_t i = 0; i < value.size(); ++i) {
    if ((config.layers[i].sliding_window > 0) != windows) continue;
    if (!found.is_null() && found != value[i]) {
      return keys.Wrong(key, fmt::format("entry {} differs from those of other layers {} a window",
                                         i, windows ? "with" : "without"));
    }
    found = value[i];
  }
  return found;
}

absl::Status ReadRopes(const ConfigReader& keys, ModelConfig& config) {
  constexpr std::string_view kOlder[] = {"rope_theta", "rope_scaling", "partial_rotary_factors"};
  OlderRopeKeys full = {.partial = 1.0};
  OlderRopeKeys local = {.partial = 1.0};
  for (OlderRopeKeys* kind : {&full, &local}) {
    const bool windows = kind == &local;
    FM_ASSIGN_OR_RETURN(const json theta, OfKind(keys, "rope_theta", windows, config));
    FM_ASSIGN_OR_RETURN(const json part, OfKind(keys, "partial_rotary_factors", windows, config));
    if (!theta.is_null()) kind->keys["rope_theta"] = theta;
    if (!part.is_null()) kind->keys["partial_rotary_factor"] = part;
  }
  if (keys.HasValue("rope_scaling")) full.keys["rope_scaling"] = *keys.Find("rope_scaling");
  return ReadLayerRopes(keys, kOlder, full, local, config);
}

absl::Status ReadExperts(const ConfigReader& keys, ModelConfig& config) {
  config.moe.selection_bias = true;
  FM_ASSIGN_OR_RETURN(config.moe.routed_scaling, keys.Number("moe_router_scaling_factor", 1, 0));
  FM_ASSIGN_OR_RETURN(const auto other, keys.OptionalInt("share_expert_dims", kWidthRange));
  FM_ASSIGN_OR_RETURN(const int64_t shared,
                      keys.Int("share_expert_dim", other.value_or(1280), kWidthRange));
  if (other && *other != shared) {
    return keys.Wrong("share_expert_dims", "it contradicts share_expert_dim; keep one of the two");
  }
  config.moe.shared_intermediate = shared;
  config.activation = Activation::kLimitedSwiglu;
  FM_RETURN_IF_ERROR(ReadLimits(keys, "swiglu_limits", &LayerConfig::expert_limit, config));
  return ReadLimits(keys, "swiglu_limits_shared", &LayerConfig::dense_limit, config);
}

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const json cut = CutLists(source.keys, config.layers.size());
  const ConfigReader keys(cut, source.keys.prefix(), kAliases);
  if (config.activation != Activation::kSilu) return keys.Wrong("hidden_act", "known: silu");
  FM_RETURN_IF_ERROR(ReadSlidingLayers(
      keys, 0, [](size_t) { return false; }, config));
  FM_RETURN_IF_ERROR(ReadMoeLayers(keys, config));
  FM_RETURN_IF_ERROR(ReadWindowHeads(keys, config));
  FM_RETURN_IF_ERROR(CheckHeadsOfLayers(keys, config));
  FM_RETURN_IF_ERROR(CheckExperts(keys, config));
  FM_RETURN_IF_ERROR(ReadExperts(keys, config));
  FM_RETURN_IF_ERROR(ReadRopes(keys, config));
  config.attention_gate = AttentionGate::kOwn;
  config.gate_per_head = true;
  FM_ASSIGN_OR_RETURN(const auto scalar, keys.OptionalNumber("query_pre_attn_scalar", 0.0));
  if (scalar) config.attention_multiplier = static_cast<float>(1.0 / std::sqrt(*scalar));
  return absl::OkStatus();
}

LayerNames Names(const std::string& prefix) {
  const std::string moe = prefix + "moe.";
  LayerNames names = UsualLayerNames(prefix);
  names.attention.gate = prefix + "self_attn.g_proj";
  names.moe.router = moe + "gate.weight";
  names.moe.selection_bias = moe + "router_bias";
  names.moe.experts = {.prefix = moe,
                       .gate = "gate_proj.weight",
                       .up = "up_proj.weight",
                       .down = "down_proj.weight",
                       .packed_gate_up = moe + "gate_proj.weight",
                       .packed_down = moe + "down_proj.weight",
                       .packed_up = moe + "up_proj.weight",
                       .always_packed = true};
  names.moe.shared_prefix = prefix + "share_expert.";
  return names;
}

constexpr ConfigFamily kText = {.architecture = "Step3p5ForCausalLM",
                                .model_type = "step3p5",
                                .vocab = 128815,
                                .hidden = 4096,
                                .intermediate = 11264,
                                .layers = 45,
                                .heads = 64,
                                .kv_heads = 8,
                                .max_positions = 128000,
                                .head_dim = 128,
                                .rms_norm_eps = 1e-5,
                                .norm = NormKind::kRmsPlusOne,
                                .own_rope = true,
                                .bias = BiasRule::kAttentionKey,
                                .qk_norm = QkNormKind::kHeads,
                                .window = WindowRule::kOwn,
                                .kv_heads_null = false,
                                .head_dim_null = false,
                                .experts = 288,
                                .top_k = 8,
                                .moe_intermediate = 1280,
                                .dense = DenseRule::kOwn,
                                .aliases = kAliases,
                                .fixed = kFixed,
                                .own_keys = kOwnKeys,
                                .read = Read};

constexpr ConfigFamily MultimodalConfig() {
  ConfigFamily config = kText;
  config.architecture = "Step3p7ForConditionalGeneration";
  config.model_type = "step3p7";
  config.text_model_type = kText.model_type;
  config.beside_text = kBesideText;
  return config;
}

}  // namespace

const Family kStep3p5 = {
    .config = kText, .layer_names = Names, .gate = BiasedSigmoidGate, .unused = kUnused};
const Family kStep3p7 = {.config = MultimodalConfig(),
                         .layer_names = Names,
                         .gate = BiasedSigmoidGate,
                         .unused = kUnused};

}  // namespace folkmoot
