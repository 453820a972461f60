// SPDX-License-Identifier: Apache-2.0
// Byte-pair encoding: the "model" of tokenizer.json. Semantics of Hugging Face tokenizers' BPE,
// byte fallback (SentencePiece) and ignore_merges (Llama 3) included.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/tokenizer/token_model.h"

namespace folkmoot {

class BpeModel final : public TokenModel {
 public:
  // Refuses dropout, ids that are negative, doubled or above kMaxTokenId, and merges whose tokens
  // are not in the vocabulary.
  static absl::StatusOr<std::unique_ptr<TokenModel>> Parse(const JsonNode& node);

  // n log n in the piece's length. Always OK: an unknown character that has no token is left out.
  absl::Status Encode(std::string_view piece, Scratch* scratch,
                      std::vector<int32_t>* ids) const override;

 private:
  struct Merge {
    uint32_t rank;
    int32_t new_id;
  };

  explicit BpeModel(TokenTable table);
  absl::Status ParseOptions(const JsonNode& node);
  absl::Status ParseMerges(const JsonNode& node);
  absl::Status AddMerge(const JsonNode& node, size_t number, std::string_view left,
                        std::string_view right);
  void Split(std::string_view piece, std::vector<int32_t>* symbols) const;
  int32_t CharacterId(std::string_view character, char32_t code, bool first, bool last) const;
  void PushCandidate(int32_t left, Scratch* scratch) const;
  const Merge* FindMerge(int32_t left, int32_t right) const;

  absl::flat_hash_map<uint64_t, Merge> merges_;  // key: left id << 32 | right id
  std::array<int32_t, 0x200> low_characters_;    // ids of the characters below U+0200, or -1
  std::string continuing_subword_prefix_;
  std::string end_of_word_suffix_;
  int32_t unk_id_ = -1;
  bool fuse_unk_ = false;
  bool byte_fallback_ = false;
  bool ignore_merges_ = false;
};

}  // namespace folkmoot
