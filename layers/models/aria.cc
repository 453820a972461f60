// SPDX-License-Identifier: Apache-2.0
// The text model of Aria (Rhymes AI, arXiv 2410.05993): Llama with experts in two tensors beside
// shared ones, weighed by the softmax over the chosen logits.
#include "layers/models/family.h"

namespace folkmoot {
namespace {

constexpr std::string_view kOwnKeys[] = {"moe_num_shared_experts", "moe_intermediate_size",
                                         "moe_aux_loss_coeff", "moe_z_loss_coeff"};
constexpr KeyAlias kAliases[] = {{"num_experts", "moe_num_experts"},
                                 {"num_experts_per_tok", "moe_topk"}};
constexpr std::string_view kBesideText[] = {"vision_config",
                                            "image_token_index",
                                            "image_token_id",
                                            "projector_patch_to_query_dict",
                                            "vision_feature_layer",
                                            "ignore_index",
                                            "max_value_projector_patch_to_query_dict"};
constexpr std::string_view kNotText[] = {"vision_tower.", "multi_modal_projector."};

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  if (config.activation != Activation::kSilu) {
    return keys.Wrong("hidden_act", "experts of Aria have silu, whatever shared ones have");
  }
  FM_ASSIGN_OR_RETURN(const auto inner, keys.OptionalInt("moe_intermediate_size"));
  if (inner && *inner != config.moe.intermediate) {
    return keys.Wrong("moe_intermediate_size",
                      fmt::format("it contradicts intermediate_size = {}, which counts",
                                  config.moe.intermediate));
  }
  FM_ASSIGN_OR_RETURN(const int64_t shared, keys.Int("moe_num_shared_experts", 2, {0, 1 << 10}));
  config.moe.shared_intermediate = shared * config.moe.intermediate;
  return absl::OkStatus();
}

LayerNames Names(const std::string& prefix) {
  const std::string mlp = prefix + "mlp.";
  LayerNames names = UsualLayerNames(prefix);
  names.moe.router = mlp + "router.weight";
  ExpertNames& experts = names.moe.experts;
  experts.packed_gate_up = mlp + "experts.fc1.weight";
  experts.packed_down = mlp + "experts.fc2.weight";
  experts.always_packed = true;
  experts.gate_up_transposed = true;
  experts.down_transposed = true;
  return names;
}

}  // namespace

const Family kAria = {
    .config = {.architecture = "AriaForConditionalGeneration",
               .model_type = "aria",
               .vocab = 32000,
               .hidden = 4096,
               .intermediate = 4096,
               .layers = 32,
               .heads = 32,
               .max_positions = 2048,
               .eos = 2,
               .bias = BiasRule::kAttentionKey,
               .mlp_bias_key = true,
               .experts = 8,
               .top_k = 2,
               .aliases = kAliases,
               .text_model_type = "aria_text",
               .beside_text = kBesideText,
               .own_keys = kOwnKeys,
               .read = Read},
    .layer_names = Names,
    .end_names = LanguageModelEndNames,
    .layers = "language_model.model.layers.",
    .gate = SelectedSoftmaxGate,
    .unused = kNotText,
};

}  // namespace folkmoot
