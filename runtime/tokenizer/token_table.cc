// SPDX-License-Identifier: Apache-2.0
#include "runtime/tokenizer/token_table.h"

#include <fmt/format.h>

#include <algorithm>

namespace folkmoot {

TokenTable::TokenTable(std::vector<std::string> tokens) : tokens_(std::move(tokens)) {
  ids_.reserve(tokens_.size());
  for (size_t id = 0; id < tokens_.size(); ++id) {
    if (!tokens_[id].empty()) ids_.insert_or_assign(tokens_[id], static_cast<int32_t>(id));
  }
  for (size_t byte = 0; byte < byte_tokens_.size(); ++byte) {
    byte_tokens_[byte] = TokenToId(fmt::format("<0x{:02X}>", byte)).value_or(-1);
  }
}

std::optional<int32_t> TokenTable::TokenToId(std::string_view token) const {
  const auto found = ids_.find(token);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

std::string_view TokenTable::IdToToken(int32_t id) const {
  if (id < 0 || id >= id_limit()) return {};
  return tokens_[static_cast<size_t>(id)];
}

bool TokenTable::AppendBytes(std::string_view text, std::vector<int32_t>* ids) const {
  const auto id_of = [&](char byte) { return byte_tokens_[static_cast<uint8_t>(byte)]; };
  if (!std::all_of(text.begin(), text.end(), [&](char byte) { return id_of(byte) >= 0; })) {
    return false;
  }
  for (const char byte : text) ids->push_back(id_of(byte));
  return true;
}

}  // namespace folkmoot
