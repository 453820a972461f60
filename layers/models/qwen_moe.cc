// SPDX-License-Identifier: Apache-2.0
// Qwen2-MoE (routed experts beside one shared expert with a sigmoid gate) and Qwen3-MoE (no shared
// expert, q/k norms). Softmax over all experts, top-k, renormalised if norm_topk_prob.
#include "layers/models/family.h"

namespace folkmoot {
namespace {

MoeNames Qwen3Names(const std::string& prefix) {
  const std::string block = prefix + "mlp.";
  return {.router = block + "gate.weight",
          .experts = {.prefix = block,
                      .gate = "gate_proj.weight",
                      .up = "up_proj.weight",
                      .down = "down_proj.weight",
                      .packed_gate_up = block + "experts.gate_up_proj",
                      .packed_down = block + "experts.down_proj"}};
}

MoeNames Qwen2Names(const std::string& prefix) {
  MoeNames names = Qwen3Names(prefix);
  names.shared_prefix = prefix + "mlp.shared_expert.";
  names.shared_gate = prefix + "mlp.shared_expert_gate.weight";
  return names;
}

GateConfig PublishedGate(const ModelConfig& config) {
  GateConfig gate;
  gate.num_experts = static_cast<int>(config.moe.experts);
  gate.top_k = static_cast<int>(config.moe.top_k);
  gate.normalize = config.moe.norm_topk_prob ? Normalize::kBeforeDrop : Normalize::kNone;
  gate.shared = config.moe.shared_intermediate > 0;
  if (gate.shared) gate.shared_gate = SharedGate::kSigmoid;
  return gate;
}

}  // namespace

const Family kQwen2Moe = {"Qwen2MoeForCausalLM", Qwen2Names, PublishedGate};
const Family kQwen3Moe = {"Qwen3MoeForCausalLM", Qwen3Names, PublishedGate};

}  // namespace folkmoot
