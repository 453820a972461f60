// SPDX-License-Identifier: Apache-2.0
// Reads the rotary embedding of a config.json, in the old and the new style. Internal to
// model_config*.cc.
#pragma once

#include "runtime/model_config.h"
#include "runtime/model_config_json.h"

namespace folkmoot {

// `file` is for messages; head_dim and max_positions are the model's. Old style: rope_theta and
// rope_scaling; new style: rope_parameters. Contradictions between the two are refused.
absl::StatusOr<RopeConfig> ParseRope(const nlohmann::json& config, std::string_view file,
                                     double default_theta, int64_t head_dim, int64_t max_positions);

}  // namespace folkmoot
