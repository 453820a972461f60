// SPDX-License-Identifier: Apache-2.0
// Which mixer each layer of a hybrid model has, as config.json lists it.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "runtime/model_config.h"
#include "runtime/model_config_json.h"

namespace folkmoot {

// For each of `layers` layers the place in `names` of its entry in the list `key`, which must be
// there.
absl::StatusOr<std::vector<size_t>> ReadLayerKinds(const ConfigReader& keys, std::string_view key,
                                                   std::span<const std::string_view> names,
                                                   size_t layers);

// A model needs pages for something: some layer must have attention; `key` is to blame.
absl::Status CheckAttends(const ConfigReader& keys, std::string_view key,
                          const ModelConfig& config);

// Rows that a causal convolution may see.
inline constexpr IntRange kKernelRows = {1, 16};

}  // namespace folkmoot
