// SPDX-License-Identifier: Apache-2.0
// The "model" of tokenizer.json: what cuts a piece of text into tokens of a vocabulary.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "runtime/tokenizer/token_table.h"
#include "runtime/tokenizer/tokenizer_json.h"

namespace folkmoot {

// Immutable; any thread may call the const methods at the same time.
class TokenModel {
 public:
  // Working memory of Encode, reused from piece to piece by one thread.
  struct Scratch {
    // BPE: the symbols of a piece, and the merges that may come next.
    struct Symbol {
      int32_t id;  // -1: merged into its left neighbour
      int32_t previous;
      int32_t next;
    };
    struct Candidate {
      uint64_t order;  // rank, then position
      int32_t new_id;
      bool operator>(const Candidate& other) const { return order > other.order; }
    };
    std::vector<Symbol> symbols;
    std::vector<Candidate> heap;
    int64_t merge_steps = 0;  // candidates taken from the heap so far

    // Unigram: the best way to a place in the piece.
    struct Path {
      double score = 0;     // sum over the tokens of the way
      uint32_t length = 0;  // bytes of its last token; 0: there is no way yet
      int32_t id = -1;      // of its last token
    };
    std::vector<Path> paths;  // by place, [bytes + 1]
  };

  virtual ~TokenModel() = default;

  // BPE and Unigram; refuses other types by name.
  static absl::StatusOr<std::unique_ptr<TokenModel>> Parse(const JsonNode& node);

  // Appends the ids of one piece (valid UTF-8, at most 2^31 - 1 bytes).
  // InvalidArgument: a character has no token, and there is none for unknown ones.
  virtual absl::Status Encode(std::string_view piece, Scratch* scratch,
                              std::vector<int32_t>* ids) const = 0;

  const TokenTable& tokens() const { return tokens_; }

 protected:
  explicit TokenModel(TokenTable table) : tokens_(std::move(table)) {}

 private:
  TokenTable tokens_;
};

}  // namespace folkmoot
