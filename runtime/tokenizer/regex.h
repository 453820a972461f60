// SPDX-License-Identifier: Apache-2.0
// Regular expressions and literal patterns over UTF-8 (PCRE2 with JIT).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/status.h"
#include "runtime/tokenizer/utf8.h"

namespace folkmoot {

// A compiled pattern: a regular expression in Oniguruma syntax, or a literal string.
// Immutable; any thread may search at the same time.
class Pattern {
 public:
  // Error: InvalidArgument with the reason and the place in the pattern.
  static absl::StatusOr<Pattern> Regex(std::string_view regex);
  // Error: InvalidArgument when `text` is empty.
  static absl::StatusOr<Pattern> Literal(std::string_view text);

  Pattern(Pattern&&) noexcept;
  Pattern& operator=(Pattern&&) noexcept;
  ~Pattern();
  Pattern(const Pattern&) = delete;
  Pattern& operator=(const Pattern&) = delete;

  // Appends all successive matches in `text` (valid UTF-8), in order, without overlap; an empty
  // match right after another match does not count. Anchors and look-around see only `text`.
  // Error: ResourceExhausted when the pattern backtracks without bound.
  absl::Status FindAll(std::string_view text, std::vector<ByteSpan>* matches) const;

 private:
  struct Compiled;

  Pattern();
  absl::Status FindAllRegex(std::string_view text, std::vector<ByteSpan>* matches) const;

  std::string literal_;                 // used when there is no regex
  std::unique_ptr<Compiled> compiled_;  // null for a literal
};

}  // namespace folkmoot
