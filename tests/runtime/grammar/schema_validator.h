// SPDX-License-Identifier: Apache-2.0
// A plain JSON Schema validator for tests: the standard's rules, one keyword after the other.
#pragma once

#include <nlohmann/json.hpp>

namespace folkmoot {

// Without format and pattern, which the goldens and tools/make_grammar_goldens.py check.
bool IsValid(const nlohmann::ordered_json& value, const nlohmann::ordered_json& schema,
             const nlohmann::ordered_json& root);

}  // namespace folkmoot
