// SPDX-License-Identifier: Apache-2.0
// gpt-oss (OpenAI 2025): every other layer slides, a learned logit of each head takes part in its
// softmax and gives nothing, experts are clamped SwiGLU with biases, and a token's weights are the
// softmax over its chosen logits. Published experts are MXFP4 (runtime/quant/mxfp4.cc).
#include "layers/models/family.h"

namespace folkmoot {
namespace {

// initial_context_length stands beside the one in rope_scaling, and the last two in files that were
// made from those of other families; Transformers reads none of the three.
constexpr std::string_view kOwnKeys[] = {"attention_bias",         "experts_per_token",
                                         "initial_context_length", "max_window_layers",
                                         "swiglu_limit",           "use_sliding_window"};
constexpr FixedKey kFixed[] = {{"swiglu_alpha", "1.702"}};

// hidden_act is not read by anybody: the activation is always the same.
absl::Status ReadActivation(const ConfigReader& keys, ModelConfig& config) {
  if (keys.Has("hidden_act") && config.activation != Activation::kSilu) {
    return keys.Wrong("hidden_act", "gpt-oss has one activation, which its files call silu");
  }
  config.activation = Activation::kClampedSwiglu;
  FM_ASSIGN_OR_RETURN(config.swiglu_limit, keys.Float("swiglu_limit", 7.0f, 0.0));
  return absl::OkStatus();
}

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  FM_RETURN_IF_ERROR(ReadActivation(keys, config));
  for (const std::string_view key : {"rope_parameters", "rope_scaling"}) {
    if (keys.HasValue(key) && keys.Find(key)->empty()) {
      return keys.Wrong(key, "an empty one could mean none or YaRN: name its rope_type");
    }
  }
  FM_ASSIGN_OR_RETURN(const auto per_token, keys.OptionalInt("experts_per_token"));
  if (per_token && *per_token != config.moe.top_k) {
    return keys.Wrong(
        "experts_per_token",
        fmt::format("it contradicts num_experts_per_tok = {}, which counts", config.moe.top_k));
  }
  FM_ASSIGN_OR_RETURN(config.qkv_bias, keys.Bool("attention_bias", true));
  config.output_bias = config.qkv_bias;
  for (LayerConfig& layer : config.layers) layer.sinks = true;
  config.moe.router_bias = true;
  config.moe.expert_bias = true;
  return absl::OkStatus();
}

LayerNames Names(const std::string& prefix) {
  const std::string mlp = prefix + "mlp.";
  LayerNames names = UsualLayerNames(prefix);
  names.moe.router = mlp + "router.weight";
  names.moe.router_bias = mlp + "router.bias";
  ExpertNames& experts = names.moe.experts;
  experts.always_packed = true;
  experts.taking_turns = true;
  experts.gate_up_transposed = true;
  experts.down_transposed = true;
  experts.packed_gate_up_bias = experts.packed_gate_up + "_bias";
  experts.packed_down_bias = experts.packed_down + "_bias";
  return names;
}

}  // namespace

const Family kGptOss = {
    .config = {.architecture = "GptOssForCausalLM",
               .model_type = "gpt_oss",
               .vocab = 201088,
               .hidden = 2880,
               .intermediate = 2880,
               .layers = 36,
               .heads = 64,
               .kv_heads = 8,
               .max_positions = 131072,
               .head_dim = 64,
               .rms_norm_eps = 1e-5,
               .rope_theta = 150000,
               .rope_absent = R"({"rope_type": "yarn", "factor": 32, "beta_fast": 32,
                                  "beta_slow": 1, "truncate": false,
                                  "original_max_position_embeddings": 4096})",
               .rope_context_inside = true,
               .window = WindowRule::kAlternating,
               .window_size = 128,
               .kv_heads_null = false,
               .head_dim_null = false,
               .experts = 128,
               .top_k = 4,
               .local_experts_alias = true,
               .fixed = kFixed,
               .own_keys = kOwnKeys,
               .read = Read},
    .layer_names = Names,
    .gate = SelectedSoftmaxGate,
};

}  // namespace folkmoot
