// SPDX-License-Identifier: Apache-2.0
// GgufTokenizerJson reads the vocabulary (ReadVocabulary) and writes one of the three kinds:
// ByteLevelJson, SentencePieceJson or UnigramJson (gguf_unigram.h).
#include "runtime/tokenizer/gguf_tokenizer.h"

#include <absl/container/flat_hash_map.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "runtime/tokenizer/gguf_pre_types.h"
#include "runtime/tokenizer/gguf_unigram.h"
#include "runtime/tokenizer/gguf_vocabulary.h"
#include "runtime/tokenizer/utf8.h"

namespace folkmoot {
namespace {

using nlohmann::json;

constexpr std::string_view kTokens = "tokenizer.ggml.tokens";
constexpr std::string_view kTypes = "tokenizer.ggml.token_type";
constexpr std::string_view kScores = "tokenizer.ggml.scores";
constexpr std::string_view kMerges = "tokenizer.ggml.merges";
constexpr std::string_view kModel = "tokenizer.ggml.model";
constexpr std::string_view kPre = "tokenizer.ggml.pre";
constexpr std::string_view kSpace = "\xE2\x96\x81";  // U+2581, SentencePiece's space

constexpr size_t kMaxTokenBytes = 1024;  // finding merges takes the square of it

// tokenizer.ggml.model "gpt2", "llama" and "t5".
enum class Kind : uint8_t { kByteLevel, kSentencePiece, kUnigram };

bool IsUtf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const Utf8Char c = ReadUtf8(text, at);
    if (c.state != Utf8State::kValid) return false;
    at += c.length;
  }
  return true;
}

absl::StatusOr<GgufVocabulary> ReadVocabulary(const GgufModel& model) {
  GgufVocabulary vocabulary;
  FM_ASSIGN_OR_RETURN(auto tokens, model.Strings(kTokens));
  if (!tokens || tokens->empty()) {
    return NotFound("{}: key '{}' is missing: the file has no tokenizer", model.path(), kTokens);
  }
  vocabulary.tokens = *std::move(tokens);
  FM_ASSIGN_OR_RETURN(auto types, model.Ints(kTypes, {0, kByte}));
  vocabulary.types =
      types ? *std::move(types) : std::vector<int64_t>(vocabulary.tokens.size(), kNormal);
  if (vocabulary.types.size() != vocabulary.tokens.size()) {
    return model.Wrong(kTypes, fmt::format("there are {} tokens", vocabulary.tokens.size()));
  }
  for (size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    if (vocabulary.tokens[i].size() > kMaxTokenBytes) {
      return model.Wrong(kTokens,
                         fmt::format("token {} is longer than {} bytes", i, kMaxTokenBytes));
    }
    if (IsUtf8(vocabulary.tokens[i])) continue;
    return model.Wrong(kTokens, fmt::format("token {} is not UTF-8", i));
  }
  return vocabulary;
}

json VocabularyJson(const GgufVocabulary& vocabulary) {
  json ids = json::object();
  for (size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    if (!vocabulary.tokens[i].empty()) ids.emplace(vocabulary.tokens[i], i);
  }
  return ids;
}

// Tokens that are found in the text before it is cut.
json AddedTokensJson(const GgufVocabulary& vocabulary) {
  json added = json::array();
  for (size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    const int64_t type = vocabulary.types[i];
    if (type != kControl && type != kUserDefined && type != kUnknown) continue;
    if (vocabulary.tokens[i].empty()) continue;
    added.push_back({{"id", i},
                     {"content", vocabulary.tokens[i]},
                     {"special", type != kUserDefined},
                     {"normalized", false}});
  }
  return added;
}

absl::Status CheckTwins(const GgufModel& model, const GgufVocabulary& vocabulary, const json& ids) {
  for (size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    if (vocabulary.tokens[i].empty()) continue;
    const size_t first = ids.at(std::string(vocabulary.tokens[i])).get<size_t>();
    if (first == i) continue;
    return model.Wrong(
        kTokens, fmt::format("tokens {} and {} are both \"{}\"", first, i, vocabulary.tokens[i]));
  }
  return absl::OkStatus();
}

