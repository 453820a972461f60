// SPDX-License-Identifier: Apache-2.0
// The tokens of a model and their ids.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace folkmoot {

// Immutable; any thread may call the const methods at the same time.
class TokenTable {
 public:
  static constexpr int64_t kMaxTokenId = (int64_t{1} << 24) - 1;

  // `tokens` by id; an empty one is a hole. A token that is there twice has the larger id.
  explicit TokenTable(std::vector<std::string> tokens);
  TokenTable(TokenTable&&) = default;
  TokenTable& operator=(TokenTable&&) = default;

  std::optional<int32_t> TokenToId(std::string_view token) const;
  // Empty for ids that the vocabulary does not have.
  std::string_view IdToToken(int32_t id) const;
  // The largest id plus one; ids below it may be holes.
  int64_t id_limit() const { return static_cast<int64_t>(tokens_.size()); }
  // Appends the ids of the tokens <0xNN> for the bytes of `text` (SentencePiece's byte fallback).
  // False, and nothing appended, unless each byte has one.
  bool AppendBytes(std::string_view text, std::vector<int32_t>* ids) const;

 private:
  using IdMap = absl::flat_hash_map<std::string_view, int32_t, std::hash<std::string_view>,
                                    std::equal_to<std::string_view>>;

  std::vector<std::string> tokens_;
  IdMap ids_;                             // views into tokens_
  std::array<int32_t, 256> byte_tokens_;  // ids of <0x00> .. <0xFF>, or -1
};

}  // namespace folkmoot
