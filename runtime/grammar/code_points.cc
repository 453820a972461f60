// SPDX-License-Identifier: Apache-2.0
#include "runtime/grammar/code_points.h"

#include <algorithm>
#include <string>

#include "runtime/tokenizer/utf8.h"

namespace folkmoot {
namespace {

constexpr char32_t kFirstSurrogate = 0xD800;
constexpr char32_t kLastSurrogate = 0xDFFF;

// Splits [low, high] until all its members have one length and every byte varies freely.
void AddSequences(char32_t low, char32_t high, std::vector<Utf8Sequence>* out) {
  for (const char32_t limit : {char32_t{0x7F}, char32_t{0x7FF}, char32_t{0xFFFF}}) {
    if (low <= limit && limit < high) {
      AddSequences(low, limit, out);
      AddSequences(limit + 1, high, out);
      return;
    }
  }
  if (high > 0x7F) {
    for (int i = 1; i < 4; ++i) {
      const char32_t mask = (char32_t{1} << (6 * i)) - 1;
      if ((low & ~mask) == (high & ~mask)) continue;
      if ((low & mask) != 0) {
        AddSequences(low, low | mask, out);
        AddSequences((low | mask) + 1, high, out);
        return;
      }
      if ((high & mask) != mask) {
        AddSequences(low, (high & ~mask) - 1, out);
        AddSequences(high & ~mask, high, out);
        return;
      }
    }
  }
  std::string first, last;
  AppendUtf8(low, &first);
  AppendUtf8(high, &last);
  Utf8Sequence sequence;
  sequence.length = static_cast<int>(first.size());
  for (size_t i = 0; i < first.size(); ++i) {
    sequence.low[i] = static_cast<uint8_t>(first[i]);
    sequence.high[i] = static_cast<uint8_t>(last[i]);
  }
  out->push_back(sequence);
}

}  // namespace

CodePointSet::CodePointSet(const std::vector<Range>& ranges) {
  std::vector<Range> parts;
  for (const auto& [low, high] : ranges) {
    const char32_t end = std::min(high, kLast);
    if (low < kFirstSurrogate && low <= end) {
      parts.emplace_back(low, std::min<char32_t>(end, kFirstSurrogate - 1));
    }
    if (end > kLastSurrogate) parts.emplace_back(std::max<char32_t>(low, kLastSurrogate + 1), end);
  }
  std::erase_if(parts, [](const Range& part) { return part.first > part.second; });
  std::sort(parts.begin(), parts.end());
  for (const Range& part : parts) {
    if (!ranges_.empty() && part.first <= ranges_.back().second + 1) {
      ranges_.back().second = std::max(ranges_.back().second, part.second);
    } else {
      ranges_.push_back(part);
    }
  }
}

CodePointSet CodePointSet::Union(const CodePointSet& other) const {
  std::vector<Range> all = ranges_;
  all.insert(all.end(), other.ranges_.begin(), other.ranges_.end());
  return CodePointSet(all);
}

CodePointSet CodePointSet::Complement() const {
  std::vector<Range> gaps;
  char32_t next = 0;
  for (const auto& [low, high] : ranges_) {
    if (low > next) gaps.emplace_back(next, low - 1);
    next = high + 1;
  }
  if (next <= kLast) gaps.emplace_back(next, kLast);
  return CodePointSet(gaps);
}

CodePointSet CodePointSet::Minus(const CodePointSet& other) const {
  return Complement().Union(other).Complement();
}

bool CodePointSet::Contains(char32_t code) const {
  const auto after = std::upper_bound(ranges_.begin(), ranges_.end(), Range(code, kLast + 1));
  return after != ranges_.begin() && std::prev(after)->second >= code;
}

std::vector<Utf8Sequence> Utf8Sequences(const CodePointSet& set) {
  std::vector<Utf8Sequence> sequences;
  for (const auto& [low, high] : set.ranges()) AddSequences(low, high, &sequences);
  return sequences;
}

}  // namespace folkmoot
