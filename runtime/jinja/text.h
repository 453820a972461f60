// SPDX-License-Identifier: Apache-2.0
// Strings of a template that know which of their bytes the template itself wrote.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace folkmoot::jinja {

// UTF-8 and the provenance of its bytes: `trusted` are the half-open ranges that come from the
// template or the model's own tokens, sorted, disjoint, not touching; all else came from outside.
class Text {
 public:
  Text() = default;
  static Text Trusted(std::string bytes);
  static Text Untrusted(std::string bytes);

  std::string_view view() const { return bytes_; }
  const std::string& bytes() const { return bytes_; }
  const std::vector<std::pair<size_t, size_t>>& trusted() const { return trusted_; }
  bool empty() const { return bytes_.empty(); }
  size_t size() const { return bytes_.size(); }

  void Append(const Text& other);
  void Append(std::string_view bytes, bool is_trusted);
  // Appends other[begin, end).
  void AppendPart(const Text& other, size_t begin, size_t end);
  Text Part(size_t begin, size_t end) const;
  // Whether the byte at `position` is trusted. Positions that grow cost O(1) each through `hint`,
  // which starts at 0.
  bool IsTrusted(size_t position, size_t* hint) const;

 private:
  void AddRange(size_t begin, size_t end);

  std::string bytes_;
  std::vector<std::pair<size_t, size_t>> trusted_;
};

}  // namespace folkmoot::jinja
