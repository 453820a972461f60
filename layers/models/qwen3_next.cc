// SPDX-License-Identifier: Apache-2.0
// Qwen3-Next (Alibaba 2025) and the text models of Qwen3.5, with experts and without: most layers
// are linear attention by the gated delta rule (layers/gated_delta_net.h), every few attend to all
// of the past, with gates that stand behind the queries, heads that rotate in part and norms that
// multiply by 1 + weight. Experts are those of Qwen2-MoE. The model for multi-token prediction and
// the part for pictures are not run; in text the three sections of a position are equal, which
// makes them those of text.
#include <array>

#include "layers/models/family.h"
#include "layers/models/layer_kinds.h"
#include "layers/models/qwen_parts.h"
#include "runtime/model_config_rope.h"

namespace folkmoot {
namespace {

// The last two are of multi-token prediction in Qwen3.5, which is not run.
constexpr std::array<std::string_view, 8> kOwnKeys35 = {
    "full_attention_interval", "linear_conv_kernel_dim",      "linear_key_head_dim",
    "linear_value_head_dim",   "linear_num_key_heads",        "linear_num_value_heads",
    "mtp_num_hidden_layers",   "mtp_use_dedicated_embeddings"};
constexpr std::span<const std::string_view> kOwnKeys = std::span(kOwnKeys35).first(6);
constexpr FixedKey kFixed35[] = {{"attn_output_gate", "true"},
                                 {"mamba_ssm_dtype", "\"float32\""},
                                 {"mlp_only_layers", "[]"},
                                 {"norm_topk_prob", "true"}};
constexpr std::string_view kBesideText[] = {"vision_config", "image_token_id", "video_token_id",
                                            "vision_start_token_id", "vision_end_token_id"};
constexpr std::string_view kUnused[] = {"mtp."};
constexpr std::string_view kUnused35[] = {"mtp.", "model.visual."};

// layer_types, where given; else every layer whose number, from 1, full_attention_interval divides
// attends.
absl::Status ReadLinearLayers(const ConfigReader& keys, ModelConfig& config) {
  const auto layers = static_cast<int64_t>(config.layers.size());
  FM_ASSIGN_OR_RETURN(const int64_t interval, keys.Int("full_attention_interval", 4));
  if (!keys.HasValue("layer_types")) {
    for (int64_t i = 0; i < layers; ++i) {
      const bool attends = (i + 1) % interval == 0;
      config.layers[static_cast<size_t>(i)].mixer = attends ? Mixer::kAttention : Mixer::kRecurrent;
    }
    return CheckAttends(keys, "full_attention_interval", config);
  }
  constexpr std::array<std::string_view, 2> kKnown = {"linear_attention", "full_attention"};
  FM_ASSIGN_OR_RETURN(const auto kinds,
                      ReadLayerKinds(keys, "layer_types", kKnown, config.layers.size()));
  for (size_t i = 0; i < kinds.size(); ++i) {
    config.layers[i].mixer = kinds[i] == 0 ? Mixer::kRecurrent : Mixer::kAttention;
  }
  return CheckAttends(keys, "layer_types", config);
}

absl::Status ReadHybrid(const ConfigReader& keys, ModelConfig& config) {
  FM_RETURN_IF_ERROR(ReadGatedDelta(keys, {}, config));
  config.attention_gate = AttentionGate::kBehindQueries;
  return ReadLinearLayers(keys, config);
}

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  return ReadHybrid(source.keys, config);
}

absl::Status Read35(const ConfigSource& source, ModelConfig& config) {
  FM_ASSIGN_OR_RETURN(config.rope, ParseRope(source.keys, {.theta = source.family.rope_theta,
                                                           .dim = config.head_dim,
                                                           .partial = source.family.partial_rotary,
                                                           .max_positions = config.max_positions,
                                                           .sections = true}));
  return ReadHybrid(source.keys, config);
}

LayerNames Names35(const std::string& prefix) {
  LayerNames names = SharedExpertNames(prefix);
  names.recurrent = GatedDeltaNames(prefix + "linear_attn.");
  return names;
}

LayerNames Names(const std::string& prefix) {
  LayerNames names = Names35(prefix);
  names.recurrent.qkvz = prefix + "linear_attn.in_proj_qkvz";  // in place of qkv and z
  names.recurrent.ba = prefix + "linear_attn.in_proj_ba";
  return names;
}

// What the kinds have in common.
constexpr ConfigFamily Config(std::string_view architecture, std::string_view model_type) {
  return {.architecture = architecture,
          .model_type = model_type,
          .heads = 16,
          .kv_heads = 2,
          .max_positions = 32768,
          .head_dim = 256,
          .norm = NormKind::kRmsPlusOne,
          .partial_rotary = 0.25,
          .bias = BiasRule::kAttentionKey,
          .qk_norm = QkNormKind::kHeads,
          .window = WindowRule::kOwn,
          .kv_heads_null = false,
          .head_dim_null = false,
          .own_keys = kOwnKeys,
          .read = Read};
}

constexpr ConfigFamily NextConfig() {
  ConfigFamily config = Config("Qwen3NextForCausalLM", "qwen3_next");
  config.vocab = 151936;
  config.hidden = 2048;
  config.intermediate = 5632;
  config.layers = 48;
  config.experts = 512;
  config.top_k = 10;
  config.moe_intermediate = 512;
  config.shared_intermediate = 512;
  config.dense = DenseRule::kSparseStep;
  config.norm_topk_key = true;
  config.norm_topk = true;
  return config;
}

constexpr ConfigFamily Config35(std::string_view architecture, std::string_view model_type,
                                std::string_view text_model_type) {
  ConfigFamily config = Config(architecture, model_type);
  config.vocab = 248320;
  config.own_rope = true;
  config.text_model_type = text_model_type;
  config.beside_text = kBesideText;
  config.fixed = kFixed35;
  config.own_keys = kOwnKeys35;
  config.read = Read35;
  return config;
}

constexpr ConfigFamily Moe35Config() {
  ConfigFamily config =
      Config35("Qwen3_5MoeForConditionalGeneration", "qwen3_5_moe", "qwen3_5_moe_text");
  config.hidden = 2048;
  config.layers = 40;
  config.experts = 256;
  config.top_k = 8;
  config.moe_intermediate = 512;
  config.shared_intermediate = 512;
  return config;
}

constexpr ConfigFamily Dense35Config() {
  ConfigFamily config = Config35("Qwen3_5ForConditionalGeneration", "qwen3_5", "qwen3_5_text");
  config.hidden = 4096;
  config.intermediate = 12288;
  config.layers = 32;
  config.kv_heads = 4;
  return config;
}

// A file of the text model alone, with its keys and tensors one level up.
constexpr ConfigFamily Alone(ConfigFamily config, std::string_view architecture) {
  config.architecture = architecture;
  config.model_type = config.text_model_type;
  config.text_model_type = {};
  config.beside_text = {};
  return config;
}

constexpr Family Family35(const ConfigFamily& config, GateConfig (*gate)(const ModelConfig&)) {
  return {.config = config,
          .layer_names = Names35,
          .end_names = InnerLanguageModelEndNames,
          .layers = "model.language_model.layers.",
          .gate = gate,
          .unused = kUnused35};
}

}  // namespace

const Family kQwen3Next = {
    .config = NextConfig(),
    .layer_names = Names,
    .gate = SigmoidSharedGate,
    .unused = kUnused,
};

const Family kQwen35Moe = Family35(Moe35Config(), SigmoidSharedGate);
const Family kQwen35 = Family35(Dense35Config(), nullptr);
const Family kQwen35MoeText = {
    .config = Alone(Moe35Config(), "Qwen3_5MoeForCausalLM"),
    .layer_names = Names35,
    .gate = SigmoidSharedGate,
    .unused = kUnused,
};
const Family kQwen35Text = {
    .config = Alone(Dense35Config(), "Qwen3_5ForCausalLM"),
    .layer_names = Names35,
    .unused = kUnused,
};

}  // namespace folkmoot
