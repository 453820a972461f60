// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "runtime/jinja/value.h"

namespace folkmoot::jinja {

// A value from outside the template: all its text is untrusted. ResourceExhausted when nested
// deeper than Value::kMaxNesting. Integers above int64 become floats.
absl::StatusOr<Value> ValueFromJson(const nlohmann::ordered_json& json);

// The list of messages as Transformers hands it to templates: reasoning under one of the names
// "reasoning_content", "thinking", "reasoning" is there under the first two. The value of "role" is
// trusted where it is one of the ordinary role names, because templates build tokens from it
// ("<|" + role + "|>").
absl::StatusOr<Value> MessagesFromJson(const nlohmann::ordered_json& json);

}  // namespace folkmoot::jinja
