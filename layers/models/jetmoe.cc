// SPDX-License-Identifier: Apache-2.0
// JetMoE (arXiv 2404.07413): every layer has experts in its attention, which are query and output
// matrices (layers/mixture_attention.h), and in its FFN; both choose the top-k logits, and both
// sums have a bias.
#include "layers/models/family.h"

namespace folkmoot {
namespace {

constexpr KeyAlias kAliases[] = {{"head_dim", "kv_channels", true},
                                 {"hidden_act", "activation_function"}};
constexpr FixedKey kFixed[] = {{"bias", "true"}, {"glu", "true"}};
// Read; then those that change nothing: `length` is that of training.
constexpr std::string_view kOwnKeys[] = {"num_attention_heads", "aux_loss_coef", "length",
                                         "rotary_percent"};

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  config.attention_experts = config.moe.experts;
  config.heads = config.kv_heads * config.moe.top_k;
  FM_ASSIGN_OR_RETURN(const auto heads, keys.OptionalInt("num_attention_heads"));
  if (heads && *heads != config.heads) {
    return keys.Wrong("num_attention_heads",
                      fmt::format("it follows from num_key_value_heads and num_experts_per_tok and "
                                  "is {}",
                                  config.heads));
  }
  config.moe.output_bias = true;
  // The key is that of the last norm; authors and Transformers build the others with 1e-6.
  config.final_norm_eps = config.rms_norm_eps;
  config.rms_norm_eps = 1e-6f;
  return absl::OkStatus();
}

LayerNames Names(const std::string& prefix) {
  const std::string attention = prefix + "self_attention.";
  const std::string mlp = prefix + "mlp.";
  LayerNames names = UsualLayerNames(prefix);
  names.attention = {.kv = attention + "kv_proj.weight",
                     .router = attention + "experts.router.layer.weight",
                     .experts_q = attention + "experts.input_linear.weight",
                     .experts_o = attention + "experts.output_linear.weight",
                     .experts_bias = attention + "experts.bias"};
  names.moe = {.router = mlp + "router.layer.weight",
               .experts = {.prefix = mlp,
                           .gate = "gate_proj.weight",
                           .up = "up_proj.weight",
                           .down = "down_proj.weight",
                           .packed_gate_up = mlp + "input_linear.weight",
                           .packed_down = mlp + "output_linear.weight",
                           .always_packed = true},
               .output_bias = mlp + "bias"};
  return names;
}

}  // namespace

const Family kJetMoe = {
    .config = {.architecture = "JetMoeForCausalLM",
               .other_architecture = "JetMoEForCausalLM",
               .model_type = "jetmoe",
               .vocab = 32000,
               .hidden = 2048,
               .intermediate = 5632,
               .layers = 12,
               .kv_heads = 16,
               .max_positions = 4096,
               .head_dim = 128,
               .eos = 2,
               .tied_embeddings = true,
               .kv_heads_null = false,
               .experts = 8,
               .top_k = 2,
               .local_experts_alias = true,
               .local_experts_only = true,
               .aliases = kAliases,
               .fixed = kFixed,
               .own_keys = kOwnKeys,
               .read = Read},
    .layer_names = Names,
    .gate = SelectedSoftmaxGate,
};

}  // namespace folkmoot
