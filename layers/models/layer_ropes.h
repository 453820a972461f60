// SPDX-License-Identifier: Apache-2.0
// Rotations that a family says in its own way: rope_parameters with an entry for each kind of layer
// (Gemma 3, OLMo 3), and heads of which rotary_dim numbers turn (MiniMax).
#pragma once

#include "runtime/config_family.h"
#include "runtime/model_config.h"
#include "runtime/model_config_json.h"

namespace folkmoot {

// Keys of one kind in files without rope_parameters, and the theta where there is none.
struct OlderRopeKeys {
  double theta = 1e4;
  double partial = 0;  // RopeDefaults::partial
  nlohmann::json keys = nlohmann::json::object();
};

// The names of both entries; `typed`: a rope_type "default" may stand beside them, which nobody
// reads.
struct RopeEntries {
  const char* full = "full_attention";
  const char* local = "sliding_attention";
  bool typed = false;
};

// Reads config.rope of the first entry and config.local_rope of the second, and says which layers
// turn by the latter: those with a window. `older` names the keys beside which rope_parameters
// would have no say.
absl::Status ReadLayerRopes(const ConfigReader& keys, std::span<const std::string_view> older,
                            const OlderRopeKeys& full, const OlderRopeKeys& local,
                            ModelConfig& config, const RopeEntries& entries = {});

// A rope_theta beside rope_parameters, which nobody reads, must be that of full_attention.
absl::Status CheckThetas(const ConfigReader& keys, const ModelConfig& config);

// config.rope of a family with own_rope: partial_rotary_factor decides how much of a head turns,
// and key rotary_dim must agree with it; where only the latter is given, that does, as in MiniMax's
// code.
absl::Status ReadRotaryDim(const ConfigSource& source, ModelConfig& config);

}  // namespace folkmoot
