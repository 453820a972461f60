// SPDX-License-Identifier: Apache-2.0
#include "runtime/tokenizer/special_ranges.h"

#include <algorithm>

namespace folkmoot {
namespace {

// How far around the end of a range its surroundings are looked at, in bytes.
constexpr size_t kWindow = 32;

bool IsContinuation(char byte) { return (static_cast<uint8_t>(byte) & 0xC0) == 0x80; }

// Applies the normalizer to parts of a text.
class PartNormalizer {
 public:
  PartNormalizer(const Normalizer& normalizer, bool at_start)
      : normalizer_(normalizer), at_start_(at_start) {}

  // Finds out what the normalizer puts in front of every text (Prepend).
  absl::Status Prepare() {
    std::string probe = "a";
    bool at_start = false;
    FM_RETURN_IF_ERROR(normalizer_.Apply(&probe, &at_start));
    if (probe.ends_with('a')) prefix_ = probe.substr(0, probe.size() - 1);
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> Apply(std::string_view part, bool first) const {
    std::string normalized(part);
    bool at_start = first && at_start_;
    FM_RETURN_IF_ERROR(normalizer_.Apply(&normalized, &at_start));
    if (!first && normalized.starts_with(prefix_)) normalized.erase(0, prefix_.size());
    return normalized;
  }

  // Whether the text is normalized the same when it is parted at `cut`.
  absl::StatusOr<bool> IsBoundary(std::string_view text, size_t cut) const {
    size_t begin = cut > kWindow ? cut - kWindow : 0;
    while (begin < cut && IsContinuation(text[begin])) ++begin;
    size_t end = std::min(cut + kWindow, text.size());
    while (end < text.size() && IsContinuation(text[end])) ++end;
    FM_ASSIGN_OR_RETURN(std::string parted, Apply(text.substr(begin, cut - begin), false));
    FM_ASSIGN_OR_RETURN(const std::string after, Apply(text.substr(cut, end - cut), false));
    FM_ASSIGN_OR_RETURN(const std::string whole, Apply(text.substr(begin, end - begin), false));
    return parted + after == whole;
  }

 private:
  const Normalizer& normalizer_;
  bool at_start_;
  std::string prefix_;
};

// The range without the characters at its ends that are normalized together with what is outside.
absl::StatusOr<ByteSpan> Shrunk(const PartNormalizer& parts, std::string_view text,
                                ByteSpan range) {
  while (range.begin > 0 && range.begin < range.end) {
    FM_ASSIGN_OR_RETURN(const bool good, parts.IsBoundary(text, range.begin));
    if (good) break;
    range.begin += ReadUtf8(text, range.begin).length;
  }
  while (range.end < text.size() && range.begin < range.end) {
    FM_ASSIGN_OR_RETURN(const bool good, parts.IsBoundary(text, range.end));
    if (good) break;
    do {
      --range.end;
    } while (IsContinuation(text[range.end]));
  }
  return range;
}

}  // namespace

absl::StatusOr<std::vector<ByteSpan>> RepairWithRanges(
    std::string_view text, std::span<const std::pair<size_t, size_t>> ranges,
    std::string* repaired) {
  size_t last = 0;
  for (const auto& [begin, end] : ranges) {
    if (begin < last || end < begin || end > text.size()) {
      return InvalidArgument(
          "special_ranges: {} .. {} is not sorted or leaves the text of {} bytes", begin, end,
          text.size());
    }
    last = end;
  }
  std::vector<ByteSpan> mapped;
  mapped.reserve(ranges.size());
  repaired->reserve(text.size());
  auto range = ranges.begin();
  bool is_open = false;
  for (size_t at = 0;;) {
    // At the beginning of a character: ranges end at the last such place inside of them.
    while (range != ranges.end()) {
      if (!is_open && range->first <= at && at <= range->second) {
        mapped.push_back({repaired->size(), repaired->size()});
        is_open = true;
      }
      if (is_open && at <= range->second) mapped.back().end = repaired->size();
      if (at < range->second) break;
      ++range;
      is_open = false;
    }
    if (at >= text.size()) break;
    const Utf8Char c = ReadUtf8(text, at);
    if (c.state == Utf8State::kValid) {
      repaired->append(text, at, c.length);
    } else {
      *repaired += kReplacementCharacter;
    }
    at += c.length;
  }
  std::erase_if(mapped, [](const ByteSpan& span) { return span.begin == span.end; });
  return mapped;
}

std::vector<ByteSpan> RangesWithin(const std::vector<ByteSpan>& ranges, ByteSpan part) {
  std::vector<ByteSpan> inside;
  auto range = std::partition_point(ranges.begin(), ranges.end(),
                                    [&](const ByteSpan& r) { return r.end <= part.begin; });
  for (; range != ranges.end() && range->begin < part.end; ++range) {
    inside.push_back({std::max(range->begin, part.begin) - part.begin,
                      std::min(range->end, part.end) - part.begin});
  }
  return inside;
}

absl::StatusOr<std::vector<ByteSpan>> NormalizedRanges(const Normalizer* normalizer,
                                                       std::string_view text,
                                                       const std::vector<ByteSpan>& ranges,
                                                       std::string_view normalized, bool at_start) {
  if (normalizer == nullptr) return ranges;
  if (ranges.size() == 1 && ranges[0] == ByteSpan{0, text.size()}) {
    return std::vector<ByteSpan>{{0, normalized.size()}};
  }
  PartNormalizer parts(*normalizer, at_start);
  FM_RETURN_IF_ERROR(parts.Prepare());
  std::vector<ByteSpan> mapped;
  std::string rebuilt;
  size_t done = 0;
  const auto append = [&](size_t end) -> absl::Status {
    if (end == done) return absl::OkStatus();
    FM_ASSIGN_OR_RETURN(const std::string part,
                        parts.Apply(text.substr(done, end - done), done == 0));
    rebuilt += part;
    done = end;
    return absl::OkStatus();
  };
  for (const ByteSpan& range : ranges) {
    FM_ASSIGN_OR_RETURN(const ByteSpan inner, Shrunk(parts, text, range));
    if (inner.begin >= inner.end) continue;
    FM_RETURN_IF_ERROR(append(inner.begin));
    const size_t begin = rebuilt.size();
    FM_RETURN_IF_ERROR(append(inner.end));
    mapped.push_back({begin, rebuilt.size()});
  }
  FM_RETURN_IF_ERROR(append(text.size()));
  if (rebuilt != normalized) return std::vector<ByteSpan>();
  return mapped;
}

}  // namespace folkmoot
