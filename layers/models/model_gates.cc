// SPDX-License-Identifier: Apache-2.0
#include "layers/models/model_gates.h"

#include "layers/models/model.h"

namespace folkmoot {

ModelGates::ModelGates(const ModelConfig& model, const GateConfig& base)
    : model_(model), base_(base) {
  if (model.moe.experts == 0) return;
  for (const LayerConfig& layer : model.layers) {
    if (layer.top_k > 0) layer_top_k_.push_back(layer.top_k);
  }
  own_ = MakeGate(base, layer_top_k_);
}

absl::StatusOr<std::shared_ptr<const Gate>> ModelGates::For(const std::string& overrides) {
  constexpr size_t kMostUnused = 64;  // any caller may invent gates: forget those of the past
  if (overrides.empty()) return own_;
  const auto found = others_.find(overrides);
  if (found != others_.end()) return found->second;
  FM_ASSIGN_OR_RETURN(const GateConfig config, OverrideGate(model_, base_, overrides));
  if (others_.size() >= kMostUnused) {
    std::erase_if(others_, [](const auto& gate) { return gate.second.use_count() == 1; });
  }
  return others_[overrides] = MakeGate(config, layer_top_k_);
}

}  // namespace folkmoot
