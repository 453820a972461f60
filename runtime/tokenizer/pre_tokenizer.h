// SPDX-License-Identifier: Apache-2.0
// Pre-tokenizers of tokenizer.json: they cut a normalized text into the pieces that the model cuts
// into tokens.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/tokenizer/tokenizer_json.h"
#include "runtime/tokenizer/utf8.h"

namespace folkmoot {

// A text and its pieces, in order; bytes between pieces are dropped. No piece is empty.
struct Pieces {
  std::string text;
  std::vector<ByteSpan> spans;
  // The first piece begins where the whole input begins.
  bool at_start = false;

  std::string_view View(ByteSpan span) const {
    return std::string_view(text).substr(span.begin, span.end - span.begin);
  }
};

// Immutable; any thread may call Apply at the same time.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  // Error: a pattern that backtracks without bound.
  virtual absl::Status Apply(Pieces* pieces) const = 0;
};

// Sequence, Split, ByteLevel, Metaspace, Digits, Whitespace, WhitespaceSplit, Punctuation,
// CharDelimiterSplit. Refuses others by name.
absl::StatusOr<std::unique_ptr<PreTokenizer>> ParsePreTokenizer(const JsonNode& node);

}  // namespace folkmoot
