// SPDX-License-Identifier: Apache-2.0
// The configuration of a GGUF file: its keys "<architecture>.*" with the meaning that they have in
// llama.cpp, and what the tensors themselves tell.
#pragma once

#include "runtime/checkpoint/gguf_model.h"
#include "runtime/model_config.h"
#include "runtime/status.h"

namespace folkmoot {

// Without model_type. As ParseConfigOf: every key of the architecture is honoured, known to change
// nothing, or refused by name. Errors name file, key and value.
absl::StatusOr<ModelConfig> GgufModelConfig(const GgufModel& model);

}  // namespace folkmoot
