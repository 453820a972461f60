// SPDX-License-Identifier: Apache-2.0
// Byte ranges of a text in which special tokens are allowed, and what becomes of them on the way.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/tokenizer/normalizer.h"
#include "runtime/tokenizer/utf8.h"

namespace folkmoot {

// RepairUtf8 into `repaired`, and where `ranges` are there. A range's end inside a character moves
// inwards. InvalidArgument: ranges are not sorted and disjoint, or leave the text.
absl::StatusOr<std::vector<ByteSpan>> RepairWithRanges(
    std::string_view text, std::span<const std::pair<size_t, size_t>> ranges,
    std::string* repaired);

// The parts of `ranges` inside `part`, counted from its beginning.
std::vector<ByteSpan> RangesWithin(const std::vector<ByteSpan>& ranges, ByteSpan part);

// `ranges` of `text` in `normalized`, which is `text` after `normalizer` (may be null). A range
// shrinks where its end would be normalized together with what is beyond it. Empty when the
// normalizer does not work part by part.
absl::StatusOr<std::vector<ByteSpan>> NormalizedRanges(const Normalizer* normalizer,
                                                       std::string_view text,
                                                       const std::vector<ByteSpan>& ranges,
                                                       std::string_view normalized, bool at_start);

}  // namespace folkmoot
