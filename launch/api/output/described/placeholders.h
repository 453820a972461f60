// SPDX-License-Identifier: Apache-2.0
// The transforms of response templates: JSON in which a whole text "{name}" or "{name.key}" stands
// for a value.
#pragma once

#include <string>
#include <string_view>

#include "nlohmann/json.hpp"
#include "runtime/status.h"

namespace folkmoot {

// InvalidArgument: a text mixes a placeholder with other text. `where` begins the message.
absl::Status CheckPlaceholders(const std::string& where, const nlohmann::ordered_json& transform);

// `transform` with the values of `scope` (an object). InvalidArgument: one is not there.
absl::StatusOr<nlohmann::ordered_json> FillPlaceholders(const nlohmann::ordered_json& transform,
                                                        const nlohmann::ordered_json& scope);

}  // namespace folkmoot
