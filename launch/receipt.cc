// SPDX-License-Identifier: Apache-2.0
#include "launch/receipt.h"

#include "nlohmann/json.hpp"

namespace folkmoot {

void Receipt::Add(const SequenceResult& result) {
  for (const DropCounts& drops : result.drops) {
    layers_[drops.layer] = drops;  // counted from the first token on
  }
}

int64_t Receipt::rejected() const {
  int64_t sum = 0;
  for (const auto& [layer, drops] : layers_) sum += drops.rejected;
  return sum;
}

int64_t Receipt::overflow() const {
  int64_t sum = 0;
  for (const auto& [layer, drops] : layers_) sum += drops.overflow;
  return sum;
}

nlohmann::ordered_json Receipt::ToJson() const {
  nlohmann::ordered_json out = {{"rejected", rejected()}, {"overflow", overflow()}};
  out["layers"] = nlohmann::ordered_json::array();
  for (const auto& [layer, drops] : layers_) {
    out["layers"].push_back(
        {{"layer", layer}, {"rejected", drops.rejected}, {"overflow", drops.overflow}});
  }
  return out;
}

ExpertLoad LoadOf(const ExpertCounts& counts, const ExpertPlacement& placement) {
  ExpertLoad load;
  load.ranks = placement.ranks();
  load.tokens.assign(static_cast<size_t>(placement.experts()), 0);
  for (size_t i = 0; i < counts.tokens.size(); ++i) {
    load.tokens[i % load.tokens.size()] += counts.tokens[i];
  }
  for (int e = 0; e < placement.experts(); ++e) load.rank_of.push_back(placement.rank_of(e));
  return load;
}

}  // namespace folkmoot
