// SPDX-License-Identifier: Apache-2.0
// Regular expressions as forms of an output.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "runtime/grammar/grammar.h"
#include "runtime/status.h"

namespace folkmoot {

struct RegexForm {
  Grammar::Expr expr = 0;
  // How many characters a match has; max may be Grammar::kNoLimit.
  int64_t min_chars = 0;
  int64_t max_chars = 0;
  // The expression is one class with a quantifier, [a-z]+ or the like: its class.
  std::optional<Grammar::Expr> repeated_class;
};

inline constexpr size_t kMaxRegexBytes = 16 * 1024;
inline constexpr int kMaxRegexDepth = 64;
inline constexpr int64_t kMaxRegexRepeat = 20'000;

// How the characters of a match are written: as they are, or inside a JSON string, where quotes,
// backslashes and control characters are escaped (in one way only).
enum class RegexText { kPlain, kJsonString };

// The whole output has to match; ^ and $ are allowed where they say nothing more than that. Syntax
// and meaning are those of ECMA-262 with the u flag, as JSON Schema wants: \d \w are ASCII, '.' is
// not a line end. \s is ASCII and \S no white space of any script, so that all dialects agree. A
// lazy quantifier means the same as a greedy one. Errors: InvalidArgument with the byte offset for
// what is wrong or not supported (look-around, back references, \b, \p, flags, possessive
// quantifiers); ResourceExhausted for limits.
absl::StatusOr<RegexForm> ParseRegex(std::string_view regex, RegexText text, Grammar* grammar);

// One character of `set`, written inside a JSON string.
Grammar::Expr JsonStringClass(const CodePointSet& set, Grammar* grammar);

}  // namespace folkmoot
