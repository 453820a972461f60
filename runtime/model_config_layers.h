// SPDX-License-Identifier: Apache-2.0
// Reads what differs from layer to layer: which are routed and which slide. Internal to
// model_config*.cc.
#pragma once

#include "runtime/model_config.h"
#include "runtime/model_config_families.h"
#include "runtime/model_config_json.h"

namespace folkmoot {

// Bound of every width (hidden, intermediate, vocabulary); no model comes near.
constexpr IntRange kWidthRange = {1, 1 << 24};

// What the readers of the parts of a ModelConfig need beside the result. Does not own.
struct ConfigSource {
  const ConfigReader& keys;
  const ConfigFamily& family;
};

// Both need config.layers in its final size; ReadMoe also config.intermediate.
absl::Status ReadMoe(const ConfigSource& source, ModelConfig& config);
absl::Status ReadWindows(const ConfigSource& source, ModelConfig& config);

}  // namespace folkmoot