// What `pre` names; the default when the key is not there.
absl::StatusOr<const GgufPreType*> PreTypeOf(const GgufModel& model) {
  FM_ASSIGN_OR_RETURN(const auto name, model.String(kPre));
  const GgufPreType* type = FindGgufPreType(name.value_or("default"));
  if (type == nullptr) return model.Wrong(kPre, fmt::format("known: {}", GgufPreTypeNames()));
  return type;
}

json PreTokenizerJson(const GgufPreType& type) {
  json steps = json::array();
  for (const std::string_view pattern : type.patterns) {
    steps.push_back({{"type", "Split"},
                     {"pattern", {{"Regex", pattern}}},
                     {"behavior", "Isolated"},
                     {"invert", false}});
  }
  steps.push_back({{"type", "ByteLevel"},
                   {"add_prefix_space", false},
                   {"trim_offsets", true},
                   {"use_regex", false}});
  return {{"type", "Sequence"}, {"pretokenizers", std::move(steps)}};
}

absl::StatusOr<json> ByteLevelJson(const GgufModel& model) {
  FM_ASSIGN_OR_RETURN(const GgufPreType* type, PreTypeOf(model));
  FM_ASSIGN_OR_RETURN(const auto merges, model.Strings(kMerges));
  if (!merges) return model.Wrong(kMerges, "a byte-level tokenizer needs it");
  json list = json::array();
  for (size_t i = 0; i < merges->size(); ++i) {
    if (!IsUtf8((*merges)[i])) {
      return model.Wrong(kMerges, fmt::format("merge {} is not UTF-8", i));
    }
    list.push_back((*merges)[i]);
  }
  json root;
  root["normalizer"] = type->nfc ? json{{"type", "NFC"}} : json();
  root["pre_tokenizer"] = PreTokenizerJson(*type);
  root["decoder"] = {{"type", "ByteLevel"},
                     {"add_prefix_space", true},
                     {"trim_offsets", true},
                     {"use_regex", true}};
  root["model"] = {
      {"type", "BPE"}, {"ignore_merges", type->ignore_merges}, {"merges", std::move(list)}};
  return root;
}

struct Merge {
  double score;
  std::string_view left;
  std::string_view right;
};

// Every way to cut a token into two tokens is a merge; better scores first, and among equal ones as
// generate_merges of Transformers' convert_slow_tokenizer.py orders them: the longer left part, the
// longer right part (in characters), then the token's place in the vocabulary and the ids of its
// parts. Special tokens, and single bytes in the form <0x0A>, are no parts.
std::vector<Merge> MergesOfScores(const GgufVocabulary& vocabulary,
                                  const std::vector<double>& scores) {
  absl::flat_hash_map<std::string_view, size_t, std::hash<std::string_view>,
                      std::equal_to<std::string_view>>
      ids;
  const auto takes_part = [&](size_t i) {
    return vocabulary.types[i] == kNormal || vocabulary.types[i] == kUserDefined ||
           vocabulary.types[i] == kUnused || vocabulary.types[i] == 0;
  };
  for (size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    if (takes_part(i)) ids.emplace(vocabulary.tokens[i], i);
  }
  const auto characters = [](std::string_view text) {
    return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; });
  };
  std::vector<Merge> merges;
  for (size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    if (!takes_part(i)) continue;
    const std::string_view token = vocabulary.tokens[i];
    std::vector<std::tuple<size_t, size_t, Merge>> cuts;
    for (size_t at = 1; at < token.size(); ++at) {
      const auto left = ids.find(token.substr(0, at));
      if (left == ids.end()) continue;
      const auto right = ids.find(token.substr(at));
      if (right == ids.end()) continue;
      cuts.emplace_back(left->second, right->second, Merge{scores[i], left->first, right->first});
    }
    std::sort(cuts.begin(), cuts.end(), [](const auto& a, const auto& b) {
      return std::tie(std::get<0>(a), std::get<1>(a)) < std::tie(std::get<0>(b), std::get<1>(b));
    });
    for (const auto& [left, right, merge] : cuts) merges.push_back(merge);
  }
  std::stable_sort(merges.begin(), merges.end(), [&](const Merge& a, const Merge& b) {
    if (a.score != b.score) return a.score > b.score;
    const auto left = std::pair(characters(a.left), characters(b.left));
    if (left.first != left.second) return left.first > left.second;
    return characters(a.right) > characters(b.right);
  });
  return merges;
}

