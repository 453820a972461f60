// SPDX-License-Identifier: Apache-2.0
// The two rotations of DeepSeek-V4, of the last numbers of each head: "main", that of layers
// without compressed entries, and "compress", that of the others and of their entries.
#pragma once

#include "runtime/model_config.h"
#include "runtime/model_config_json.h"

namespace folkmoot {

// Reads config.local_rope (main) and config.rope (compress): from rope_parameters with an entry for
// each, as Transformers writes them, or from the authors' keys, by which the former is plain and
// the latter has a theta of its own and what rope_scaling says. YaRN does not scale cos and sin
// here, as the authors' code does not.
absl::Status ReadMainAndCompressRopes(const ConfigReader& keys, ModelConfig& config);

}  // namespace folkmoot
