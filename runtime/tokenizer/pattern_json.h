// SPDX-License-Identifier: Apache-2.0
// The "pattern" member of Split and Replace. Private to runtime/tokenizer.
#pragma once

#include "runtime/tokenizer/regex.h"
#include "runtime/tokenizer/tokenizer_json.h"

namespace folkmoot {

// Reads node's "pattern": {"String": "..."} or {"Regex": "..."}.
inline absl::StatusOr<Pattern> ParsePattern(const JsonNode& node) {
  FM_ASSIGN_OR_RETURN(const JsonNode json, node.Get("pattern"));
  FM_RETURN_IF_ERROR(json.AllowOnly({"String", "Regex"}));
  const bool is_regex = json.Find("Regex").has_value();
  FM_ASSIGN_OR_RETURN(const std::string text, json.String(is_regex ? "Regex" : "String"));
  absl::StatusOr<Pattern> pattern = is_regex ? Pattern::Regex(text) : Pattern::Literal(text);
  if (!pattern.ok()) return json.Locate(pattern.status());
  return pattern;
}

}  // namespace folkmoot
