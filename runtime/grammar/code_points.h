// SPDX-License-Identifier: Apache-2.0
// Sets of Unicode characters and their spelling in UTF-8 as sequences of byte ranges.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace folkmoot {

// Ascending, disjoint ranges (ends included) of U+0000..U+10FFFF without the surrogates.
class CodePointSet {
 public:
  using Range = std::pair<char32_t, char32_t>;
  static constexpr char32_t kLast = 0x10FFFF;

  CodePointSet() = default;
  // In any order; surrogates are left out.
  explicit CodePointSet(const std::vector<Range>& ranges);
  static CodePointSet All() { return CodePointSet({{0, kLast}}); }

  CodePointSet Union(const CodePointSet& other) const;
  CodePointSet Complement() const;
  CodePointSet Minus(const CodePointSet& other) const;

  bool empty() const { return ranges_.empty(); }
  bool Contains(char32_t code) const;
  const std::vector<Range>& ranges() const { return ranges_; }
  bool operator==(const CodePointSet&) const = default;

 private:
  std::vector<Range> ranges_;
};

// All strings of length `length` whose byte i is in low[i]..high[i].
struct Utf8Sequence {
  int length = 0;
  uint8_t low[4] = {};
  uint8_t high[4] = {};
};

// Together exactly the UTF-8 forms of the set; every form in one sequence.
std::vector<Utf8Sequence> Utf8Sequences(const CodePointSet& set);

}  // namespace folkmoot
