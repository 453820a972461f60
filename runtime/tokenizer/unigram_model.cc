// SPDX-License-Identifier: Apache-2.0
#include "runtime/tokenizer/unigram_model.h"

#include <algorithm>
#include <utility>

#include "runtime/tokenizer/utf8.h"

namespace folkmoot {
namespace {

// How much less likely than the least likely token a character is that is no token
// (SentencePiece's kUnkPenalty).
constexpr double kUnknownPenalty = 10;

struct ScoredTokens {
  std::vector<std::string> tokens;
  std::vector<double> scores;
};

absl::StatusOr<ScoredTokens> ParseTokens(const JsonNode& vocab) {
  simdjson::dom::array array;
  if (vocab.element().get(array) != simdjson::SUCCESS) {
    return vocab.Error("must be an array of [token, score]");
  }
  if (array.size() == 0) return vocab.Error("is empty");
  ScoredTokens result;
  for (const simdjson::dom::element item : array) {
    const size_t id = result.tokens.size();
    simdjson::dom::array pair;
    std::string_view token;
    double score = 0;
    if (item.get(pair) != simdjson::SUCCESS || pair.size() != 2 ||
        pair.at(0).get(token) != simdjson::SUCCESS || pair.at(1).get(score) != simdjson::SUCCESS) {
      return vocab.Error("token {} must be [token, score]", id);
    }
    if (token.empty()) return vocab.Error("id {} has an empty token", id);
    if (id > static_cast<size_t>(TokenTable::kMaxTokenId)) {
      return vocab.Error("has more than {} tokens", TokenTable::kMaxTokenId + 1);
    }
    result.tokens.emplace_back(token);
    result.scores.push_back(score);
  }
  return result;
}

// The first way counts among equals.
void Offer(const TokenModel::Scratch::Path& way, TokenModel::Scratch::Path* best) {
  if (best->length == 0 || way.score > best->score) *best = way;
}

}  // namespace

UnigramModel::UnigramModel(TokenTable table, std::vector<double> scores)
    : TokenModel(std::move(table)),
      scores_(std::move(scores)),
      unknown_score_(*std::min_element(scores_.begin(), scores_.end()) - kUnknownPenalty) {
  for (int32_t id = 0; id < tokens().id_limit(); ++id) {
    trie_.Insert(tokens().IdToToken(id), id);
  }
}

absl::StatusOr<std::unique_ptr<TokenModel>> UnigramModel::Parse(const JsonNode& node) {
  // The last two are what the trainer of the tokenizers package leaves for sampling.
  FM_RETURN_IF_ERROR(node.AllowOnly({"unk_id", "vocab", "byte_fallback", "alpha", "nbest_size"}));
  if (const auto alpha = node.Find("alpha")) {
    double value = -1;
    if (alpha->element().get(value) != simdjson::SUCCESS || value != 0) {
      return alpha->Error("sampling is not supported: it would make the ids random");
    }
  }
  FM_ASSIGN_OR_RETURN(const JsonNode vocab, node.Get("vocab"));
  FM_ASSIGN_OR_RETURN(ScoredTokens tokens, ParseTokens(vocab));
  std::unique_ptr<UnigramModel> model(
      new UnigramModel(TokenTable(std::move(tokens.tokens)), std::move(tokens.scores)));
  FM_ASSIGN_OR_RETURN(model->byte_fallback_, node.Bool("byte_fallback", false));
  if (node.Find("unk_id")) {
    FM_ASSIGN_OR_RETURN(const int64_t id, node.Int("unk_id"));
    const int64_t limit = model->tokens().id_limit();
    if (id < 0 || id >= limit) {
      return node.Error("\"unk_id\" is {}, and the tokens have ids from 0 to {}", id, limit - 1);
    }
    model->unk_id_ = static_cast<int32_t>(id);
  }
  return model;
}

absl::Status UnigramModel::FindPaths(std::string_view piece,
                                     std::vector<Scratch::Path>* paths) const {
  paths->assign(piece.size() + 1, {});
  for (size_t at = 0; at < piece.size();) {
    const double score = (*paths)[at].score;
    const size_t character = ReadUtf8(piece, at).length;
    bool is_token = false;  // the character by itself
    int32_t node = ByteTrie::kRoot;
    for (size_t end = at; end < piece.size();) {
      node = trie_.Step(node, piece[end++]);
      if (node == ByteTrie::kNone) break;
      const int32_t id = trie_.Value(node);
      if (id == ByteTrie::kNone) continue;
      Offer({score + scores_[static_cast<size_t>(id)], static_cast<uint32_t>(end - at), id},
            &(*paths)[end]);
      is_token |= end - at == character;
    }
    if (!is_token) {
      if (unk_id_ < 0) {
        return InvalidArgument(
            "the text holds \"{}\", which is no token, and tokenizer.json names no token for "
            "unknown characters (\"unk_id\")",
            piece.substr(at, character));
      }
      Offer({score + unknown_score_, static_cast<uint32_t>(character), unk_id_},
            &(*paths)[at + character]);
    }
    at += character;
  }
  return absl::OkStatus();
}

// Unknown characters may together be a token that is less likely than they are.
void UnigramModel::AppendUnknown(std::string_view text, std::vector<int32_t>* ids) const {
  if (const std::optional<int32_t> id = tokens().TokenToId(text)) {
    ids->push_back(*id);
  } else if (!byte_fallback_ || !tokens().AppendBytes(text, ids)) {
    ids->push_back(unk_id_);
  }
}

absl::Status UnigramModel::Encode(std::string_view piece, Scratch* scratch,
                                  std::vector<int32_t>* ids) const {
  std::vector<Scratch::Path>& paths = scratch->paths;
  FM_RETURN_IF_ERROR(FindPaths(piece, &paths));
  // The way is known from its end: turned round, every place on it names the token that follows.
  Scratch::Path next;
  for (size_t at = piece.size(); at > 0;) {
    const Scratch::Path here = std::exchange(paths[at], next);
    next = here;
    at -= here.length;
    if (at == 0) paths[0] = next;
  }
  for (size_t at = 0; at < piece.size();) {
    const size_t begin = at;
    const int32_t id = paths[at].id;
    at += paths[at].length;
    if (id != unk_id_) {
      ids->push_back(id);
      continue;
    }
    while (at < piece.size() && paths[at].id == unk_id_) at += paths[at].length;
    AppendUnknown(piece.substr(begin, at - begin), ids);
  }
  return absl::OkStatus();
}

}  // namespace folkmoot
