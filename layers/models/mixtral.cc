// SPDX-License-Identifier: Apache-2.0
// Mixtral (Jiang et al. 2024): every layer is MoE, softmax over all experts, top-k, always
// renormalised.
#include "layers/models/family.h"

namespace folkmoot {
namespace {

MoeNames Names(const std::string& prefix) {
  const std::string block = prefix + "block_sparse_moe.";
  return {.router = block + "gate.weight",
          .experts = {.prefix = block,
                      .gate = "w1.weight",
                      .up = "w3.weight",
                      .down = "w2.weight",
                      .packed_gate_up = prefix + "mlp.experts.gate_up_proj",
                      .packed_down = prefix + "mlp.experts.down_proj"}};
}

GateConfig PublishedGate(const ModelConfig& config) {
  GateConfig gate;
  gate.num_experts = static_cast<int>(config.moe.experts);
  gate.top_k = static_cast<int>(config.moe.top_k);
  gate.normalize = Normalize::kBeforeDrop;
  return gate;
}

}  // namespace

const Family kMixtral = {"MixtralForCausalLM", Names, PublishedGate};

}  // namespace folkmoot
