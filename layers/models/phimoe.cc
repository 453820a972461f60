// SPDX-License-Identifier: Apache-2.0
// Phi-3.5-MoE and Phi-mini-MoE (arXiv 2404.14219, 2409.12136): LayerNorms and biases, two experts
// of every layer weighed by SparseMixer, longrope with scales of its own.
#include "layers/models/family.h"

namespace folkmoot {
namespace {

// input_jitter_noise and hidden_dropout are for training only.
constexpr std::string_view kOwnKeys[] = {"router_jitter_noise", "input_jitter_noise",
                                         "lm_head_bias", "hidden_dropout"};

absl::Status CheckExperts(const ConfigReader& keys, const MoeConfig& moe) {
  if (moe.experts < 2) return keys.Wrong("num_local_experts", "a token gets two experts");
  if (moe.top_k == 2) return absl::OkStatus();
  return keys.Wrong("num_experts_per_tok", "the router of PhiMoE chooses 2");
}

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  FM_RETURN_IF_ERROR(CheckExperts(keys, config.moe));
  FM_ASSIGN_OR_RETURN(config.moe.mixer_eps, keys.Number("router_jitter_noise", 0.01, kBelowZero));
  config.moe.norm_topk_prob = false;
  FM_ASSIGN_OR_RETURN(config.head_bias, keys.Bool("lm_head_bias", false));
  if (config.rope.type == RopeType::kDefault || config.rope.type == RopeType::kLongrope) {
    return absl::OkStatus();
  }
  return keys.Wrong(keys.HasValue("rope_parameters") ? "rope_parameters" : "rope_scaling",
                    "PhiMoE has the rope types default and longrope");
}

LayerNames Names(const std::string& prefix) {
  LayerNames names = SparseBlockNames(prefix);
  names.moe.packed_router = prefix + "mlp.router.weight";
  return names;
}

GateConfig PublishedGate(const ModelConfig& config) {
  GateConfig gate = TopKGate(config);
  gate.select_on = SelectOn::kLogit;
  gate.weight_from = WeightFrom::kSparseMixer;
  gate.mixer_eps = config.moe.mixer_eps;
  return gate;
}

}  // namespace

const Family kPhimoe = {
    .config = {.architecture = "PhiMoEForCausalLM",
               .other_architecture = "PhimoeForCausalLM",  // as Transformers writes it
               .model_type = "phimoe",
               .vocab = 32064,
               .hidden = 4096,
               .intermediate = 6400,
               .layers = 32,
               .heads = 32,
               .kv_heads = 8,
               .max_positions = 131072,
               .rms_norm_eps = 1e-5,
               .norm = NormKind::kLayer,
               .norm_bias = true,
               .rope_theta = 1e6,
               .rope_context_inside = true,
               .rope_mscales = true,
               .eos = 2,
               .bias = BiasRule::kAttentionKey,
               .window = WindowRule::kAll,
               .kv_heads_null = false,
               .head_dim_null = false,
               .experts = 16,
               .top_k = 2,
               .local_experts_alias = true,
               .local_experts_only = true,
               .own_keys = kOwnKeys,
               .read = Read},
    .layer_names = Names,
    .gate = PublishedGate,
};

}  // namespace folkmoot
