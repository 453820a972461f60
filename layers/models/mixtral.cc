// SPDX-License-Identifier: Apache-2.0
// Mixtral (Jiang et al. 2024): every layer is MoE, softmax over all experts, top-k, always
// renormalised.
#include "layers/models/family.h"

namespace folkmoot {

const Family kMixtral = {
    .config = {.architecture = "MixtralForCausalLM",
               .model_type = "mixtral",
               .vocab = 32000,
               .hidden = 4096,
               .intermediate = 14336,
               .layers = 32,
               .heads = 32,
               .kv_heads = 8,
               .max_positions = 131072,
               .rms_norm_eps = 1e-5,
               .rope_theta = 1e6,
               .eos = 2,
               .window = WindowRule::kAll,
               .experts = 8,
               .top_k = 2,
               .local_experts_alias = true},
    .layer_names = SparseBlockNames,
    .gate = TopKGate,
};

}  // namespace folkmoot
