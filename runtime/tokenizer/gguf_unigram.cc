// SPDX-License-Identifier: Apache-2.0
#include "runtime/tokenizer/gguf_unigram.h"

#include <absl/strings/escaping.h>

#include <string>

#include "runtime/tokenizer/charsmap.h"

namespace folkmoot {
namespace {

using nlohmann::json;

constexpr std::string_view kScores = "tokenizer.ggml.scores";
constexpr std::string_view kTokens = "tokenizer.ggml.tokens";
constexpr std::string_view kCharsmap = "tokenizer.ggml.precompiled_charsmap";
constexpr std::string_view kMerges = "tokenizer.ggml.remove_extra_whitespaces";
constexpr std::string_view kPrefix = "tokenizer.ggml.add_space_prefix";

// Special tokens have no probability; neither is theirs the least of all.
bool HasScore(int64_t type) { return type != kControl && type != kUserDefined && type != kUnknown; }

absl::StatusOr<json> ScoredTokens(const GgufModel& model, const GgufVocabulary& vocabulary) {
  FM_ASSIGN_OR_RETURN(const auto scores, model.Numbers(kScores));
  size_t count = vocabulary.tokens.size();
  if (!scores || scores->size() != count) {
    return model.Wrong(
        kScores, fmt::format("a unigram tokenizer needs one for each of its {} tokens", count));
  }
  while (count > 0 && vocabulary.types[count - 1] == kUnused) --count;
  json list = json::array();
  for (size_t i = 0; i < count; ++i) {
    if (vocabulary.tokens[i].empty()) {
      return model.Wrong(kTokens, fmt::format("token {} of a unigram tokenizer is empty", i));
    }
    const double score = HasScore(vocabulary.types[i]) ? (*scores)[i] : 0.0;
    list.push_back({vocabulary.tokens[i], score});
  }
  return list;
}

// The rules of normalisation; null: there are none.
absl::StatusOr<json> NormalizerJson(const GgufModel& model) {
  FM_ASSIGN_OR_RETURN(const auto numbers, model.Ints(kCharsmap, {INT8_MIN, UINT8_MAX}));
  if (!numbers || numbers->empty()) return json();
  std::string bytes;
  for (const int64_t number : *numbers) bytes += static_cast<char>(number);
  const auto charsmap = Charsmap::Parse(bytes);
  if (!charsmap.ok()) return model.Wrong(kCharsmap, Message(charsmap.status()));
  return json{{"type", "Precompiled"}, {"precompiled_charsmap", absl::Base64Escape(bytes)}};
}

}  // namespace

absl::StatusOr<json> UnigramJson(const GgufModel& model, const GgufVocabulary& vocabulary,
                                 int64_t unknown) {
  FM_ASSIGN_OR_RETURN(const auto merges, model.Bool(kMerges));
  if (!merges.value_or(false)) {
    return model.Wrong(kMerges, "unigram tokenizers are read whose words have one space between");
  }
  FM_ASSIGN_OR_RETURN(const auto prefix, model.Bool(kPrefix));
  if (!prefix.value_or(true)) {
    return model.Wrong(kPrefix, "unigram tokenizers are read that begin a text with a space");
  }
  const json metaspace = {{"type", "Metaspace"},
                          {"replacement", "\xE2\x96\x81"},
                          {"prepend_scheme", "always"},
                          {"split", true}};
  json root;
  FM_ASSIGN_OR_RETURN(root["normalizer"], NormalizerJson(model));
  root["pre_tokenizer"] = {
      {"type", "Sequence"},
      {"pretokenizers", json::array({json{{"type", "WhitespaceSplit"}}, metaspace})}};
  root["decoder"] = metaspace;
  FM_ASSIGN_OR_RETURN(json tokens, ScoredTokens(model, vocabulary));
  // Bytes stand for nothing in T5Tokenizer, nor in llama.cpp, though the vocabulary may have them.
  root["model"] = {{"type", "Unigram"},
                   {"unk_id", unknown},
                   {"byte_fallback", false},
                   {"vocab", std::move(tokens)}};
  return root;
}

}  // namespace folkmoot
