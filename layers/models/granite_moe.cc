// SPDX-License-Identifier: Apache-2.0
// Granite-MoE (IBM 2024), without and with a shared expert: softmax over the chosen logits. Four
// multipliers scale embeddings, attention, residuals and logits. Granite 4 (IBM 2025) has state
// spaces of Mamba-2 in place of most attention, or of none, the shared expert in every layer, and
// perhaps no others. Granite Swash (IBM 2026) has layers with a window, a learned logit of each
// head, and rotations by layer.
#include <algorithm>
#include <array>

#include "layers/models/family.h"
#include "layers/models/layer_kinds.h"

namespace folkmoot {
namespace {

constexpr std::array<std::string_view, 5> kSharedKeys = {
    "attention_multiplier", "embedding_multiplier", "logits_scaling", "residual_multiplier",
    "shared_intermediate_size"};
constexpr std::span<const std::string_view> kOwnKeys = std::span(kSharedKeys).first(4);
// mamba_chunk_size is of kernels that take chunks of rows.
constexpr std::string_view kHybridKeys[] = {"attention_multiplier",
                                            "embedding_multiplier",
                                            "logits_scaling",
                                            "residual_multiplier",
                                            "mamba_chunk_size",
                                            "mamba_conv_bias",
                                            "mamba_d_conv",
                                            "mamba_d_head",
                                            "mamba_d_state",
                                            "mamba_expand",
                                            "mamba_n_groups",
                                            "mamba_n_heads",
                                            "mamba_proj_bias",
                                            "position_embedding_type",
                                            "shared_intermediate_size"};
constexpr FixedKey kHybridFixed[] = {{"init_method", "\"mup\""},
                                     {"normalization_function", "\"rmsnorm\""},
                                     {"time_step_limit", R"([0.0, "Infinity"])"}};

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  FM_ASSIGN_OR_RETURN(config.attention_multiplier, keys.Float("attention_multiplier", 1, 0));
  FM_ASSIGN_OR_RETURN(config.embedding_multiplier, keys.Float("embedding_multiplier", 1, 0));
  FM_ASSIGN_OR_RETURN(config.logits_scaling, keys.Float("logits_scaling", 1, 0));
  FM_ASSIGN_OR_RETURN(config.residual_multiplier, keys.Float("residual_multiplier", 1, 0));
  return absl::OkStatus();
}

absl::Status ReadShared(const ConfigSource& source, ModelConfig& config) {
  FM_RETURN_IF_ERROR(Read(source, config));
  FM_ASSIGN_OR_RETURN(
      config.moe.shared_intermediate,
      source.keys.Int("shared_intermediate_size", 0, {.min = 0, .max = kWidthRange.max}));
  return absl::OkStatus();
}

// Heads are as wide as expand * hidden_size leaves them.
absl::Status ReadStateSpaceWidths(const ConfigReader& keys, ModelConfig& config) {
  RecurrentConfig& recurrent = config.recurrent;
  FM_ASSIGN_OR_RETURN(const int64_t expand, keys.Int("mamba_expand", 2, {1, 1 << 10}));
  FM_ASSIGN_OR_RETURN(recurrent.value_heads, keys.Int("mamba_n_heads", 128, {1, 1 << 16}));
  const int64_t values = expand * config.hidden;
  if (values % recurrent.value_heads != 0) {
    return keys.Wrong("mamba_n_heads",
                      fmt::format("it must divide mamba_expand * hidden_size = {}", values));
  }
  recurrent.value_dim = values / recurrent.value_heads;
  const nlohmann::json* const width = keys.Find("mamba_d_head");
  if (width == nullptr || *width == "auto") return absl::OkStatus();
  FM_ASSIGN_OR_RETURN(const int64_t given, keys.Int("mamba_d_head", 0));
  if (given == recurrent.value_dim) return absl::OkStatus();
  return keys.Wrong("mamba_d_head",
                    fmt::format("mamba_n_heads heads of it must have mamba_expand * hidden_size "
                                "numbers: {}, or \"auto\"",
                                recurrent.value_dim));
}

absl::Status ReadStateSpace(const ConfigReader& keys, ModelConfig& config) {
  RecurrentConfig& recurrent = config.recurrent;
  recurrent.kind = Recurrence::kStateSpace;
  recurrent.activation = config.activation;
  FM_RETURN_IF_ERROR(ReadStateSpaceWidths(keys, config));
  FM_ASSIGN_OR_RETURN(recurrent.key_heads, keys.Int("mamba_n_groups", 1, {1, 1 << 16}));
  FM_ASSIGN_OR_RETURN(recurrent.key_dim, keys.Int("mamba_d_state", 256, {1, 1 << 12}));
  FM_ASSIGN_OR_RETURN(recurrent.kernel, keys.Int("mamba_d_conv", 4, kKernelRows));
  FM_ASSIGN_OR_RETURN(recurrent.kernel_bias, keys.Bool("mamba_conv_bias", true));
  FM_ASSIGN_OR_RETURN(recurrent.bias, keys.Bool("mamba_proj_bias", false));
  if (recurrent.value_heads % recurrent.key_heads == 0) return absl::OkStatus();
  return keys.Wrong("mamba_n_groups",
                    fmt::format("it must divide mamba_n_heads = {}", recurrent.value_heads));
}

absl::Status ReadHybridLayers(const ConfigReader& keys, ModelConfig& config) {
  constexpr std::string_view kKnown[] = {"mamba", "linear_attention", "attention",
                                         "full_attention"};
  FM_ASSIGN_OR_RETURN(const auto kinds,
                      ReadLayerKinds(keys, "layer_types", kKnown, config.layers.size()));
  FM_ASSIGN_OR_RETURN(const auto given, keys.OptionalString("position_embedding_type"));
  const std::string positions = given.value_or("nope");
  if (positions != "rope" && positions != "nope") {
    return keys.Wrong("position_embedding_type", "known: rope, nope");
  }
  for (size_t i = 0; i < kinds.size(); ++i) {
    config.layers[i].mixer = kinds[i] < 2 ? Mixer::kRecurrent : Mixer::kAttention;
    config.layers[i].rope = positions == "rope";
  }
  return CheckAttends(keys, "layer_types", config);
}

// Without experts the shared one is a dense network.
absl::Status ReadHybrid(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  FM_RETURN_IF_ERROR(Read(source, config));
  FM_RETURN_IF_ERROR(ReadStateSpace(keys, config));
  FM_ASSIGN_OR_RETURN(const int64_t shared,
                      keys.Int("shared_intermediate_size", 1024, kWidthRange));
  (config.moe.experts > 0 ? config.moe.shared_intermediate : config.intermediate) = shared;
  return ReadHybridLayers(keys, config);
}

constexpr std::string_view kSwaKeys[] = {
    "attention_multiplier",     "embedding_multiplier", "logits_scaling",  "residual_multiplier",
    "shared_intermediate_size", "sliding_window",       "layer_rope_theta"};

// 0: the layer does not rotate. Of other bases there may be two.
absl::Status ReadThetas(const ConfigReader& keys, ModelConfig& config) {
  constexpr const char* kThetas = "layer_rope_theta";
  if (!keys.HasValue(kThetas)) return absl::OkStatus();
  FM_ASSIGN_OR_RETURN(const auto thetas, keys.Numbers(kThetas, kBelowZero));
  if (thetas.size() != config.layers.size()) return keys.WrongLength(kThetas, config.layers.size());
  std::vector<double> bases;
  for (size_t i = 0; i < thetas.size(); ++i) {
    config.layers[i].rope = thetas[i] != 0.0;
    if (thetas[i] == 0.0) continue;
    const auto found = std::find(bases.begin(), bases.end(), thetas[i]);
    config.layers[i].local_rope = found - bases.begin() == 1;
    if (found == bases.end()) bases.push_back(thetas[i]);
    if (bases.size() > 2) {
      return keys.Wrong(kThetas, fmt::format("entry {} is a third base of rotations beside {} and "
                                             "{}; two are supported",
                                             i, bases[0], bases[1]));
    }
  }
  if (!bases.empty()) config.rope.theta = bases[0];
  if (bases.size() < 2) return absl::OkStatus();
  config.local_rope = config.rope;
  config.local_rope->theta = bases[1];
  return absl::OkStatus();
}

absl::Status ReadSwa(const ConfigSource& source, ModelConfig& config) {
  FM_RETURN_IF_ERROR(ReadShared(source, config));
  FM_RETURN_IF_ERROR(ReadSlidingLayers(
      source.keys, 128, [](size_t i) { return i % 4 != 0; }, config));
  for (LayerConfig& layer : config.layers) layer.sinks = true;
  return ReadThetas(source.keys, config);
}

LayerNames Names(const std::string& prefix) {
  const std::string block = prefix + "block_sparse_moe.";
  LayerNames names = UsualLayerNames(prefix);
  names.moe = {.router = block + "router.layer.weight",
               .experts = {.prefix = block,
                           .gate = "gate_proj.weight",
                           .up = "up_proj.weight",
                           .down = "down_proj.weight",
                           .packed_gate_up = block + "input_linear.weight",
                           .packed_down = block + "output_linear.weight",
                           .always_packed = true},
               .shared_gate_up = prefix + "shared_mlp.input_linear.weight",
               .shared_down = prefix + "shared_mlp.output_linear.weight"};
  return names;
}

LayerNames HybridNames(const std::string& prefix) {
  const std::string mamba = prefix + "mamba.";
  LayerNames names = Names(prefix);
  names.recurrent = {.in = mamba + "in_proj",
                     .convolution = mamba + "conv1d",
                     .rates = mamba + "A_log",
                     .step_bias = mamba + "dt_bias",
                     .skip = mamba + "D",
                     .norm = mamba + "norm",
                     .o = mamba + "out_proj"};
  names.dense_gate_up = prefix + "shared_mlp.input_linear";
  names.dense_down = prefix + "shared_mlp.output_linear";
  return names;
}

// Those of Transformers, in which it is published.
LayerNames SwaNames(const std::string& prefix) {
  const std::string block = prefix + "block_sparse_moe.";
  LayerNames names = Names(prefix);
  names.moe.packed_router = names.moe.router;
  names.moe.router = block + "router.weight";
  names.moe.experts.packed_gate_up = block + "experts.gate_up_proj";
  names.moe.experts.packed_down = block + "experts.down_proj";
  return names;
}

constexpr ConfigFamily Config(std::string_view architecture, std::string_view model_type) {
  return {.architecture = architecture,
          .model_type = model_type,
          .vocab = 32000,
          .hidden = 4096,
          .intermediate = 11008,
          .layers = 32,
          .heads = 32,
          .max_positions = 2048,
          .eos = 2,
          .bias = BiasRule::kAttentionKey,
          .experts = 8,
          .top_k = 2,
          .local_experts_alias = true,
          .local_experts_only = true,
          .own_keys = kOwnKeys,
          .read = Read};
}

constexpr ConfigFamily SharedConfig() {
  ConfigFamily config = Config("GraniteMoeSharedForCausalLM", "granitemoeshared");
  config.own_keys = kSharedKeys;
  config.read = ReadShared;
  return config;
}

constexpr ConfigFamily HybridConfig() {
  ConfigFamily config = Config("GraniteMoeHybridForCausalLM", "granitemoehybrid");
  config.window = WindowRule::kOwn;
  config.experts_optional = true;
  config.fixed = kHybridFixed;
  config.own_keys = kHybridKeys;
  config.read = ReadHybrid;
  return config;
}

constexpr ConfigFamily SwaConfig() {
  ConfigFamily config = Config("GraniteMoeSWAForCausalLM", "granitemoe_swa");
  config.window = WindowRule::kOwn;
  config.own_keys = kSwaKeys;
  config.read = ReadSwa;
  return config;
}

}  // namespace

const Family kGraniteMoeSwa = {
    .config = SwaConfig(),
    .layer_names = SwaNames,
    .gate = SelectedSoftmaxGate,
};

const Family kGraniteMoe = {
    .config = Config("GraniteMoeForCausalLM", "granitemoe"),
    .layer_names = Names,
    .gate = SelectedSoftmaxGate,
};

const Family kGraniteMoeShared = {
    .config = SharedConfig(),
    .layer_names = Names,
    .gate = SelectedSoftmaxGate,
};

const Family kGraniteMoeHybrid = {
    .config = HybridConfig(),
    .layer_names = HybridNames,
    .gate = SelectedSoftmaxGate,
};

}  // namespace folkmoot
