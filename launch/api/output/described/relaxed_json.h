// SPDX-License-Identifier: Apache-2.0
// What models write in place of JSON: keys without quotes, texts between marks of their own, and
// lists of calls in Python's words.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "nlohmann/json.hpp"
#include "runtime/status.h"

namespace folkmoot {

// White space of ASCII.
inline constexpr std::string_view kBlanks = " \t\n\r\v\f";

// `text` as strict JSON, if it is JSON but for texts between `delims` (opening and closing; nothing
// in between is special) and, with `unquoted_keys`, words as keys. Nullopt: it has the control
// characters that stand for such texts meanwhile.
std::optional<std::string> StrictJson(std::string_view text,
                                      std::span<const std::pair<std::string, std::string>> delims,
                                      bool unquoted_keys);

// JSON as a value; nullopt: it is none, or has more than kMaxNesting lists and objects inside each
// other.
std::optional<nlohmann::ordered_json> ParseFlatJson(std::string_view text);

// [f(city="Paris"), g()] as [{"name": ..., "arguments": {...}}, ...].
absl::StatusOr<nlohmann::ordered_json> ReadPythonCalls(std::string_view text);

}  // namespace folkmoot
