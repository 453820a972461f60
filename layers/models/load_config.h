// SPDX-License-Identifier: Apache-2.0
// The shape of a model from its files: config.json, read as its family says, or a GGUF file.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime/model_config.h"
#include "runtime/status.h"

namespace folkmoot {

// Reads MODEL/config.json; how weights are stored where it does not say:
// MODEL/hf_quant_config.json, or the names of the tensors. The eos ids of
// MODEL/generation_config.json, where it names any, go before those of config.json, as in
// Transformers' generate(). A MODEL may stand for a GGUF file (FindGguf). Errors name the file, the
// key, its value and what would be accepted.
absl::StatusOr<ModelConfig> LoadModelConfig(const std::string& model);
absl::StatusOr<ModelConfig> ParseModelConfig(std::string_view json,
                                             std::string_view name_for_errors);

// The architectures that ParseModelConfig knows, for messages and `folkmoot doctor`.
std::vector<std::string> KnownArchitectures();

}  // namespace folkmoot
