// SPDX-License-Identifier: Apache-2.0
// MiniMax-M2, M2.1 and M2.5: q and k normalised over all heads, a part of each head turns, experts
// chosen by biased sigmoid scores. The number of turning elements, rotary_dim, is honoured as in
// the authors' code.
#include "layers/models/deepseek_parts.h"
#include "layers/models/layer_ropes.h"

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

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  FM_RETURN_IF_ERROR(CheckAttentionTypes(keys));
  config.moe.selection_bias = true;
  return ReadRotaryDim(source, config);
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
