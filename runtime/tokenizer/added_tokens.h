// SPDX-License-Identifier: Apache-2.0
// The "added_tokens" of tokenizer.json: tokens that are found in the text as whole strings before
// the model sees it, special ones (<s>, <|im_end|>) among them.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/tokenizer/byte_trie.h"
#include "runtime/tokenizer/normalizer.h"
#include "runtime/tokenizer/regex.h"
#include "runtime/tokenizer/token_table.h"
#include "runtime/tokenizer/tokenizer_json.h"

namespace folkmoot {

struct AddedToken {
  std::string content;
  std::string normalized_content;  // what is searched for and decoded
  int32_t id = 0;
  bool special = false;
  bool single_word = false;  // only where no word character is beside it
  bool lstrip = false;       // takes the white space on its left
  bool rstrip = false;
  bool normalized = false;  // searched for in the normalized text
  bool blank = false;       // white space alone, and not special
};

// Immutable after Parse; any thread may call the const methods at the same time.
class AddedTokens {
 public:
  // A part of a text: an added token, or text between (token is null).
  struct Segment {
    ByteSpan span;
    const AddedToken* token = nullptr;
  };
  // In which text the search runs.
  enum class Stage { kRaw, kNormalized };

  // `node` is the array, or absent. `normalizer` may be null. A token of the vocabulary gets
  // its id there. Refuses ids that belong to another token.
  static absl::StatusOr<AddedTokens> Parse(const std::optional<JsonNode>& node,
                                           const TokenTable& vocabulary,
                                           const Normalizer* normalizer);
  // The tokens of "added_tokens_decoder" (tokenizer_config.json: {id: token}) that are not there
  // yet. As in Transformers they get the next ids in the order of those that they name.
  absl::Status Extend(const JsonNode& node, const TokenTable& vocabulary,
                      const Normalizer* normalizer);

  // Where tokens may be: everywhere when `ranges` is null, else wholly inside one of them (sorted,
  // disjoint), but for tokens of mere white space that are not special: those are ordinary
  // vocabulary (GPT-NeoX, OLMoE) and may be anywhere. Without `special`, special tokens stay text.
  struct Where {
    bool special = true;
    const std::vector<ByteSpan>* ranges = nullptr;
  };

  // Appends the segments of `text`, in order, none empty. The longest token at the leftmost place
  // wins.
  absl::Status Split(std::string_view text, Stage stage, const Where& where,
                     std::vector<Segment>* segments) const;
  bool has_normalized() const { return !normalized_.trie.empty(); }

  // Null: not an added token.
  const AddedToken* FindById(int32_t id) const;
  const AddedToken* FindByContent(std::string_view content) const;
  int64_t id_limit() const { return id_limit_; }  // the largest id plus one, or 0

 private:
  // Words to be found, as indices into tokens_.
  struct Words {
    ByteTrie trie;
    bool has_blank = false;
  };

  explicit AddedTokens(Pattern word) : word_(std::move(word)) {}
  // `id` is that of a token which the vocabulary does not have.
  absl::Status Add(const JsonNode& node, int64_t id, const TokenTable& vocabulary,
                   const Normalizer* normalizer);
  void Insert(size_t index);
  // The longest word that begins at `position` and ends at `limit` or before, blank ones also
  // beyond it: its index in tokens_, or -1. `end` is set when found.
  int32_t Longest(const Words& words, std::string_view text, size_t position, size_t limit,
                  size_t* end) const;
  absl::StatusOr<bool> IsWholeWord(std::string_view text, ByteSpan span) const;

  Pattern word_;  // one word character
  std::vector<AddedToken> tokens_;
  absl::flat_hash_map<int32_t, int32_t> by_id_;
  absl::flat_hash_map<std::string, int32_t> by_content_;
  Words raw_;
  Words normalized_;
  int64_t id_limit_ = 0;
};

}  // namespace folkmoot
