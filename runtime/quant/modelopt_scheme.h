// SPDX-License-Identifier: Apache-2.0
// What ModelOpt's configuration says about weights. Internal to runtime/quant/.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "runtime/model_config_json.h"
#include "runtime/status.h"

namespace folkmoot {

struct ModelOptScheme {
  std::string algorithm;    // quant_algo, in capitals
  int64_t group_size = 16;  // of NVFP4
};

// `keys` are those of quantization_config, with the object "quantization" that ModelOpt writes into
// files of its own, or with what it makes of that for config.json. nullopt: no weights are
// quantised. Refuses by key: unknown algorithms and keys, and weights that were scaled for their
// activations (AWQ, SVDQuant).
absl::StatusOr<std::optional<ModelOptScheme>> ReadModelOptScheme(const ConfigReader& keys);

std::string Describe(const ModelOptScheme& scheme);

}  // namespace folkmoot
