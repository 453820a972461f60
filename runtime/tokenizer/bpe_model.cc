// SPDX-License-Identifier: Apache-2.0
// Encode splits a piece into characters, then merges the neighbours with the lowest rank, leftmost
// first, through a heap with lazy deletion over a doubly linked list of symbols.
#include "runtime/tokenizer/bpe_model.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "runtime/tokenizer/utf8.h"

namespace folkmoot {
namespace {

uint64_t PairKey(int32_t left, int32_t right) {
  return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) | static_cast<uint32_t>(right);
}

// {token: id}.
absl::StatusOr<TokenTable> ParseVocab(const JsonNode& vocab) {
  simdjson::dom::object object;
  if (vocab.element().get(object) != simdjson::SUCCESS) {
    return vocab.Error("must be an object of token: id");
  }
  std::vector<std::string> tokens;
  for (const simdjson::dom::key_value_pair entry : object) {
    int64_t id = 0;
    if (entry.value.get(id) != simdjson::SUCCESS || id < 0 || id > TokenTable::kMaxTokenId) {
      return vocab.Error("the id of token \"{}\" must be an integer from 0 to {}", entry.key,
                         TokenTable::kMaxTokenId);
    }
    if (entry.key.empty()) return vocab.Error("id {} has an empty token", id);
    tokens.resize(std::max(tokens.size(), static_cast<size_t>(id) + 1));
    std::string& token = tokens[static_cast<size_t>(id)];
    if (!token.empty()) {
      return vocab.Error("tokens \"{}\" and \"{}\" have the same id {}", token, entry.key, id);
    }
    token = entry.key;
  }
  if (tokens.empty()) return vocab.Error("is empty");
  TokenTable table(std::move(tokens));
  for (int32_t id = 0; id < table.id_limit(); ++id) {
    const std::string_view token = table.IdToToken(id);
    if (token.empty()) continue;
    const int32_t other = *table.TokenToId(token);
    if (other != id) return vocab.Error("token \"{}\" has two ids, {} and {}", token, id, other);
  }
  return table;
}

}  // namespace

BpeModel::BpeModel(TokenTable table) : TokenModel(std::move(table)) {
  std::string name;
  for (size_t code = 0; code < low_characters_.size(); ++code) {
    name.clear();
    AppendUtf8(static_cast<char32_t>(code), &name);
    low_characters_[code] = tokens().TokenToId(name).value_or(-1);
  }
}

absl::StatusOr<std::unique_ptr<TokenModel>> BpeModel::Parse(const JsonNode& node) {
  FM_ASSIGN_OR_RETURN(const JsonNode vocab, node.Get("vocab"));
  FM_ASSIGN_OR_RETURN(TokenTable table, ParseVocab(vocab));
  std::unique_ptr<BpeModel> model(new BpeModel(std::move(table)));
  FM_RETURN_IF_ERROR(model->ParseOptions(node));
  FM_RETURN_IF_ERROR(model->ParseMerges(node));
  return model;
}

