// SPDX-License-Identifier: Apache-2.0
// Reads the rotary embedding of a config.json, in the old and the new style.
#pragma once

#include "runtime/model_config.h"
#include "runtime/model_config_json.h"

namespace folkmoot {

// What the rest of a config.json says.
struct RopeDefaults {
  double theta = 1e4;  // where the file has none
  int64_t dim = 0;     // numbers of a head that may turn
  double partial = 0;  // the part of them that does, where the file says nothing; 0: all, always
  int64_t max_positions = 0;
  std::string_view absent = "";  // of ConfigFamily: rope_absent, rope_context_inside, rope_mscales
  bool context_inside = false;
  bool mscales = false;
  bool alpha = false;         // ConfigFamily::rope_alpha
  bool proportional = false;  // rope_type may be "proportional" (Gemma 4)
  bool sections = false;      // mrope_section, which are equal in text (Qwen3-VL)
};

// Old style: rope_theta and rope_scaling; new style: rope_parameters. Contradictions between the
// two are refused.
absl::StatusOr<RopeConfig> ParseRope(const ConfigReader& top, const RopeDefaults& defaults);

}  // namespace folkmoot
