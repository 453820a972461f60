// SPDX-License-Identifier: Apache-2.0
// Hunyuan 3 (Tencent 2026): the attention of Qwen3 with experts chosen by biased sigmoid scores
// beside a shared one; the first layer is dense. The layer for multi-token prediction is not used.
#include "layers/models/deepseek_parts.h"

namespace folkmoot {
namespace {

constexpr KeyAlias kAliases[] = {{"n_shared_experts", "num_shared_experts"},
                                 {"routed_scaling_factor", "router_scaling_factor"}};
// Read; the third says in what the sum with the shared expert is computed, which here is float32.
constexpr std::string_view kOwnKeys[] = {"num_shared_experts", "router_scaling_factor",
                                         "enable_moe_fp32_combine", "mlp_layer_types",
                                         "num_nextn_predict_layers"};

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  config.moe.selection_bias = true;
  config.layers.front().moe = false;  // where mlp_layer_types is absent
  FM_RETURN_IF_ERROR(ReadMlpLayerTypes(source.keys, config));
  return ReadScaledAndShared(source.keys, 2.826, 1, config.moe);
}

LayerNames Names(const std::string& prefix) {
  LayerNames names = UsualLayerNames(prefix);
  names.moe.router = prefix + "mlp.router.gate.weight";
  names.moe.selection_bias = prefix + "mlp.expert_bias";
  names.moe.shared_prefix = prefix + "mlp.shared_mlp.";
  return names;
}

}  // namespace

const Family kHyV3 = {
    .config = {.architecture = "HYV3ForCausalLM",
               .model_type = "hy_v3",
               .vocab = 120832,
               .hidden = 4096,
               .intermediate = 13312,
               .layers = 80,
               .heads = 64,
               .kv_heads = 8,
               .max_positions = 131072,
               .head_dim = 128,
               .rms_norm_eps = 1e-5,
               .rope_theta = 11158840.0,
               .bias = BiasRule::kAttentionKey,
               .mlp_bias_key = true,
               .qk_norm = QkNormKind::kHeads,
               .kv_heads_null = false,
               .head_dim_null = false,
               .experts = 192,
               .top_k = 8,
               .moe_intermediate = 1536,
               .dense = DenseRule::kOwn,
               .local_experts_alias = true,
               .aliases = kAliases,
               .own_keys = kOwnKeys,
               .read = Read},
    .layer_names = Names,
    .gate = BiasedSigmoidGate,
    .unused = kPredictionLayers,
};

}  // namespace folkmoot