// The id of a special token; -1: there is none. `absent`: that of a file that has no such key.
absl::StatusOr<int64_t> IdOf(const GgufModel& model, std::string_view kind,
                             const GgufVocabulary& vocabulary, int64_t absent = -1) {
  const std::string key = fmt::format("tokenizer.ggml.{}_token_id", kind);
  FM_ASSIGN_OR_RETURN(const auto id, model.Int(key, {0, UINT32_MAX}));
  const auto tokens = static_cast<int64_t>(vocabulary.tokens.size());
  if (!id) return absent < tokens ? absent : -1;
  if (*id == UINT32_MAX) return -1;
  if (*id >= tokens) return model.Wrong(key, fmt::format("there are {} tokens", tokens));
  return *id;
}

absl::StatusOr<std::optional<std::string>> TokenOf(const GgufModel& model, std::string_view kind,
                                                   const GgufVocabulary& vocabulary,
                                                   int64_t absent = -1) {
  FM_ASSIGN_OR_RETURN(const int64_t id, IdOf(model, kind, vocabulary, absent));
  if (id < 0) return std::optional<std::string>();
  return std::optional<std::string>(vocabulary.tokens[static_cast<size_t>(id)]);
}

// The text of the unknown token: the key, or the token of that type.
absl::StatusOr<std::optional<std::string>> UnknownToken(const GgufModel& model,
                                                        const GgufVocabulary& vocabulary) {
  FM_ASSIGN_OR_RETURN(auto token, TokenOf(model, "unknown", vocabulary));
  const auto typed = std::find(vocabulary.types.begin(), vocabulary.types.end(), kUnknown);
  if (token || typed == vocabulary.types.end()) return token;
  return std::optional<std::string>(
      vocabulary.tokens[static_cast<size_t>(typed - vocabulary.types.begin())]);
}

absl::StatusOr<json> SentencePieceJson(const GgufModel& model, const GgufVocabulary& vocabulary) {
  FM_ASSIGN_OR_RETURN(const auto scores, model.Numbers(kScores));
  if (!scores || scores->size() != vocabulary.tokens.size()) {
    return model.Wrong(kScores, fmt::format("a SentencePiece tokenizer needs one for each of its "
                                            "{} tokens",
                                            vocabulary.tokens.size()));
  }
  FM_ASSIGN_OR_RETURN(const auto prefix, model.Bool("tokenizer.ggml.add_space_prefix"));
  const bool prepend = prefix.value_or(true);
  json merges = json::array();
  for (const Merge& merge : MergesOfScores(vocabulary, *scores)) {
    merges.push_back({merge.left, merge.right});
  }
  json normalizers = json::array();
  if (prepend) normalizers.push_back({{"type", "Prepend"}, {"prepend", kSpace}});
  normalizers.push_back({{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kSpace}});
  json decoders = json::array();
  decoders.push_back({{"type", "Replace"}, {"pattern", {{"String", kSpace}}}, {"content", " "}});
  decoders.push_back({{"type", "ByteFallback"}});
  decoders.push_back({{"type", "Fuse"}});
  if (prepend) {
    decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  FM_ASSIGN_OR_RETURN(const auto unknown, UnknownToken(model, vocabulary));
  json root;
  root["normalizer"] = {{"type", "Sequence"}, {"normalizers", std::move(normalizers)}};
  root["pre_tokenizer"] = json();
  root["decoder"] = {{"type", "Sequence"}, {"decoders", std::move(decoders)}};
  root["model"] = {{"type", "BPE"},
                   {"fuse_unk", true},
                   {"byte_fallback", true},
                   {"unk_token", unknown ? json(*unknown) : json()},
                   {"merges", std::move(merges)}};
  return root;
}

absl::StatusOr<Kind> KindOf(const GgufModel& model) {
  FM_ASSIGN_OR_RETURN(const auto kind, model.String(kModel));
  if (!kind)
    return NotFound("{}: key '{}' is missing: the file has no tokenizer", model.path(), kModel);
  if (*kind == "none" || *kind == "no_vocab") {
    return NotFound("{}: the file has no tokenizer ('{}' is \"{}\")", model.path(), kModel, *kind);
  }
  if (*kind == "gpt2") return Kind::kByteLevel;
  if (*kind == "llama") return Kind::kSentencePiece;
  if (*kind == "t5") return Kind::kUnigram;
  return model.Wrong(kModel, "known: gpt2 (byte-level BPE), llama (SentencePiece), t5 (unigram)");
}

absl::StatusOr<json> RootOf(const GgufModel& model, Kind kind, const GgufVocabulary& vocabulary) {
  json ids = VocabularyJson(vocabulary);
  FM_RETURN_IF_ERROR(CheckTwins(model, vocabulary, ids));
  if (kind == Kind::kUnigram) {
    FM_ASSIGN_OR_RETURN(const int64_t unknown, IdOf(model, "unknown", vocabulary, kUnigramUnknown));
    return UnigramJson(model, vocabulary, unknown);
  }
  FM_ASSIGN_OR_RETURN(json root, kind == Kind::kSentencePiece ? SentencePieceJson(model, vocabulary)
                                                              : ByteLevelJson(model));
  root["model"]["vocab"] = std::move(ids);
  return root;
}

// The template's text, or a list of {name, template} when there are others beside it.
absl::StatusOr<json> TemplatesJson(const GgufModel& model) {
  FM_ASSIGN_OR_RETURN(const auto standard, model.String("tokenizer.chat_template"));
  FM_ASSIGN_OR_RETURN(const auto names, model.Strings("tokenizer.chat_templates"));
  if (!names) return standard ? json(*standard) : json();
  json list = json::array();
  if (standard) list.push_back({{"name", "default"}, {"template", *standard}});
  for (const std::string_view name : *names) {
    FM_ASSIGN_OR_RETURN(const auto text,
                        model.String(fmt::format("tokenizer.chat_template.{}", name)));
    if (text) list.push_back({{"name", name}, {"template", *text}});
  }
  return list;
}

}  // namespace

