// SPDX-License-Identifier: Apache-2.0
// Regular expressions as Python writes them, over a text that may still grow.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/status.h"

namespace folkmoot {

// Immutable; any thread may search at the same time.
class PythonRegex {
 public:
  struct Match {
    size_t begin = 0, end = 0;
    // Named groups that took part.
    std::vector<std::pair<std::string, std::string>> groups = {};
  };
  // kMaybe: with more text there may be a match from match->begin on, or another one there.
  enum class Found { kNo, kYes, kMaybe };

  // A dot takes line breaks, too (re.DOTALL). Error: InvalidArgument with the place in `pattern`.
  static absl::StatusOr<PythonRegex> Compile(std::string_view pattern);
  // Any of these texts, none empty; the longest counts.
  static absl::StatusOr<PythonRegex> AnyOf(std::vector<std::string> texts);

  PythonRegex(PythonRegex&&) noexcept;
  PythonRegex& operator=(PythonRegex&&) noexcept;
  ~PythonRegex();

  // The first match from `from` on in `text` (valid UTF-8). kYes and kNo are final, whatever text
  // follows; `last`: nothing does. An expression that backtracks without bound has no match.
  Found Search(std::string_view text, size_t from, bool last, Match* match) const;
  bool has_group(std::string_view name) const;
  bool has_groups() const { return !names_.empty(); }

 private:
  struct Code;

  PythonRegex();

  std::unique_ptr<Code> code_;
  std::vector<std::pair<std::string, size_t>> names_;  // of groups, and their numbers
};

}  // namespace folkmoot
