// SPDX-License-Identifier: Apache-2.0
#include "launch/receipt.h"

#include <fstream>

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

ExpertLoad LoadOf(const EngineStats& stats, const ExpertPlacement& placement) {
  ExpertLoad load;
  load.ranks = placement.ranks();
  load.tokens.assign(static_cast<size_t>(placement.experts()), 0);
  for (size_t i = 0; i < stats.expert_tokens.size(); ++i) {
    load.tokens[i % load.tokens.size()] += stats.expert_tokens[i];
  }
  for (int e = 0; e < placement.experts(); ++e) load.rank_of.push_back(placement.rank_of(e));
  return load;
}

absl::StatusOr<GenerationDefaults> LoadGenerationDefaults(const std::string& directory) {
  const std::string path = directory + "/generation_config.json";
  GenerationDefaults defaults;
  std::ifstream file(path);
  if (!file) return defaults;
  const nlohmann::json json = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return InvalidArgument("{}: not a JSON object", path);
  const auto read = [&](const char* key, auto* value) -> absl::Status {
    if (!json.contains(key) || json[key].is_null()) return absl::OkStatus();
    if (!json[key].is_number()) {
      return InvalidArgument("{}: '{}' is {}; expected a number", path, key, json[key].dump());
    }
    *value = json[key];
    return absl::OkStatus();
  };
  FM_RETURN_IF_ERROR(read("temperature", &defaults.temperature));
  FM_RETURN_IF_ERROR(read("top_p", &defaults.top_p));
  FM_RETURN_IF_ERROR(read("top_k", &defaults.top_k));
  if (json.contains("do_sample") && json["do_sample"] == false) defaults.temperature = 0.0f;
  return defaults;
}

}  // namespace folkmoot
