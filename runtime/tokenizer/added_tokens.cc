// SPDX-License-Identifier: Apache-2.0
#include "runtime/tokenizer/added_tokens.h"

#include <absl/strings/numbers.h>

#include <algorithm>
#include <utility>

namespace folkmoot {
namespace {

// Where the character that ends at `end` > 0 begins.
size_t CharacterBefore(std::string_view text, size_t end) {
  size_t begin = end - 1;
  while (begin > 0 && (static_cast<uint8_t>(text[begin]) & 0xC0) == 0x80) --begin;
  return begin;
}

size_t SkipSpaceLeft(std::string_view text, size_t end) {
  while (end > 0) {
    const size_t begin = CharacterBefore(text, end);
    if (!IsWhiteSpace(ReadUtf8(text, begin).code)) break;
    end = begin;
  }
  return end;
}

size_t SkipSpaceRight(std::string_view text, size_t begin) {
  while (begin < text.size()) {
    const Utf8Char c = ReadUtf8(text, begin);
    if (!IsWhiteSpace(c.code)) break;
    begin += c.length;
  }
  return begin;
}

}  // namespace

int32_t AddedTokens::Longest(const Words& words, std::string_view text, size_t position,
                             size_t limit, size_t* end) const {
  int32_t best = -1;
  int32_t node = ByteTrie::kRoot;
  for (size_t at = position; at < text.size(); ++at) {
    node = words.trie.Step(node, text[at]);
    if (node == ByteTrie::kNone) break;
    const int32_t token = words.trie.Value(node);
    if (token >= 0 && (at < limit || tokens_[static_cast<size_t>(token)].blank)) {
      best = token;
      *end = at + 1;
    }
  }
  return best;
}

absl::StatusOr<AddedTokens> AddedTokens::Parse(const std::optional<JsonNode>& node,
                                               const TokenTable& vocabulary,
                                               const Normalizer* normalizer) {
  // \w with the meaning of UTS #18.
  FM_ASSIGN_OR_RETURN(Pattern word,
                      Pattern::Regex(R"([\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{200c}\x{200d}])"));
  AddedTokens added(std::move(word));
  if (!node) return added;
  FM_ASSIGN_OR_RETURN(const std::vector<JsonNode> items, node->AsArray());
  for (const JsonNode& item : items) {
    FM_ASSIGN_OR_RETURN(const int64_t id, item.Int("id"));
    FM_RETURN_IF_ERROR(added.Add(item, id, vocabulary, normalizer));
  }
  for (size_t i = 0; i < added.tokens_.size(); ++i) added.Insert(i);
  return added;
}

absl::Status AddedTokens::Extend(const JsonNode& node, const TokenTable& vocabulary,
                                 const Normalizer* normalizer) {
  FM_ASSIGN_OR_RETURN(const auto members, node.AsMembers());
  std::vector<std::pair<int64_t, JsonNode>> missing;
  for (const auto& [key, token] : members) {
    FM_ASSIGN_OR_RETURN(const std::string content, token.String("content"));
    if (FindByContent(content) != nullptr) continue;
    int64_t id = 0;
    if (!absl::SimpleAtoi(key, &id)) return token.Error("\"{}\" is no id", key);
    missing.emplace_back(id, token);
  }
  std::stable_sort(missing.begin(), missing.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [id, token] : missing) {
    FM_RETURN_IF_ERROR(
        Add(token, std::max(id_limit_, vocabulary.id_limit()), vocabulary, normalizer));
    Insert(tokens_.size() - 1);
  }
  return absl::OkStatus();
}

void AddedTokens::Insert(size_t index) {
  const AddedToken& token = tokens_[index];
  Words& words = token.normalized ? normalized_ : raw_;
  words.trie.Insert(token.normalized_content, static_cast<int32_t>(index));
  words.has_blank = words.has_blank || token.blank;
}

absl::Status AddedTokens::Add(const JsonNode& node, int64_t id, const TokenTable& vocabulary,
                              const Normalizer* normalizer) {
  FM_RETURN_IF_ERROR(node.AllowOnly(
      {"id", "content", "special", "single_word", "lstrip", "rstrip", "normalized", "__type"}));
  AddedToken token;
  FM_ASSIGN_OR_RETURN(token.content, node.String("content"));
  if (token.content.empty()) return node.Error("\"content\" is empty");
  if (id < 0 || id > TokenTable::kMaxTokenId) {
    return node.Error("id {} is outside 0 .. {}", id, TokenTable::kMaxTokenId);
  }
  token.id = vocabulary.TokenToId(token.content).value_or(static_cast<int32_t>(id));
  const std::string_view owner = vocabulary.IdToToken(token.id);
  if (!owner.empty() && owner != token.content) {
    return node.Error("id {} of added token \"{}\" is the id of \"{}\" in the vocabulary", token.id,
                      token.content, owner);
  }
  FM_ASSIGN_OR_RETURN(token.special, node.Bool("special", false));
  FM_ASSIGN_OR_RETURN(token.single_word, node.Bool("single_word", false));
  FM_ASSIGN_OR_RETURN(token.lstrip, node.Bool("lstrip", false));
  FM_ASSIGN_OR_RETURN(token.rstrip, node.Bool("rstrip", false));
  FM_ASSIGN_OR_RETURN(token.normalized, node.Bool("normalized", !token.special));
  token.normalized_content = token.content;
  if (token.normalized && normalizer != nullptr) {
    bool keeps_start = true;
    FM_RETURN_IF_ERROR(node.Locate(normalizer->Apply(&token.normalized_content, &keeps_start)));
    if (token.normalized_content.empty()) {
      return node.Error("added token \"{}\" is empty once normalized", token.content);
    }
  }
  token.blank = !token.special && SkipSpaceRight(token.content, 0) == token.content.size();
  const int32_t index = static_cast<int32_t>(tokens_.size());
  if (!by_content_.emplace(token.content, index).second) {
    return node.Error("added token \"{}\" is there twice", token.content);
  }
  if (const auto [place, is_new] = by_id_.emplace(token.id, index); !is_new) {
    return node.Error("added tokens \"{}\" and \"{}\" have the same id {}",
                      tokens_[static_cast<size_t>(place->second)].content, token.content, token.id);
  }
  id_limit_ = std::max<int64_t>(id_limit_, token.id + 1);
  tokens_.push_back(std::move(token));
  return absl::OkStatus();
}

absl::StatusOr<bool> AddedTokens::IsWholeWord(std::string_view text, ByteSpan span) const {
  std::vector<ByteSpan> words;
  if (span.begin > 0) {
    const size_t before = CharacterBefore(text, span.begin);
    FM_RETURN_IF_ERROR(word_.FindAll(text.substr(before, span.begin - before), &words));
  }
  if (span.end < text.size()) {
    const size_t length = ReadUtf8(text, span.end).length;
    FM_RETURN_IF_ERROR(word_.FindAll(text.substr(span.end, length), &words));
  }
  return words.empty();
}

absl::Status AddedTokens::Split(std::string_view text, Stage stage, const Where& where,
                                std::vector<Segment>* segments) const {
  const Words& words = stage == Stage::kRaw ? raw_ : normalized_;
  size_t done = 0;  // everything before is in a segment
  size_t range = 0;
  for (size_t position = 0; position < text.size() && !words.trie.empty();) {
    size_t limit = text.size();
    if (where.ranges != nullptr) {
      while (range < where.ranges->size() && (*where.ranges)[range].end <= position) ++range;
      const bool is_last = range == where.ranges->size();
      if (is_last && !words.has_blank) break;
      const size_t begin = is_last ? text.size() : (*where.ranges)[range].begin;
      if (!words.has_blank) position = std::max(position, begin);
      limit = position < begin ? position : (*where.ranges)[range].end;
    }
    ByteSpan span{position, position};
    const int32_t index = Longest(words, text, position, limit, &span.end);
    if (index < 0) {
      ++position;
      continue;
    }
    position = span.end;  // also a match that does not count is not searched again
    const AddedToken& token = tokens_[static_cast<size_t>(index)];
    if (token.special && !where.special) continue;
    if (token.single_word) {
      FM_ASSIGN_OR_RETURN(const bool whole, IsWholeWord(text, span));
      if (!whole) continue;
    }
    // White space that the token before has taken is not taken again.
    if (token.lstrip) span.begin = std::max(SkipSpaceLeft(text, span.begin), done);
    if (token.rstrip) span.end = SkipSpaceRight(text, span.end);
    if (done < span.begin) segments->push_back({{done, span.begin}, nullptr});
    segments->push_back({span, &token});
    done = span.end;
  }
  if (done < text.size()) segments->push_back({{done, text.size()}, nullptr});
  return absl::OkStatus();
}

const AddedToken* AddedTokens::FindById(int32_t id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &tokens_[static_cast<size_t>(found->second)];
}

const AddedToken* AddedTokens::FindByContent(std::string_view content) const {
  const auto found = by_content_.find(std::string(content));
  return found == by_content_.end() ? nullptr : &tokens_[static_cast<size_t>(found->second)];
}

}  // namespace folkmoot