absl::Status BpeModel::ParseOptions(const JsonNode& node) {
  FM_RETURN_IF_ERROR(
      node.AllowOnly({"dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                      "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"}));
  if (const auto dropout = node.Find("dropout")) {
    double rate = -1;
    if (dropout->element().get(rate) != simdjson::SUCCESS || rate != 0) {
      return dropout->Error("BPE dropout is not supported: it would make the ids random");
    }
  }
  FM_ASSIGN_OR_RETURN(fuse_unk_, node.Bool("fuse_unk", false));
  FM_ASSIGN_OR_RETURN(byte_fallback_, node.Bool("byte_fallback", false));
  FM_ASSIGN_OR_RETURN(ignore_merges_, node.Bool("ignore_merges", false));
  if (node.Find("continuing_subword_prefix")) {
    FM_ASSIGN_OR_RETURN(continuing_subword_prefix_, node.String("continuing_subword_prefix"));
  }
  if (node.Find("end_of_word_suffix")) {
    FM_ASSIGN_OR_RETURN(end_of_word_suffix_, node.String("end_of_word_suffix"));
  }
  if (byte_fallback_ && !(continuing_subword_prefix_.empty() && end_of_word_suffix_.empty())) {
    return node.Error(
        "\"byte_fallback\" together with \"continuing_subword_prefix\" or "
        "\"end_of_word_suffix\" is not supported");
  }
  if (const auto unk = node.Find("unk_token")) {
    FM_ASSIGN_OR_RETURN(const std::string_view token, unk->AsString());
    const std::optional<int32_t> id = tokens().TokenToId(token);
    if (!id) return unk->Error("the unknown token \"{}\" is not in the vocabulary", token);
    unk_id_ = *id;
  }
  return absl::OkStatus();
}

absl::Status BpeModel::ParseMerges(const JsonNode& node) {
  FM_ASSIGN_OR_RETURN(const JsonNode merges, node.Get("merges"));
  simdjson::dom::array array;
  if (merges.element().get(array) != simdjson::SUCCESS) return merges.Error("must be an array");
  merges_.reserve(array.size());
  size_t number = 0;
  for (const simdjson::dom::element merge : array) {
    std::string_view text, left, right;
    simdjson::dom::array pair;
    if (merge.get(text) == simdjson::SUCCESS) {
      if (text.starts_with("#version")) continue;
      const size_t space = text.find(' ');
      if (space == std::string_view::npos || text.find(' ', space + 1) != std::string_view::npos) {
        return merges.Error("merge {}, \"{}\", must be two tokens with one space between", number,
                            text);
      }
      left = text.substr(0, space);
      right = text.substr(space + 1);
    } else if (merge.get(pair) != simdjson::SUCCESS || pair.size() != 2 ||
               pair.at(0).get(left) != simdjson::SUCCESS ||
               pair.at(1).get(right) != simdjson::SUCCESS) {
      return merges.Error("merge {} must be \"a b\" or [\"a\", \"b\"]", number);
    }
    FM_RETURN_IF_ERROR(AddMerge(merges, number, left, right));
    ++number;
  }
  return absl::OkStatus();
}

absl::Status BpeModel::AddMerge(const JsonNode& node, size_t number, std::string_view left,
                                std::string_view right) {
  const auto missing = [&](std::string_view token) {
    return node.Error("merge {}, \"{}\" + \"{}\": token \"{}\" is not in the vocabulary", number,
                      left, right, token);
  };
  const std::optional<int32_t> left_id = tokens().TokenToId(left);
  if (!left_id) return missing(left);
  const std::optional<int32_t> right_id = tokens().TokenToId(right);
  if (!right_id) return missing(right);
  if (right.size() < continuing_subword_prefix_.size()) {
    return node.Error("merge {}: \"{}\" is shorter than the continuing_subword_prefix", number,
                      right);
  }
  std::string merged(left);
  merged += right.substr(continuing_subword_prefix_.size());
  const std::optional<int32_t> new_id = tokens().TokenToId(merged);
  if (!new_id) return missing(merged);
  merges_[PairKey(*left_id, *right_id)] = {static_cast<uint32_t>(number), *new_id};
  return absl::OkStatus();
}

const BpeModel::Merge* BpeModel::FindMerge(int32_t left, int32_t right) const {
  const auto found = merges_.find(PairKey(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

int32_t BpeModel::CharacterId(std::string_view character, char32_t code, bool first,
                              bool last) const {
  const bool prefixed = !first && !continuing_subword_prefix_.empty();
  const bool suffixed = last && !end_of_word_suffix_.empty();
  if (!prefixed && !suffixed) {
    if (code < low_characters_.size()) return low_characters_[code];
    return tokens().TokenToId(character).value_or(-1);
  }
  std::string token = prefixed ? continuing_subword_prefix_ : std::string();
  token += character;
  if (suffixed) token += end_of_word_suffix_;
  return tokens().TokenToId(token).value_or(-1);
}

// The ids of the single characters. An unknown character becomes its bytes, or the unknown token,
// or, without either, nothing.
void BpeModel::Split(std::string_view piece, std::vector<int32_t>* symbols) const {
  bool pending_unk = false;
  for (size_t at = 0; at < piece.size();) {
    const Utf8Char c = ReadUtf8(piece, at);
    const std::string_view character = piece.substr(at, c.length);
    const bool first = at == 0;
    at += c.length;
    const bool last = at == piece.size();
    const int32_t id = CharacterId(character, c.code, first, last);
    if (id >= 0) {
      if (std::exchange(pending_unk, false)) symbols->push_back(unk_id_);
      symbols->push_back(id);
      continue;
    }
    if (byte_fallback_ && tokens().AppendBytes(character, symbols)) continue;
    if (unk_id_ < 0) continue;
    if (pending_unk && !fuse_unk_) symbols->push_back(unk_id_);
    pending_unk = true;
  }
  if (pending_unk) symbols->push_back(unk_id_);
}

void BpeModel::PushCandidate(int32_t left, Scratch* scratch) const {
  const auto& symbols = scratch->symbols;
  const Scratch::Symbol& symbol = symbols[static_cast<size_t>(left)];
  if (symbol.next < 0) return;
  const Merge* merge = FindMerge(symbol.id, symbols[static_cast<size_t>(symbol.next)].id);
  if (merge == nullptr) return;
  scratch->heap.push_back(
      {(static_cast<uint64_t>(merge->rank) << 32) | static_cast<uint32_t>(left), merge->new_id});
  std::push_heap(scratch->heap.begin(), scratch->heap.end(), std::greater<>());
}

absl::Status BpeModel::Encode(std::string_view piece, Scratch* scratch,
                              std::vector<int32_t>* ids) const {
  if (piece.empty()) return absl::OkStatus();
  if (ignore_merges_) {
    if (const std::optional<int32_t> id = tokens().TokenToId(piece)) {
      ids->push_back(*id);
      return absl::OkStatus();
    }
  }
  // The characters go straight to the output; merging shrinks them there.
  const size_t begin = ids->size();
  Split(piece, ids);
  const int32_t count = static_cast<int32_t>(ids->size() - begin);
  auto& symbols = scratch->symbols;
  auto& heap = scratch->heap;
  symbols.resize(static_cast<size_t>(count));
  for (int32_t i = 0; i < count; ++i) {
    symbols[static_cast<size_t>(i)] = {(*ids)[begin + static_cast<size_t>(i)], i - 1,
                                       i + 1 < count ? i + 1 : -1};
  }
  for (int32_t i = 0; i + 1 < count; ++i) PushCandidate(i, scratch);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    const Scratch::Candidate top = heap.back();
    heap.pop_back();
    ++scratch->merge_steps;
    const int32_t at = static_cast<int32_t>(top.order & 0xFFFFFFFFu);
    Scratch::Symbol& left = symbols[static_cast<size_t>(at)];
    if (left.id < 0 || left.next < 0) continue;
    Scratch::Symbol& right = symbols[static_cast<size_t>(left.next)];
    // A candidate is stale when its neighbours have changed since.
    const Merge* merge = FindMerge(left.id, right.id);
    if (merge == nullptr || merge->new_id != top.new_id) continue;
    left.id = top.new_id;
    left.next = right.next;
    right.id = -1;
    if (left.next >= 0) symbols[static_cast<size_t>(left.next)].previous = at;
    if (left.previous >= 0) PushCandidate(left.previous, scratch);
    PushCandidate(at, scratch);
  }
  ids->resize(begin);
  for (const Scratch::Symbol& symbol : symbols) {
    if (symbol.id >= 0) ids->push_back(symbol.id);
  }
  return absl::OkStatus();
}

}  // namespace folkmoot
