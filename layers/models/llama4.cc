// SPDX-License-Identifier: Apache-2.0
// Llama 4 (Meta 2025), Scout and Maverick: most layers rotate q and k and see chunks of the past,
// every few see all of it and do not rotate. The weight of a chosen expert multiplies its input.
// Of the published multimodal checkpoints only the text model is run.
#include <algorithm>

#include "layers/models/family.h"

namespace folkmoot {
namespace {

constexpr std::string_view kOwnKeys[] = {"intermediate_size_mlp",
                                         "moe_layers",
                                         "interleave_moe_layer_step",
                                         "no_rope_layers",
                                         "no_rope_layer_interval",
                                         "use_qk_norm",
                                         "attention_chunk_size",
                                         "attn_temperature_tuning",
                                         "floor_scale",
                                         "attn_scale"};
constexpr FixedKey kFixed[] = {{"for_llm_compressor", "false"}};
constexpr std::string_view kBesideText[] = {
    "vision_config",  "image_token_index", "boi_token_index", "eoi_token_index",
    "image_token_id", "boi_token_id",      "eoi_token_id"};
constexpr std::string_view kNotText[] = {"vision_model.", "multi_modal_projector."};

absl::Status ReadMoeLayers(const ConfigReader& keys, ModelConfig& config) {
  const auto layers = static_cast<int64_t>(config.layers.size());
  FM_ASSIGN_OR_RETURN(const int64_t step, keys.Int("interleave_moe_layer_step", 1));
  FM_ASSIGN_OR_RETURN(const auto listed, keys.Ints("moe_layers", {0, layers - 1}));
  for (int64_t i = 0; i < layers; ++i) {
    config.layers[static_cast<size_t>(i)].moe =
        keys.HasValue("moe_layers") ? std::find(listed.begin(), listed.end(), i) != listed.end()
                                    : (i + 1) % step == 0;
  }
  return absl::OkStatus();
}

// The list says which layers do rotate, whatever its name; published files leave it empty.
absl::Status ReadRotations(const ConfigReader& keys, ModelConfig& config) {
  FM_ASSIGN_OR_RETURN(const int64_t interval, keys.Int("no_rope_layer_interval", 4));
  FM_ASSIGN_OR_RETURN(const auto rotates, keys.Ints("no_rope_layers", {0, INT32_MAX}));
  if (!rotates.empty() && rotates.size() != config.layers.size()) {
    return keys.WrongLength("no_rope_layers", config.layers.size());
  }
  for (size_t i = 0; i < config.layers.size(); ++i) {
    config.layers[i].rope =
        rotates.empty() ? (static_cast<int64_t>(i) + 1) % interval != 0 : rotates[i] != 0;
  }
  return absl::OkStatus();
}

absl::Status ReadChunks(const ConfigReader& keys, ModelConfig& config) {
  // null: layers see everything.
  FM_ASSIGN_OR_RETURN(const int64_t size, keys.IntOrNull("attention_chunk_size", 8192, {}));
  FM_ASSIGN_OR_RETURN(const auto types, keys.Strings("layer_types"));
  const bool given = keys.HasValue("layer_types");
  if (given && types.size() != config.layers.size()) {
    return keys.WrongLength("layer_types", config.layers.size());
  }
  for (size_t i = 0; i < config.layers.size(); ++i) {
    LayerConfig& layer = config.layers[i];
    const std::string_view type = given        ? std::string_view(types[i])
                                  : layer.rope ? "chunked_attention"
                                               : "full_attention";
    if (type != "chunked_attention" && type != "full_attention") {
      return keys.Wrong(
          "layer_types",
          fmt::format("entry {} is '{}'; known: chunked_attention, full_attention", i, type));
    }
    if (type == "chunked_attention") layer.chunk = size;
  }
  return absl::OkStatus();
}

absl::Status ReadTemperature(const ConfigReader& keys, ModelConfig& config) {
  constexpr std::string_view kTuning = "attn_temperature_tuning";
  TemperatureConfig read;
  FM_ASSIGN_OR_RETURN(read.floor, keys.Float("floor_scale", 8192.0f, 0.0));
  FM_ASSIGN_OR_RETURN(read.scale, keys.Float("attn_scale", 0.1f, kBelowZero));
  // Published files say 4, and mean true.
  if (keys.Has(kTuning) && keys.Find(kTuning)->is_number()) {
    FM_ASSIGN_OR_RETURN(const int64_t number, keys.Int(kTuning, 0, {0, INT32_MAX}));
    if (number != 0) config.temperature = read;
    return absl::OkStatus();
  }
  FM_ASSIGN_OR_RETURN(const bool tuned, keys.Bool(kTuning, true));
  if (tuned) config.temperature = read;
  return absl::OkStatus();
}

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  config.moe.shared_intermediate = config.moe.intermediate;
  FM_ASSIGN_OR_RETURN(config.intermediate, keys.Int("intermediate_size_mlp", 16384, kWidthRange));
  FM_ASSIGN_OR_RETURN(const bool norms, keys.Bool("use_qk_norm", true));
  if (norms) config.qk_norm = QkNormKind::kUnitAfterRope;
  FM_RETURN_IF_ERROR(ReadMoeLayers(keys, config));
  FM_RETURN_IF_ERROR(ReadRotations(keys, config));
  FM_RETURN_IF_ERROR(ReadChunks(keys, config));
  return ReadTemperature(keys, config);
}

LayerNames Names(const std::string& prefix) {
  const std::string ffn = prefix + "feed_forward.";
  LayerNames names = UsualLayerNames(prefix);
  names.dense_prefix = ffn;
  names.moe = {.router = ffn + "router.weight",
               .experts = {.prefix = ffn,
                           .gate = "gate_proj.weight",
                           .up = "up_proj.weight",
                           .down = "down_proj.weight",
                           .packed_gate_up = ffn + "experts.gate_up_proj",
                           .packed_down = ffn + "experts.down_proj",
                           .always_packed = true,
                           .gate_up_transposed = true,
                           .down_transposed = true},
               .shared_prefix = ffn + "shared_expert."};
  return names;
}

// Chosen by logits: sigmoids of large ones are equal.
GateConfig PublishedGate(const ModelConfig& config) {
  GateConfig gate = TopKGate(config);
  gate.score_fn = ScoreFn::kSigmoid;
  gate.select_on = SelectOn::kLogit;
  gate.normalize = Normalize::kNone;
  gate.apply_to = ApplyTo::kInput;
  return gate;
}

constexpr ConfigFamily kText = {.architecture = "Llama4ForCausalLM",
                                .model_type = "llama4_text",
                                .vocab = 202048,
                                .hidden = 5120,
                                .intermediate = 8192,
                                .layers = 48,
                                .heads = 40,
                                .kv_heads = 8,
                                .max_positions = 131072,
                                .head_dim = 128,
                                .rms_norm_eps = 1e-5,
                                .rope_theta = 5e5,
                                .rope_neighbours = true,
                                .eos = 2,
                                .bias = BiasRule::kAttentionKey,
                                .window = WindowRule::kOwn,
                                .kv_heads_null = false,
                                .head_dim_null = false,
                                .experts = 16,
                                .top_k = 1,
                                .dense = DenseRule::kOwn,
                                .local_experts_alias = true,
                                .local_experts_only = true,
                                .fixed = kFixed,
                                .own_keys = kOwnKeys,
                                .read = Read};

constexpr ConfigFamily MultimodalConfig() {
  ConfigFamily config = kText;
  config.text_model_type = config.model_type;
  config.architecture = "Llama4ForConditionalGeneration";
  config.model_type = "llama4";
  config.beside_text = kBesideText;
  return config;
}

}  // namespace

const Family kLlama4 = {.config = kText, .layer_names = Names, .gate = PublishedGate};

const Family kLlama4Multimodal = {.config = MultimodalConfig(),
                                  .layer_names = Names,
                                  .end_names = LanguageModelEndNames,
                                  .layers = "language_model.model.layers.",
                                  .gate = PublishedGate,
                                  .unused = kNotText};

}  // namespace folkmoot
