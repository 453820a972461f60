// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "runtime/jinja/arguments.h"

namespace folkmoot::jinja {

// The methods of Python's str, list, tuple and dict (and of loop) that do not change their object.
bool HasMethod(const Value& object, std::string_view name);
// Methods that Python has and the sandbox withholds: list.append, dict.pop, ...
bool IsMutator(const Value& object, std::string_view name);

// InvalidArgument: wrong arguments. Wants HasMethod.
absl::StatusOr<Value> CallMethod(const Value& object, std::string_view name,
                                 const Arguments& arguments, Budget* budget);

// Part of the above: str (methods_text.cc).
bool HasTextMethod(std::string_view name);
absl::StatusOr<Value> CallTextMethod(const Value& object, std::string_view name,
                                     const Arguments& arguments, Budget* budget);

// str.format (string_format.cc).
absl::StatusOr<Value> BraceFormat(const Value& format, const Arguments& arguments, Budget* budget);

// Shared with filters. `characters` empty: white space.
enum class Side { kBoth, kLeft, kRight };
Text StripText(const Text& text, std::string_view characters, Side side);
// At most `count` replacements; all when negative.
absl::StatusOr<Text> ReplaceText(const Text& text, std::string_view from, const Text& to,
                                 int64_t count, Budget* budget);
// str.splitlines(), without the line ends.
std::vector<Text> SplitLines(const Text& text);

}  // namespace folkmoot::jinja
