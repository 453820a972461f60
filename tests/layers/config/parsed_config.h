// SPDX-License-Identifier: Apache-2.0
// A config.json that must be read, and what is asked of the result.
#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "layers/models/load_config.h"
#include "layers/models/model.h"

namespace folkmoot {

inline nlohmann::json Of(const char* model_type, nlohmann::json keys = nlohmann::json::object()) {
  keys["model_type"] = model_type;
  return keys;
}

inline ModelConfig Parsed(const nlohmann::json& keys) {
  auto config = ParseModelConfig(keys.dump(), "config.json");
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? *std::move(config) : ModelConfig{};
}

inline GateConfig GateOf(const ModelConfig& config) {
  auto gate = DefaultGate(config);
  EXPECT_TRUE(gate.ok()) << gate.status();
  return gate.ok() ? *std::move(gate) : GateConfig{};
}

// A word for each layer: L is linear, S has a window, R rotates, M has experts, - nothing of these.
inline std::string Kinds(const ModelConfig& config) {
  std::string text;
  for (const LayerConfig& layer : config.layers) {
    std::string word;
    if (layer.mixer == Mixer::kRecurrent) word += 'L';
    if (layer.sliding_window > 0) word += 'S';
    if (layer.mixer == Mixer::kAttention && layer.rope) word += 'R';
    if (layer.moe) word += 'M';
    text += (text.empty() ? "" : " ") + (word.empty() ? "-" : word);
  }
  return text;
}

}  // namespace folkmoot