absl::StatusOr<std::string> GgufTokenizerJson(const GgufModel& model) {
  FM_ASSIGN_OR_RETURN(const Kind kind, KindOf(model));
  FM_ASSIGN_OR_RETURN(const GgufVocabulary vocabulary, ReadVocabulary(model));
  FM_ASSIGN_OR_RETURN(json root, RootOf(model, kind, vocabulary));
  root["added_tokens"] = AddedTokensJson(vocabulary);
  return root.dump();
}

absl::StatusOr<std::string> GgufTokenizerConfig(const GgufModel& model) {
  FM_ASSIGN_OR_RETURN(const Kind kind, KindOf(model));
  FM_ASSIGN_OR_RETURN(const GgufVocabulary vocabulary, ReadVocabulary(model));
  json config = json::object();
  struct Named {
    std::string_view key;
    const char* name;
    int64_t of_unigram;  // where the key is absent
  };
  constexpr std::array<Named, 3> kNamed = {{{"bos", "bos_token", -1},
                                            {"eos", "eos_token", kUnigramEos},
                                            {"padding", "pad_token", kUnigramPad}}};
  const bool unigram = kind == Kind::kUnigram;
  for (const Named& named : kNamed) {
    FM_ASSIGN_OR_RETURN(const auto token,
                        TokenOf(model, named.key, vocabulary, unigram ? named.of_unigram : -1));
    if (token) config[named.name] = *token;
  }
  FM_ASSIGN_OR_RETURN(const auto unknown, UnknownToken(model, vocabulary));
  if (unknown) config["unk_token"] = *unknown;
  bool add_bos = kind == Kind::kSentencePiece;
  if (kind == Kind::kByteLevel) {
    FM_ASSIGN_OR_RETURN(const GgufPreType* type, PreTypeOf(model));
    add_bos = type->add_bos;
  }
  FM_ASSIGN_OR_RETURN(const auto wants_bos, model.Bool("tokenizer.ggml.add_bos_token"));
  FM_ASSIGN_OR_RETURN(const auto wants_eos, model.Bool("tokenizer.ggml.add_eos_token"));
  config["add_bos_token"] = wants_bos.value_or(add_bos);
  config["add_eos_token"] = wants_eos.value_or(unigram);
  FM_ASSIGN_OR_RETURN(json templates, TemplatesJson(model));
  if (!templates.is_null()) config["chat_template"] = std::move(templates);
  return config.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace folkmoot
