// SPDX-License-Identifier: Apache-2.0
// Mixtral (Jiang et al. 2024): every layer is MoE, softmax over all experts, top-k, always
// renormalised.
#include "layers/models/family.h"

namespace folkmoot {
namespace {

LayerNames Names(const std::string& prefix) {
  const std::string block = prefix + "block_sparse_moe.";
  LayerNames names = UsualLayerNames(prefix);
  names.moe = {.router = block + "gate.weight",
               .packed_router = prefix + "mlp.gate.weight",
               .experts = {.prefix = block,
                           .gate = "w1.weight",
                           .up = "w3.weight",
                           .down = "w2.weight",
                           .packed_gate_up = prefix + "mlp.experts.gate_up_proj",
                           .packed_down = prefix + "mlp.experts.down_proj"}};
  return names;
}

}  // namespace

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
    .layer_names = Names,
    .gate = TopKGate,
};

}  // namespace folkmoot
