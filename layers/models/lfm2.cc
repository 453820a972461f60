// SPDX-License-Identifier: Apache-2.0
// LFM2 (Liquid AI 2025), with experts and without: most layers are gated convolutions over three
// rows, the others attend with normalised q and k. Experts are chosen by sigmoids with a bias; the
// first layers are dense.
#include <array>

#include "layers/models/deepseek_parts.h"
#include "layers/models/layer_kinds.h"

namespace folkmoot {
namespace {

constexpr KeyAlias kMoeAliases[] = {{"rms_norm_eps", "norm_eps"},
                                    {"first_k_dense_replace", "num_dense_layers"},
                                    {"tie_word_embeddings", "tie_embedding", true}};
constexpr KeyAlias kDenseAliases[] = {{"rms_norm_eps", "norm_eps"},
                                      {"intermediate_size", "block_ff_dim", true},
                                      {"tie_word_embeddings", "tie_embedding", true}};
constexpr std::string_view kMoeKeys[] = {"conv_L_cache", "conv_bias", "use_expert_bias",
                                         "routed_scaling_factor"};
// From block_dim on released files say again what other keys say; the last four are of training.
constexpr std::string_view kDenseKeys[] = {"conv_L_cache",
                                           "conv_bias",
                                           "full_attn_idxs",
                                           "block_auto_adjust_ff_dim",
                                           "block_ffn_dim_multiplier",
                                           "block_multiple_of",
                                           "block_dim",
                                           "block_norm_eps",
                                           "conv_dim",
                                           "conv_dim_out",
                                           "num_heads",
                                           "block_mlp_init_scale",
                                           "block_out_init_scale",
                                           "block_use_xavier_init",
                                           "conv_use_xavier_init"};
constexpr std::string_view kAbsent[] = {"hidden_act"};
constexpr FixedKey kFixed[] = {
    {"hidden_act", "\"silu\""}, {"block_use_swiglu", "true"}, {"use_pos_enc", "true"}};
constexpr std::string_view kTypes = "layer_types";

absl::Status ReadConvolutions(const ConfigReader& keys, ModelConfig& config) {
  RecurrentConfig& recurrent = config.recurrent;
  recurrent.kind = Recurrence::kShortConvolution;
  FM_ASSIGN_OR_RETURN(recurrent.kernel,
                      keys.Int("conv_L_cache", 3, {.min = 2, .max = kKernelRows.max}));
  FM_ASSIGN_OR_RETURN(recurrent.bias, keys.Bool("conv_bias", false));
  recurrent.kernel_bias = recurrent.bias;
  return absl::OkStatus();
}

absl::Status ReadLayerTypes(const ConfigReader& keys, ModelConfig& config) {
  constexpr std::array<std::string_view, 2> kKnown = {"conv", "full_attention"};
  FM_ASSIGN_OR_RETURN(const auto kinds, ReadLayerKinds(keys, kTypes, kKnown, config.layers.size()));
  for (size_t i = 0; i < kinds.size(); ++i) {
    config.layers[i].mixer = kinds[i] == 0 ? Mixer::kRecurrent : Mixer::kAttention;
  }
  return CheckAttends(keys, kTypes, config);
}

absl::Status ReadMoe(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  FM_RETURN_IF_ERROR(ReadConvolutions(keys, config));
  FM_ASSIGN_OR_RETURN(config.moe.selection_bias, keys.Bool("use_expert_bias", true));
  FM_ASSIGN_OR_RETURN(config.moe.routed_scaling, keys.Number("routed_scaling_factor", 1.0, 0.0));
  return ReadLayerTypes(keys, config);
}

// The width of the dense network, which config.json names before it is made smaller and rounded up.
absl::Status AdjustIntermediate(const ConfigReader& keys, ModelConfig& config) {
  FM_ASSIGN_OR_RETURN(const bool adjust, keys.Bool("block_auto_adjust_ff_dim", true));
  FM_ASSIGN_OR_RETURN(const int64_t multiple, keys.Int("block_multiple_of", 256, kWidthRange));
  FM_ASSIGN_OR_RETURN(const auto factor, keys.OptionalNumber("block_ffn_dim_multiplier", 0.0));
  if (!adjust) return absl::OkStatus();
  int64_t width = 2 * config.intermediate / 3;
  if (factor || !keys.Has("block_ffn_dim_multiplier")) {
    const double scaled = factor.value_or(1.0) * static_cast<double>(width);
    if (scaled > static_cast<double>(kWidthRange.max)) {
      return keys.Wrong("block_ffn_dim_multiplier",
                        fmt::format("the width may be {} at most", kWidthRange.max));
    }
    width = (static_cast<int64_t>(scaled) + multiple - 1) / multiple * multiple;
  }
  if (width < 1) return keys.Wrong("intermediate_size", "two thirds of it must be at least 1");
  config.intermediate = width;
  return absl::OkStatus();
}

// Layers that attend by number, where there is no layer_types; without either all do.
absl::Status ReadAttentionNumbers(const ConfigReader& keys, ModelConfig& config) {
  if (!keys.HasValue("full_attn_idxs")) return absl::OkStatus();
  const auto layers = static_cast<int64_t>(config.layers.size());
  FM_ASSIGN_OR_RETURN(const auto numbers, keys.Ints("full_attn_idxs", {0, layers - 1}));
  for (LayerConfig& layer : config.layers) layer.mixer = Mixer::kRecurrent;
  for (const int64_t i : numbers) config.layers[static_cast<size_t>(i)].mixer = Mixer::kAttention;
  return CheckAttends(keys, "full_attn_idxs", config);
}

absl::Status CheckRepeated(const ConfigReader& keys, const ModelConfig& config) {
  const std::pair<std::string_view, int64_t> repeated[] = {{"block_dim", config.hidden},
                                                           {"conv_dim", config.hidden},
                                                           {"conv_dim_out", config.hidden},
                                                           {"num_heads", config.heads}};
  for (const auto& [key, value] : repeated) {
    FM_ASSIGN_OR_RETURN(const auto given, keys.OptionalInt(key));
    if (given.value_or(value) == value) continue;
    return keys.Wrong(key, fmt::format("it must be {}, as other keys say", value));
  }
  FM_ASSIGN_OR_RETURN(const auto eps, keys.OptionalNumber("block_norm_eps", 0.0));
  if (!eps || static_cast<float>(*eps) == config.rms_norm_eps) return absl::OkStatus();
  return keys.Wrong("block_norm_eps", "it contradicts norm_eps; remove it");
}

absl::Status ReadDense(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  FM_RETURN_IF_ERROR(ReadConvolutions(keys, config));
  FM_RETURN_IF_ERROR(AdjustIntermediate(keys, config));
  FM_RETURN_IF_ERROR(CheckRepeated(keys, config));
  return keys.HasValue(kTypes) ? ReadLayerTypes(keys, config) : ReadAttentionNumbers(keys, config);
}

LayerNames Names(const std::string& prefix) {
  const std::string attention = prefix + "self_attn.";
  const std::string feed = prefix + "feed_forward.";
  LayerNames names = UsualLayerNames(prefix);
  names.input_norm = prefix + "operator_norm";
  names.ffn_norm = prefix + "ffn_norm";
  names.attention.o = attention + "out_proj";
  names.attention.q_norm = attention + "q_layernorm";
  names.attention.k_norm = attention + "k_layernorm";
  names.recurrent.in = prefix + "conv.in_proj";
  names.recurrent.convolution = prefix + "conv.conv";
  names.recurrent.o = prefix + "conv.out_proj";
  names.dense_gate = feed + "w1";
  names.dense_up = feed + "w3";
  names.dense_down = feed + "w2";
  names.moe = {.router = feed + "gate.weight",
               .selection_bias = feed + "expert_bias",
               .experts = {.prefix = feed,
                           .gate = "w1.weight",
                           .up = "w3.weight",
                           .down = "w2.weight",
                           .packed_gate_up = feed + "experts.gate_up_proj",
                           .packed_down = feed + "experts.down_proj"}};
  return names;
}

EndNames Ends() { return {"model.embed_tokens.weight", "model.embedding_norm", "lm_head"}; }

GateConfig Gate(const ModelConfig& config) {
  GateConfig gate = BiasedSigmoidGate(config);
  gate.norm_eps = 1e-6;
  return gate;
}

// What the two have in common.
constexpr ConfigFamily Config(std::string_view architecture, std::string_view model_type) {
  return {.architecture = architecture,
          .model_type = model_type,
          .vocab = 65536,
          .layers = 32,
          .heads = 32,
          .kv_heads = 8,
          .max_positions = 128000,
          .rms_norm_eps = 1e-5,
          .rope_theta = 1e6,
          .eos = 2,
          .tied_embeddings = true,
          .qk_norm = QkNormKind::kHeads,
          .window = WindowRule::kOwn,
          .kv_heads_null = false,
          .fixed = kFixed,
          .absent_keys = kAbsent};
}

constexpr ConfigFamily MoeFamily() {
  ConfigFamily config = Config("Lfm2MoeForCausalLM", "lfm2_moe");
  config.hidden = 2048;
  config.intermediate = 7168;
  config.experts = 32;
  config.top_k = 4;
  config.moe_intermediate = 1792;
  config.dense = DenseRule::kFirst;
  config.first_dense = 2;
  config.norm_topk_key = true;
  config.norm_topk = true;
  config.aliases = kMoeAliases;
  config.own_keys = kMoeKeys;
  config.read = ReadMoe;
  return config;
}

constexpr ConfigFamily DenseFamily() {
  ConfigFamily config = Config("Lfm2ForCausalLM", "lfm2");
  config.hidden = 2560;
  config.intermediate = 12288;
  config.aliases = kDenseAliases;
  config.own_keys = kDenseKeys;
  config.read = ReadDense;
  return config;
}

}  // namespace

const Family kLfm2Moe = {
    .config = MoeFamily(),
    .layer_names = Names,
    .end_names = Ends,
    .gate = Gate,
};

const Family kLfm2 = {
    .config = DenseFamily(),
    .layer_names = Names,
    .end_names = Ends,
};

}  // namespace folkmoot
