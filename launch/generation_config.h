// SPDX-License-Identifier: Apache-2.0
// The model's own wishes about sampling: generation_config.json, or general.sampling.* of a GGUF
// file.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/status.h"

namespace folkmoot {

struct GenerationConfig {
  float temperature = 1.0f;
  float top_p = 1.0f;
  float min_p = 0.0f;
  float repetition_penalty = 1.0f;
  int32_t top_k = 0;
  bool do_sample = true;  // false: greedy. vLLM, and `serve` with it, ask only the temperature
};

// A model without has neutral values; a broken file is an error.
absl::StatusOr<GenerationConfig> LoadGenerationConfig(const std::string& model);

}  // namespace folkmoot
