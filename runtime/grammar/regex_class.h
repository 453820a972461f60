// SPDX-License-Identifier: Apache-2.0
// Characters, escapes and classes of regular expressions. Private to runtime/grammar.
#pragma once

#include <optional>
#include <string_view>

#include "runtime/grammar/code_points.h"
#include "runtime/status.h"

namespace folkmoot {

// Reads a regular expression from left to right. One thread at a time.
class RegexReader {
 public:
  explicit RegexReader(std::string_view regex) : regex_(regex) {}

  bool AtEnd() const { return at_ == regex_.size(); }
  char Peek() const { return regex_[at_]; }
  bool Looks(std::string_view text) const { return regex_.substr(at_, text.size()) == text; }
  bool Take(std::string_view text);
  size_t position() const { return at_; }
  void set_position(size_t at) { at_ = at; }
  absl::Status Error(std::string_view what) const;

  // A character that stands for itself.
  absl::StatusOr<char32_t> TakeCharacter();
  // After a backslash. White space differs between dialects: \s is what all of them agree on, \S
  // what none of them takes for white space; the other way round `in_negation`.
  absl::StatusOr<CodePointSet> TakeEscape(bool in_negation);
  // After '['.
  absl::StatusOr<CodePointSet> TakeClass();
  // Digits up to a billion; nullopt: no digit here.
  std::optional<int64_t> TakeNumber();

 private:
  absl::StatusOr<CodePointSet> TakeClassItem(bool in_negation);
  absl::StatusOr<char32_t> TakeHex(int digits);
  absl::StatusOr<char32_t> TakeUnicodeEscape();

  std::string_view regex_;
  size_t at_ = 0;
};

// What '.' stands for.
CodePointSet RegexDot();

}  // namespace folkmoot
