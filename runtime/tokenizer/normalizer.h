// SPDX-License-Identifier: Apache-2.0
// Normalizers of tokenizer.json: what happens to the text before it is cut into words.
#pragma once

#include <memory>
#include <string>

#include "runtime/tokenizer/tokenizer_json.h"

namespace folkmoot {

// Immutable; any thread may call Apply at the same time.
class Normalizer {
 public:
  virtual ~Normalizer() = default;

  // Rewrites `text` (valid UTF-8 before and after). `keeps_start` becomes false when characters at
  // the very beginning were dropped; Metaspace with prepend_scheme "first" depends on it.
  // Error: a pattern that backtracks without bound.
  virtual absl::Status Apply(std::string* text, bool* keeps_start) const = 0;
};

// NFC, NFD, NFKC, NFKD, Lowercase, Strip, Prepend, Replace, Precompiled, Sequence. Refuses others
// by name.
absl::StatusOr<std::unique_ptr<Normalizer>> ParseNormalizer(const JsonNode& node);

}  // namespace folkmoot
