// SPDX-License-Identifier: Apache-2.0
#include "runtime/grammar/vocabulary.h"

#include <algorithm>
#include <utility>

#include "runtime/grammar/lazy_automaton.h"
#include "runtime/tokenizer/token_bytes.h"
#include "runtime/tokenizer/utf8.h"

namespace folkmoot {
namespace {

// Plain characters in the text; -1: something else is in it.
int CountPlain(std::string_view text) {
  int count = 0;
  for (size_t at = 0; at < text.size(); ++count) {
    const Utf8Char c = ReadUtf8(text, at);
    if (c.state != Utf8State::kValid || !PlainCharacters().Contains(c.code)) return -1;
    at += c.length;
  }
  return count;
}

}  // namespace

TokenTrie TokenTrie::Of(const std::vector<std::string_view>& strings) {
  TokenTrie trie;
  for (size_t i = 0; i < strings.size(); ++i) {
    if (!strings[i].empty()) trie.tokens.push_back(static_cast<int32_t>(i));
  }
  const auto text = [&](int32_t token) { return strings[static_cast<size_t>(token)]; };
  std::stable_sort(trie.tokens.begin(), trie.tokens.end(),
                   [&](int32_t a, int32_t b) { return text(a) < text(b); });
  std::vector<size_t> path;  // the open nodes, by depth
  const auto close_below = [&](size_t depth) {
    for (; path.size() > depth; path.pop_back()) {
      trie.nodes[path.back()].end = static_cast<int32_t>(trie.nodes.size());
    }
  };
  std::string_view last;
  for (size_t i = 0; i < trie.tokens.size(); ++i) {
    const std::string_view bytes = text(trie.tokens[i]);
    const auto differ = std::mismatch(last.begin(), last.end(), bytes.begin(), bytes.end());
    const auto shared = static_cast<size_t>(differ.first - last.begin());
    close_below(shared);
    for (size_t depth = shared; depth < bytes.size(); ++depth) {
      path.push_back(trie.nodes.size());
      trie.nodes.push_back({.end = 0,
                            .first_token = static_cast<int32_t>(i),
                            .depth = static_cast<uint16_t>(depth + 1),
                            .byte = static_cast<uint8_t>(bytes[depth])});
    }
    last = bytes;
  }
  close_below(0);
  trie.nodes.push_back({.end = 0, .first_token = static_cast<int32_t>(trie.tokens.size())});
  return trie;
}

absl::StatusOr<Vocabulary> Vocabulary::Create(const Tokenizer& tokenizer, int64_t vocab,
                                              std::vector<int32_t> end_ids) {
  FM_ASSIGN_OR_RETURN(TokenBytes table, TokenBytes::Of(tokenizer));
  Vocabulary result;
  result.vocab_ = vocab;
  std::sort(end_ids.begin(), end_ids.end());
  end_ids.erase(std::unique(end_ids.begin(), end_ids.end()), end_ids.end());
  std::erase_if(end_ids, [&](int32_t id) { return id < 0 || id >= vocab; });
  result.end_ids_ = std::move(end_ids);
  result.bytes_ = std::move(table.bytes);
  result.first_bytes_ = std::move(table.first_bytes);
  result.dropped_spaces_ = table.dropped_spaces;
  for (std::vector<std::string>* strings : {&result.bytes_, &result.first_bytes_}) {
    if (static_cast<int64_t>(strings->size()) > vocab) strings->resize(static_cast<size_t>(vocab));
    for (std::string& bytes : *strings) {
      if (bytes.size() > kMaxTokenBytes) bytes.clear();
    }
    for (const int32_t id : result.end_ids_) {
      if (static_cast<size_t>(id) < strings->size()) (*strings)[static_cast<size_t>(id)].clear();
    }
  }
  result.BuildTries();
  return result;
}

void Vocabulary::BuildTries() {
  plain_mask_.assign((static_cast<size_t>(vocab_) + 31) / 32, 0);
  std::vector<std::string_view> plain(bytes_.size());
  std::vector<std::string_view> other(bytes_.size());
  for (size_t i = 0; i < bytes_.size(); ++i) {
    const int count = CountPlain(bytes_[i]);
    if (count <= 0 || count > kMaxPlainCharacters) {
      other[i] = bytes_[i];
      continue;
    }
    plain[i] = bytes_[i];
    longest_plain_ = std::max(longest_plain_, count);
    plain_mask_[i / 32] |= uint32_t{1} << (i % 32);
  }
  plain_trie_ = TokenTrie::Of(plain);
  other_trie_ = TokenTrie::Of(other);
  if (first_differs()) {
    first_trie_ = TokenTrie::Of({first_bytes_.begin(), first_bytes_.end()});
  }
}

bool Vocabulary::IsEnd(int32_t token) const {
  return std::binary_search(end_ids_.begin(), end_ids_.end(), token);
}

std::string_view Vocabulary::Bytes(int32_t token, bool first) const {
  const std::vector<std::string>& strings = first && first_differs() ? first_bytes_ : bytes_;
  if (token < 0 || static_cast<size_t>(token) >= strings.size()) return {};
  return strings[static_cast<size_t>(token)];
}

}  // namespace folkmoot
