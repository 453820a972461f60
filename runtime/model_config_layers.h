// SPDX-License-Identifier: Apache-2.0
// Reads what differs from layer to layer: which are routed and which slide. Internal to
// model_config*.cc.
#pragma once

#include "runtime/config_family.h"

namespace folkmoot {

// Both need config.layers in its final size; ReadMoe also config.intermediate.
absl::Status ReadMoe(const ConfigSource& source, ModelConfig& config);
absl::Status ReadWindows(const ConfigSource& source, ModelConfig& config);

}  // namespace folkmoot
