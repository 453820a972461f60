// SPDX-License-Identifier: Apache-2.0
// Byte-pair encoding: the "model" of tokenizer.json. Semantics of Hugging Face tokenizers' BPE,
// byte fallback (SentencePiece) and ignore_merges (Llama 3) included.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/tokenizer/tokenizer_json.h"

namespace folkmoot {

// Immutable; any thread may call the const methods at the same time.
class BpeModel {
 public:
  static constexpr int64_t kMaxTokenId = (int64_t{1} << 24) - 1;

  // Working memory of Encode, reused from piece to piece by one thread.
  class Scratch {
   public:
    int64_t merge_steps = 0;  // candidates taken from the heap so far

   private:
    friend class BpeModel;
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
    std::vector<Symbol> symbols_;
    std::vector<Candidate> heap_;
  };

  // Refuses model types other than BPE, dropout, ids that are negative, doubled or above
  // kMaxTokenId, and merges whose tokens are not in the vocabulary.
  static absl::StatusOr<std::unique_ptr<BpeModel>> Parse(const JsonNode& node);

  // Appends the ids of one piece (valid UTF-8, at most 2^31 - 1 bytes). n log n in its length.
  void Encode(std::string_view piece, Scratch* scratch, std::vector<int32_t>* ids) const;

  std::optional<int32_t> TokenToId(std::string_view token) const;
  // Empty for ids that the vocabulary does not have.
  std::string_view IdToToken(int32_t id) const;
  // The largest id plus one; ids below it may be holes.
  int64_t id_limit() const { return static_cast<int64_t>(tokens_.size()); }

 private:
  struct Merge {
    uint32_t rank;
    int32_t new_id;
  };
  using VocabMap = absl::flat_hash_map<std::string_view, int32_t, std::hash<std::string_view>,
                                       std::equal_to<std::string_view>>;

  BpeModel() = default;
  absl::Status ParseOptions(const JsonNode& node);
  absl::Status ParseVocab(const JsonNode& node);
  absl::Status ParseMerges(const JsonNode& node);
  absl::Status AddMerge(const JsonNode& node, size_t number, std::string_view left,
                        std::string_view right);
  void FillShortcuts();
  void Split(std::string_view piece, std::vector<int32_t>* symbols) const;
  int32_t CharacterId(std::string_view character, char32_t code, bool first, bool last) const;
  bool AppendBytes(std::string_view character, std::vector<int32_t>* symbols) const;
  void PushCandidate(int32_t left, Scratch* scratch) const;
  const Merge* FindMerge(int32_t left, int32_t right) const;

  std::vector<std::string> tokens_;              // by id; empty in holes
  VocabMap ids_;                                 // views into tokens_
  absl::flat_hash_map<uint64_t, Merge> merges_;  // key: left id << 32 | right id
  std::array<int32_t, 0x200> low_characters_;    // ids of the characters below U+0200, or -1
  std::array<int32_t, 256> byte_tokens_;         // ids of <0x00> .. <0xFF>, or -1
  std::string continuing_subword_prefix_;
  std::string end_of_word_suffix_;
  int32_t unk_id_ = -1;
  bool fuse_unk_ = false;
  bool byte_fallback_ = false;
  bool ignore_merges_ = false;
};

}  // namespace folkmoot
