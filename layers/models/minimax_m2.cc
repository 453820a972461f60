// SPDX-License-Identifier: Apache-2.0
// MiniMax-M2, M2.1 and M2.5: q and k normalised over all heads, a part of each head turns, experts
// chosen by biased sigmoid scores. The number of turning elements, rotary_dim, is honoured as in
// the authors' code.
#include "layers/models/deepseek_parts.h"
#include "runtime/model_config_rope.h"

namespace folkmoot {
namespace {

constexpr std::string_view kOwnKeys[] = {
    "rotary_dim", "mlp_intermediate_size", "num_mtp_modules", "mtp_transformer_layers",
    "use_mtp",    "shared_moe_mode",       "max_model_len",   "attn_type_list"};
constexpr FixedKey kFixed[] = {{"use_qk_norm", "true"},
                               {"qk_norm_type", "\"per_layer\""},
                               {"scoring_func", "\"sigmoid\""},
                               {"use_routing_bias", "true"},
                               {"shared_intermediate_size", "0"},
                               {"norm_topk_prob", "true"},
                               {"routed_scaling_factor", "1"},
                               {"layernorm_full_attention_alpha", "1"},
                               {"layernorm_full_attention_beta", "1"},
                               {"layernorm_linear_attention_alpha", "1"},
                               {"layernorm_linear_attention_beta", "1"},
                               {"layernorm_mlp_alpha", "1"},
                               {"layernorm_mlp_beta", "1"}};

// 1 stands for softmax attention.
absl::Status CheckAttentionTypes(const ConfigReader& keys) {
  FM_ASSIGN_OR_RETURN(const auto types, keys.Ints("attn_type_list", {0, INT32_MAX}));
  for (const int64_t type : types) {
    if (type != 1) return keys.Wrong("attn_type_list", "only softmax attention (1) is known");
  }
  return absl::OkStatus();
}

bool HasPartialFactor(const ConfigReader& keys) {
  constexpr const char* kKey = "partial_rotary_factor";
  for (const char* object : {"rope_parameters", "rope_scaling"}) {
    const nlohmann::json* rope = keys.Find(object);
    if (rope != nullptr && rope->is_object() && rope->contains(kKey)) return true;
  }
  return keys.HasValue(kKey);
}

// partial_rotary_factor decides, with which rotary_dim must agree, else rotary_dim.
absl::Status ReadTurning(const ConfigReader& keys, double theta, ModelConfig& config) {
  RopeDefaults rope = {.theta = theta,
                       .dim = config.head_dim,
                       .partial = 1.0,
                       .max_positions = config.max_positions};
  FM_ASSIGN_OR_RETURN(const auto dim, keys.OptionalInt("rotary_dim", {2, config.head_dim}));
  if (dim && *dim % 2 != 0) return keys.Wrong("rotary_dim", "it must be even");
  const bool by_dim = dim.has_value() && !HasPartialFactor(keys);
  if (by_dim) {
    rope.dim = *dim;
    rope.partial = 0;  // all of these
  }
  FM_ASSIGN_OR_RETURN(config.rope, ParseRope(keys, rope));
  if (by_dim) config.rope.dim = *dim;
  const double turning = static_cast<double>(config.head_dim) * config.rope.partial_rotary_factor;
  if (dim && !by_dim && static_cast<int64_t>(turning) != *dim) {
    return keys.Wrong("rotary_dim", "it contradicts partial_rotary_factor; keep one of the two");
  }
  return absl::OkStatus();
}

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  FM_RETURN_IF_ERROR(CheckAttentionTypes(keys));
  config.moe.selection_bias = true;
  return ReadTurning(keys, source.family.rope_theta, config);
}

LayerNames Names(const std::string& prefix) {
  LayerNames names = SparseBlockNames(prefix);
  names.moe.selection_bias = prefix + "block_sparse_moe.e_score_correction_bias";
  names.moe.packed_selection_bias = prefix + "mlp.e_score_correction_bias";
  return names;
}

GateConfig PublishedGate(const ModelConfig& config) {
  GateConfig gate = TopKGate(config);
  gate.score_fn = ScoreFn::kSigmoid;
  return gate;
}

}  // namespace

const Family kMinimaxM2 = {
    .config = {.architecture = "MiniMaxM2ForCausalLM",
               .model_type = "minimax_m2",
               .other_model_type = "minimax",
               .vocab = 200064,
               .hidden = 3072,
               .intermediate = 1536,
               .layers = 62,
               .heads = 48,
               .kv_heads = 8,
               .max_positions = 196608,
               .head_dim = 128,
               .rope_theta = 5e6,
               .partial_rotary = 1.0,
               .own_rope = true,
               .eos = 200020,
               .qk_norm = QkNormKind::kRows,
               .kv_heads_null = false,
               .head_dim_null = false,
               .experts = 256,
               .top_k = 8,
               .local_experts_alias = true,
               .fixed = kFixed,
               .own_keys = kOwnKeys,
               .read = Read},
    .layer_names = Names,
    .gate = PublishedGate,
    .unused = kPredictionLayers,
};

}  // namespace folkmoot
