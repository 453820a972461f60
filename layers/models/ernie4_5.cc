// SPDX-License-Identifier: Apache-2.0
// ERNIE 4.5 with experts (Baidu 2025): a llama whose rotations turn neighbours, experts chosen by
// biased softmax scores beside shared ones. Layers for multi-token prediction are not used. Of
// ERNIE 4.5 VL only the text model is run: tokens of text have experts and a router of their own,
// and without pictures the sections of its positions are equal.
#include <charconv>

#include "layers/models/deepseek_parts.h"
#include "runtime/model_config_rope.h"

namespace folkmoot {
namespace {

constexpr KeyAlias kAliases[] = {{"num_experts", "moe_num_experts"},
                                 {"num_experts_per_tok", "moe_k"}};
constexpr FixedKey kFixed[] = {{"moe_gate", "\"topk\""},
                               {"moe_gate", "\"topk_fused\""},
                               {"moe_use_aux_free", "true"},
                               {"use_rmsnorm", "true"},
                               {"compression_ratio", "1"}};
constexpr std::string_view kOwnKeys[] = {"moe_num_shared_experts",
                                         "moe_layer_start_index",
                                         "moe_layer_end_index",
                                         "moe_layer_interval",
                                         "moe_norm_min",
                                         "use_bias",
                                         "moe_capacity",
                                         "num_nextn_predict_layers",
                                         "freq_allocation",
                                         "fuse_rope",
                                         "fuse_linear",
                                         "use_flash_attention"};
constexpr std::string_view kUnused[] = {"model.mtp_block.", "model.mtp_emb_norm.",
                                        "model.mtp_hidden_norm.", "model.mtp_linear_proj."};

absl::Status ReadLayers(const ConfigReader& keys, ModelConfig& config) {
  const auto layers = static_cast<int64_t>(config.layers.size());
  FM_ASSIGN_OR_RETURN(const int64_t start, keys.Int("moe_layer_start_index", 1, {0, INT32_MAX}));
  FM_ASSIGN_OR_RETURN(int64_t end, keys.Int("moe_layer_end_index", -1, {-1, INT32_MAX}));
  FM_ASSIGN_OR_RETURN(const int64_t interval, keys.Int("moe_layer_interval", 1));
  if (end == -1) end = layers - 1;
  for (int64_t i = 0; i < layers; ++i) {
    config.layers[static_cast<size_t>(i)].moe = (i + 1) % interval == 0 && start <= i && i <= end;
  }
  return absl::OkStatus();
}

absl::Status ReadExperts(const ConfigReader& keys, ModelConfig& config) {
  FM_ASSIGN_OR_RETURN(const int64_t shared, keys.Int("moe_num_shared_experts", 2, {0, 1 << 10}));
  config.moe.shared_intermediate = shared * config.moe.intermediate;
  config.moe.selection_bias = true;
  FM_ASSIGN_OR_RETURN(config.moe.norm_min, keys.Number("moe_norm_min", 1e-12, 0.0));
  FM_ASSIGN_OR_RETURN(config.mlp_bias, keys.Bool("use_bias", false));
  config.qkv_bias = config.output_bias = config.mlp_bias;
  return absl::OkStatus();
}

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  FM_RETURN_IF_ERROR(ReadLayers(source.keys, config));
  FM_RETURN_IF_ERROR(ReadExperts(source.keys, config));
  config.head_bias = config.mlp_bias;
  return absl::OkStatus();
}

LayerNames Names(const std::string& prefix) {
  LayerNames names = UsualLayerNames(prefix);
  names.moe.selection_bias = prefix + "mlp.moe_statics.e_score_correction_bias";
  names.moe.packed_selection_bias = prefix + "mlp.gate.moe_statics.e_score_correction_bias";
  names.moe.selection_bias_rows = 1;
  return names;
}

// Of VL.
constexpr const char* kWidths = "moe_intermediate_size";
constexpr std::string_view kTextKeys[] = {"moe_num_shared_experts", "moe_norm_min", "use_bias",
                                          "mlp_layer_types", kWidths};
constexpr std::string_view kBesideText[] = {
    "vision_config",      "image_token_id",       "video_token_id",    "image_start_token_id",
    "image_end_token_id", "video_start_token_id", "video_end_token_id"};
constexpr std::string_view kNotText[] = {"vision_model.", "model.vision_model.",
                                         "model.resampler_model."};

// Rotations are those of text alone if height and width have as many pairs, and all three all.
absl::Status ReadSections(const ConfigReader& keys, ModelConfig& config) {
  constexpr const char* kRope = "rope_parameters";
  FM_ASSIGN_OR_RETURN(config.rope, ParseRope(keys, {.theta = 5e5,
                                                    .dim = config.head_dim,
                                                    .max_positions = config.max_positions,
                                                    .sections = true}));
  config.rope.neighbours = true;
  if (config.rope.type != RopeType::kDefault) return keys.Wrong(kRope, "only default is known");
  std::vector<int64_t> sections = {22, 22, 20};
  for (const char* object : {kRope, "rope_scaling"}) {
    if (!keys.HasValue(object)) continue;
    const ConfigReader rope(*keys.Find(object), fmt::format("{}{}.", keys.prefix(), object));
    if (!rope.HasValue("mrope_section")) continue;
    FM_ASSIGN_OR_RETURN(sections, rope.Ints("mrope_section", {0, config.head_dim}));
  }
  if (sections.size() == 3 && sections[0] == sections[1] &&
      2 * (sections[0] + sections[1] + sections[2]) == config.head_dim) {
    return absl::OkStatus();
  }
  return keys.Wrong(kRope, fmt::format("mrope_section [{}] must have three entries, the first two "
                                       "alike, and {} in all: half of a head",
                                       fmt::join(sections, ", "), config.head_dim / 2));
}

absl::Status ReadText(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  // Of experts of text and of pictures.
  FM_ASSIGN_OR_RETURN(const auto widths, keys.Ints(kWidths, kWidthRange));
  if (!widths.empty() && widths.size() != 2) {
    return keys.Wrong(kWidths, "it must be a list of two: for text and for pictures");
  }
  config.moe.intermediate = widths.empty() ? 1536 : widths[0];
  config.layers.front().moe = false;  // where mlp_layer_types is absent
  FM_RETURN_IF_ERROR(ReadMlpLayerTypes(keys, config));
  FM_RETURN_IF_ERROR(ReadSections(keys, config));
  return ReadExperts(keys, config);
}

// As published: transposed routers, and a row of biases for tokens of text and one for others.
LayerNames TextNames(const std::string& prefix) {
  LayerNames names = Names(prefix);
  names.moe.router_transposed = true;
  names.moe.packed_selection_bias = "";
  names.moe.selection_bias_rows = 2;
  return names;
}

// The experts and the router of pictures: those behind the experts of text, and weight_1.
bool IsOfPictures(const ModelConfig& config, std::string_view name) {
  constexpr std::string_view kExperts = ".mlp.experts.";
  if (name.ends_with(".mlp.gate.weight_1")) return true;
  const size_t at = name.find(kExperts);
  if (at == std::string_view::npos) return false;
  const std::string_view number = name.substr(at + kExperts.size());
  int64_t expert = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), expert);
  return error == std::errc() && expert >= config.moe.experts;
}

