// SPDX-License-Identifier: Apache-2.0
// The unigram language model of SentencePiece (Kudo 2018, arXiv:1804.10959), by which T5 and Switch
// Transformers are tokenized: of all ways to cut a piece into tokens, that with the largest sum of
// scores. Semantics of Hugging Face tokenizers' Unigram, byte fallback included.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "runtime/tokenizer/byte_trie.h"
#include "runtime/tokenizer/token_model.h"

namespace folkmoot {

class UnigramModel final : public TokenModel {
 public:
  // Refuses sampling ("alpha"), empty tokens, more than kMaxTokenId of them, and an unk_id that is
  // not among them.
  static absl::StatusOr<std::unique_ptr<TokenModel>> Parse(const JsonNode& node);

  // Linear in the piece's length times that of the longest token. Neighbours that are unknown are
  // one token. Of two ways with equal sums that counts whose last token is longer.
  absl::Status Encode(std::string_view piece, Scratch* scratch,
                      std::vector<int32_t>* ids) const override;

 private:
  UnigramModel(TokenTable table, std::vector<double> scores);
  absl::Status FindPaths(std::string_view piece, std::vector<Scratch::Path>* paths) const;
  void AppendUnknown(std::string_view text, std::vector<int32_t>* ids) const;

  std::vector<double> scores_;  // by id
  ByteTrie trie_;               // ids of the tokens
  double unknown_score_;        // of a character that is no token
  int32_t unk_id_ = -1;
  bool byte_fallback_ = false;
};

}  // namespace folkmoot
