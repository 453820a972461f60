// SPDX-License-Identifier: Apache-2.0
// How values are written: str(), repr() and json.dumps() of Python.
#pragma once

#include <optional>
#include <string>

#include "runtime/jinja/value.h"

namespace folkmoot::jinja {

// str(): what {{ value }} prints; undefined prints nothing. Strings keep their provenance; numbers
// and constants of the template are trusted; lists and dicts are not.
absl::StatusOr<Text> ToText(const Value& value, Budget* budget);
// As above, and whether the text is Markup.
absl::StatusOr<Value> ToString(const Value& value, Budget* budget);

absl::StatusOr<std::string> Repr(const Value& value, Budget* budget);

// repr() of a float.
std::string FormatFloat(double value);
std::string FormatNumber(const Value& value);  // of kInt and kFloat

struct JsonOptions {
  bool ensure_ascii = false;
  bool sort_keys = false;
  std::optional<std::string> indent;  // of one level
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};
// json.dumps(). InvalidArgument for what is no JSON (undefined, functions, namespaces).
absl::StatusOr<std::string> ToJson(const Value& value, const JsonOptions& options, Budget* budget);

// & < > ' " as entities. Markup stays.
Text EscapeHtml(const Value& string);

}  // namespace folkmoot::jinja
