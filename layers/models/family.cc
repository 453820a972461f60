// SPDX-License-Identifier: Apache-2.0
#include "layers/models/family.h"

namespace folkmoot {
namespace {

#define FOLKMOOT_POINT(family) &family,
constexpr const Family* kFamilies[] = {FOLKMOOT_FAMILIES(FOLKMOOT_POINT)};
#undef FOLKMOOT_POINT

}  // namespace

std::span<const Family* const> Families() { return kFamilies; }

const Family* FindFamily(const std::string& architecture) {
  for (const Family* family : kFamilies) {
    if (architecture == family->config.architecture) return family;
  }
  return nullptr;
}

MoeNames MoeNamesOf(const Family& family, absl::FunctionRef<bool(const std::string&)> has,
                    const std::string& prefix) {
  MoeNames names = family.moe_names(prefix);
  if (!has(names.router) && has(names.packed_router)) names.router = names.packed_router;
  return names;
}

MoeNames UsualMoeNames(const std::string& prefix) {
  const std::string block = prefix + "mlp.";
  return {.router = block + "gate.weight",
          .experts = {.prefix = block,
                      .gate = "gate_proj.weight",
                      .up = "up_proj.weight",
                      .down = "down_proj.weight",
                      .packed_gate_up = block + "experts.gate_up_proj",
                      .packed_down = block + "experts.down_proj"}};
}

GateConfig TopKGate(const ModelConfig& config) {
  GateConfig gate;
  gate.num_experts = static_cast<int>(config.moe.experts);
  gate.top_k = static_cast<int>(config.moe.top_k);
  gate.normalize = config.moe.norm_topk_prob ? Normalize::kBeforeDrop : Normalize::kNone;
  return gate;
}

}  // namespace folkmoot
