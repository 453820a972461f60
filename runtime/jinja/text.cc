// SPDX-License-Identifier: Apache-2.0
#include "runtime/jinja/text.h"

#include <algorithm>

namespace folkmoot::jinja {

Text Text::Trusted(std::string bytes) {
  Text text;
  text.bytes_ = std::move(bytes);
  text.AddRange(0, text.bytes_.size());
  return text;
}

Text Text::Untrusted(std::string bytes) {
  Text text;
  text.bytes_ = std::move(bytes);
  return text;
}

void Text::AddRange(size_t begin, size_t end) {
  if (begin == end) return;
  if (!trusted_.empty() && trusted_.back().second == begin) {
    trusted_.back().second = end;
  } else {
    trusted_.emplace_back(begin, end);
  }
}

void Text::Append(const Text& other) { AppendPart(other, 0, other.size()); }

void Text::Append(std::string_view bytes, bool is_trusted) {
  const size_t begin = bytes_.size();
  bytes_ += bytes;
  if (is_trusted) AddRange(begin, bytes_.size());
}

void Text::AppendPart(const Text& other, size_t begin, size_t end) {
  const size_t start = bytes_.size();
  bytes_.append(other.bytes_, begin, end - begin);
  auto range = std::partition_point(other.trusted_.begin(), other.trusted_.end(),
                                    [begin](const auto& r) { return r.second <= begin; });
  for (; range != other.trusted_.end() && range->first < end; ++range) {
    const size_t from = std::max(range->first, begin);
    const size_t to = std::min(range->second, end);
    AddRange(start + from - begin, start + to - begin);
  }
}

Text Text::Part(size_t begin, size_t end) const {
  Text part;
  part.AppendPart(*this, begin, end);
  return part;
}

bool Text::IsTrusted(size_t position, size_t* hint) const {
  while (*hint < trusted_.size() && trusted_[*hint].second <= position) ++*hint;
  return *hint < trusted_.size() && trusted_[*hint].first <= position;
}

}  // namespace folkmoot::jinja