GateConfig PublishedGate(const ModelConfig& config) {
  GateConfig gate = TopKGate(config);
  gate.norm_eps = config.moe.norm_min;
  gate.norm_eps_mode = NormEpsMode::kClamp;
  return gate;
}

}  // namespace

const Family kErnie45Moe = {
    .config = {.architecture = "Ernie4_5_MoeForCausalLM",
               .model_type = "ernie4_5_moe",
               .vocab = 103424,
               .hidden = 2560,
               .intermediate = 12288,
               .layers = 28,
               .heads = 20,
               .kv_heads = 4,
               .max_positions = 131072,
               .rms_norm_eps = 1e-5,
               .rope_theta = 5e5,
               .rope_neighbours = true,
               .eos = 2,
               .tied_embeddings = true,
               .kv_heads_null = false,
               .experts = 64,
               .top_k = 6,
               .moe_intermediate = 1536,
               .dense = DenseRule::kOwn,
               .aliases = kAliases,
               .fixed = kFixed,
               .own_keys = kOwnKeys,
               .read = Read},
    .layer_names = Names,
    .gate = PublishedGate,
    .unused = kUnused,
};

const Family kErnie45VlMoe = {
    .config = {.architecture = "Ernie4_5_VLMoeForConditionalGeneration",
               .other_architecture = "Ernie4_5_VL_MoeForConditionalGeneration",
               .model_type = "ernie4_5_vl_moe",
               .vocab = 103424,
               .hidden = 2560,
               .intermediate = 12288,
               .layers = 28,
               .heads = 20,
               .kv_heads = 4,
               .max_positions = 131072,
               .rms_norm_eps = 1e-5,
               .own_rope = true,
               .tied_embeddings = true,
               .experts = 64,
               .top_k = 6,
               .dense = DenseRule::kOwn,
               .aliases = kAliases,
               .text_model_type = "ernie4_5_vl_moe_text",
               .beside_text = kBesideText,
               .own_keys = kTextKeys,
               .read = ReadText},
    .layer_names = TextNames,
    .gate = PublishedGate,
    .unused = kNotText,
    .also_unused = IsOfPictures,
};

}  // namespace folkmoot
