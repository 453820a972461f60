// SPDX-License-Identifier: Apache-2.0
// Granite-MoE (IBM 2024), without and with a shared expert: softmax over the chosen logits. Four
// multipliers scale embeddings, attention, residuals and logits.
#include <array>

#include "layers/models/family.h"

namespace folkmoot {
namespace {

constexpr std::array<std::string_view, 5> kSharedKeys = {
    "attention_multiplier", "embedding_multiplier", "logits_scaling", "residual_multiplier",
    "shared_intermediate_size"};
constexpr std::span<const std::string_view> kOwnKeys = std::span(kSharedKeys).first(4);

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

}  // namespace

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

}  // namespace folkmoot
