// SPDX-License-Identifier: Apache-2.0
// The rules by which a SentencePiece model normalizes: its precompiled_charsmap, which
// tokenizer.json holds as the normalizer "Precompiled". Private to runtime/tokenizer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/status.h"

namespace folkmoot {

// Immutable; any thread may call Apply at the same time.
class Charsmap {
 public:
  // `bytes`: the size of a trie in bytes, the trie, a double array of the Darts-clone library, both
  // of little-endian uint32, and the texts, each ended by NUL, to which its values point.
  // InvalidArgument: it is cut off, or the trie leads beyond its end or that of the texts.
  static absl::StatusOr<Charsmap> Parse(std::string_view bytes);

  // `text` (valid UTF-8) after the rules. As in the tokenizers package, a grapheme cluster of up to
  // 5 bytes that begins with a key becomes, as a whole, what the shortest such key stands for; of
  // other clusters each character by itself.
  std::string Apply(std::string_view text) const;

 private:
  absl::Status Check() const;
  absl::Status CheckValue(size_t node) const;
  // What the shortest key that `text` begins with stands for.
  std::optional<std::string_view> Find(std::string_view text) const;
  void AppendCluster(std::string_view cluster, std::string* out) const;

  std::vector<uint32_t> trie_;
  std::string texts_;
};

}  // namespace folkmoot
