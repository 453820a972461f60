// SPDX-License-Identifier: Apache-2.0
// Qwen2-MoE (routed experts beside one shared expert with a sigmoid gate) and Qwen3-MoE (no shared
// expert, q/k norms). Softmax over all experts, top-k, renormalised if norm_topk_prob.
#include "layers/models/family.h"

namespace folkmoot {

const Family kQwen2Moe = {
    .config = {.architecture = "Qwen2MoeForCausalLM",
               .model_type = "qwen2_moe",
               .vocab = 151936,
               .hidden = 2048,
               .intermediate = 5632,
               .layers = 24,
               .heads = 16,
               .kv_heads = 16,
               .max_positions = 32768,
               .bias = BiasRule::kQkvBiasKey,
               .window = WindowRule::kEvenBeforeMax,
               .window_size = 4096,
               .kv_heads_null = false,
               .head_dim_null = false,
               .experts = 60,
               .top_k = 4,
               .moe_intermediate = 1408,
               .shared_intermediate = 5632,
               .dense = DenseRule::kSparseStep,
               .norm_topk_key = true},
    .layer_names = SharedExpertNames,
    .gate = SigmoidSharedGate,
};

const Family kQwen3Moe = {
    .config = {.architecture = "Qwen3MoeForCausalLM",
               .model_type = "qwen3_moe",
               .vocab = 151936,
               .hidden = 2048,
               .intermediate = 6144,
               .layers = 24,
               .heads = 32,
               .kv_heads = 4,
               .max_positions = 32768,
               .bias = BiasRule::kAttentionKey,
               .qk_norm = QkNormKind::kHeads,
               .window = WindowRule::kAllInUse,
               .window_size = 4096,
               .kv_heads_null = false,
               .head_dim_null = false,
               .experts = 128,
               .top_k = 8,
               .moe_intermediate = 768,
               .dense = DenseRule::kSparseStep,
               .local_experts_alias = true,
               .norm_topk_key = true},
    .gate = TopKGate,
};

}  // namespace folkmoot
