// SPDX-License-Identifier: Apache-2.0
// The tokens of a model as byte strings, arranged so that a mask is one walk.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/status.h"
#include "runtime/tokenizer/tokenizer.h"

namespace folkmoot {

// Byte strings as a tree in preorder: whoever skips a node goes on at its `end`.
struct TokenTrie {
  struct Node {
    int32_t end = 0;          // the first node that is not below this one
    int32_t first_token = 0;  // tokens[first_token .. the next node's first_token) end here
    uint16_t depth = 0;       // bytes up to here; 1 for the first
    uint8_t byte = 0;
  };
  std::vector<Node> nodes;  // and one more, to close the last one's tokens
  std::vector<int32_t> tokens;

  int32_t node_count() const { return static_cast<int32_t>(nodes.size()) - 1; }
  // [ids] by id; empty strings are no token.
  static TokenTrie Of(const std::vector<std::string_view>& strings);
};

// Immutable; any thread may read it at the same time.
class Vocabulary {
 public:
  static constexpr size_t kMaxTokenBytes = 1024;  // longer tokens never come in a form
  static constexpr int kMaxPlainCharacters = 32;

  // `vocab`: the ids that the model scores; those above the tokenizer's are never allowed.
  // Error: FailedPrecondition when tokens have no bytes of their own (see TokenBytes).
  static absl::StatusOr<Vocabulary> Create(const Tokenizer& tokenizer, int64_t vocab,
                                           std::vector<int32_t> end_ids);

  int64_t vocab() const { return vocab_; }
  size_t mask_words() const { return plain_mask_.size(); }
  const std::vector<int32_t>& end_ids() const { return end_ids_; }
  bool IsEnd(int32_t token) const;
  // Empty: not a token of text.
  std::string_view Bytes(int32_t token, bool first) const;

  // Is the first token of a text decoded differently?
  bool first_differs() const { return !first_bytes_.empty(); }
  const TokenTrie& first_trie() const { return first_trie_; }
  int32_t dropped_spaces() const { return dropped_spaces_; }

  // Tokens of at most longest_plain() plain characters and nothing else (PlainCharacters), and all
  // the others. A state that takes any plain character takes all of the former at once.
  const TokenTrie& plain_trie() const { return plain_trie_; }
  const TokenTrie& other_trie() const { return other_trie_; }
  const std::vector<uint32_t>& plain_mask() const { return plain_mask_; }
  int longest_plain() const { return longest_plain_; }

 private:
  Vocabulary() = default;
  void BuildTries();

  int64_t vocab_ = 0;
  std::vector<int32_t> end_ids_;
  std::vector<std::string> bytes_, first_bytes_;
  int32_t dropped_spaces_ = 0;
  TokenTrie plain_trie_, other_trie_, first_trie_;
  std::vector<uint32_t> plain_mask_;
  int longest_plain_ = 0;
};

}  // namespace folkmoot
