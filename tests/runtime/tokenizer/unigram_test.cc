// SPDX-License-Identifier: Apache-2.0
// Unigram models: the best of all ways to cut a text, what unknown characters become, bad models
// and bad charsmaps. Whole tokenizers are in golden_test.cc.
#include <absl/strings/escaping.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "runtime/tokenizer/tokenizer.h"
#include "runtime/tokenizer/unigram_model.h"

namespace folkmoot {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

using Ids = std::vector<int32_t>;

std::string Unigram(const std::string& vocab, const std::string& more = "") {
  return R"({"type":"Unigram","vocab":[)" + vocab + "]" + more + "}";
}

absl::StatusOr<Ids> EncodeWith(const std::string& model, std::string_view text) {
  FM_ASSIGN_OR_RETURN(const auto tokenizer,
                      Tokenizer::FromJson(R"({"model":)" + model + "}", "dir/tokenizer.json"));
  return tokenizer->Encode(text);
}

Ids UnigramIds(const std::string& model, std::string_view text) {
  const auto ids = EncodeWith(model, text);
  EXPECT_TRUE(ids.ok()) << Message(ids.status());
  return ids.value_or(Ids());
}

std::string RefusalOf(const std::string& model, std::string_view text = "") {
  const auto ids = EncodeWith(model, text);
  EXPECT_FALSE(ids.ok()) << model;
  return std::string(Message(ids.status()));
}

struct Piece {
  std::string text;
  double score;
};

// The largest sum over all ways to cut `text` into pieces.
double BestSum(const std::vector<Piece>& pieces, std::string_view text) {
  double best = text.empty() ? 0 : -1e9;
  for (const Piece& piece : pieces) {
    if (text.starts_with(piece.text)) {
      best = std::max(best, piece.score + BestSum(pieces, text.substr(piece.text.size())));
    }
  }
  return best;
}

TEST(Unigram, FindsTheWayWithTheLargestSum) {
  std::mt19937 random(5);
  for (int round = 0; round < 200; ++round) {
    std::vector<Piece> pieces{{"a", 0}, {"b", 0}};
    for (const char* text : {"aa", "ab", "ba", "bb", "aab", "bab", "abba"})
      pieces.push_back({text, 0});
    std::string vocab = R"(["<unk>",0])";
    for (Piece& piece : pieces) {
      piece.score = -static_cast<double>(random() % 64) / 8;  // sums are exact
      vocab += fmt::format(R"(,["{}",{}])", piece.text, piece.score);
    }
    std::string text;
    for (int i = 0; i < 9; ++i) text += random() % 2 == 0 ? 'a' : 'b';
    double sum = 0;
    std::string joined;
    for (const int32_t id : UnigramIds(Unigram(vocab, R"(,"unk_id":0)"), text)) {
      ASSERT_GT(id, 0);
      const Piece& piece = pieces[static_cast<size_t>(id) - 1];
      sum += piece.score;
      joined += piece.text;
    }
    EXPECT_EQ(joined, text);
    EXPECT_EQ(sum, BestSum(pieces, text)) << vocab << " of " << text;
  }
}

TEST(Unigram, OfEqualSumsTheLongerLastTokenCounts) {
  const std::string vocab = R"(["a",-1],["aa",-2],["aaa",-3])";
  EXPECT_THAT(UnigramIds(Unigram(vocab), "aaa"), ElementsAre(2));
  EXPECT_THAT(UnigramIds(Unigram(R"(["a",-1],["aa",-1.5])"), "aaa"), ElementsAre(0, 1));
}

TEST(Unigram, UnknownNeighboursAreOneToken) {
  const std::string vocab = R"(["a",-1],["<unk>",0])";
  const std::string unk = R"(,"unk_id":1)";
  EXPECT_THAT(UnigramIds(Unigram(vocab, unk), "a\u00e9\u65e5a\u00e9"), ElementsAre(0, 1, 0, 1));
  // Written out it is the token itself, and joins what is unknown beside it.
  EXPECT_THAT(UnigramIds(Unigram(vocab, unk), "a<unk>\u00e9"), ElementsAre(0, 1));
  // What is unknown letter by letter may be known together, though less likely.
  const std::string rare = vocab + R"(,["\u00e9\u00e9",-100])";
  EXPECT_THAT(UnigramIds(Unigram(rare, unk), "a\u00e9\u00e9"), ElementsAre(0, 2));
}

TEST(Unigram, BytesOfUnknownCharacters) {
  const std::string vocab = R"(["a",-1],["<unk>",0],["<0xC3>",0],["<0xA9>",0])";
  const std::string options = R"(,"unk_id":1,"byte_fallback":true)";
  EXPECT_THAT(UnigramIds(Unigram(vocab, options), "a\u00e9a"), ElementsAre(0, 2, 3, 0));
  EXPECT_THAT(UnigramIds(Unigram(vocab, options), "\u00e9\u65e5"),
              ElementsAre(1));  // not all are there
}

TEST(Unigram, ATokenThatIsThereTwiceHasTheLastId) {
  const std::string vocab = R"(["a",-1],["b",-1],["a",-5])";
  EXPECT_THAT(UnigramIds(Unigram(vocab), "ab"), ElementsAre(2, 1));
}

TEST(Unigram, BadModels) {
  EXPECT_THAT(RefusalOf(Unigram("")), HasSubstr("dir/tokenizer.json: $.model.vocab: is empty"));
  EXPECT_THAT(RefusalOf(R"({"type":"Unigram"})"), HasSubstr("\"vocab\" is missing"));
  EXPECT_THAT(RefusalOf(R"({"type":"Unigram","vocab":{"a":0}})"), HasSubstr("[token, score]"));
  for (const char* token : {R"("b")", R"(["b"])", R"(["b",0,0])", R"([0,"b"])", R"(["b","0"])"}) {
    EXPECT_THAT(RefusalOf(Unigram(std::string(R"(["a",0],)") + token)),
                HasSubstr("token 1 must be"));
  }
  EXPECT_THAT(RefusalOf(Unigram(R"(["",0])")), HasSubstr("id 0 has an empty token"));
  const std::string a = R"(["a",0])";
  EXPECT_THAT(RefusalOf(Unigram(a, R"(,"unk_id":1)")),
              AllOf(HasSubstr("\"unk_id\" is 1"), HasSubstr("0 to 0")));
  EXPECT_THAT(RefusalOf(Unigram(a, R"(,"unk_id":-1)")), HasSubstr("\"unk_id\" is -1"));
  EXPECT_THAT(RefusalOf(Unigram(a, R"(,"alpha":0.1)")), HasSubstr("sampling"));
  EXPECT_THAT(RefusalOf(Unigram(a, R"(,"surprise":1)")), HasSubstr("unknown key \"surprise\""));
  EXPECT_THAT(RefusalOf(Unigram(a), "ab"), AllOf(HasSubstr("\"b\""), HasSubstr("\"unk_id\"")));
}

std::string WithCharsmap(const std::string& bytes) {
  return fmt::format(R"({{"model":{{"type":"BPE","vocab":{{"a":0,"b":1}},"merges":[]}},)"
                     R"("normalizer":{{"type":"Precompiled","precompiled_charsmap":"{}"}}}})",
                     absl::Base64Escape(bytes));
}

std::string Words(const std::vector<uint32_t>& words) {
  std::string bytes(words.size() * sizeof(uint32_t), '\0');
  std::memcpy(bytes.data(), words.data(), bytes.size());
  return bytes;
}

// A trie that has the key "a": the root's children are at unit 0 ^ byte, the value of "a" is unit
// 0x61 ^ 1.
std::string TrieOfA(uint32_t value) {
  std::vector<uint32_t> units(0x62);
  units[0x61] = 1u << 10 | 0x100 | 0x61;
  units[0x60] = value;
  return Words({static_cast<uint32_t>(units.size() * sizeof(uint32_t))}) + Words(units);
}

TEST(Charsmap, ReplacesAKeyByTheTextThatItPointsTo) {
  const std::string texts("bb\0b", 4);
  const std::pair<uint32_t, Ids> cases[] = {{0, {1, 1}}, {1, {1}}, {2, {}}, {3, {1}}, {4, {}}};
  for (const auto& [value, ids] : cases) {
    const auto tokenizer = Tokenizer::FromJson(WithCharsmap(TrieOfA(value) + texts), "x");
    ASSERT_TRUE(tokenizer.ok()) << Message(tokenizer.status());
    EXPECT_EQ(*(*tokenizer)->Encode("a"), ids) << value;
  }
}

TEST(Charsmap, BadOnesAreRefused) {
  const auto error_of = [](const std::string& bytes) {
    const auto tokenizer = Tokenizer::FromJson(WithCharsmap(bytes), "dir/tokenizer.json");
    EXPECT_FALSE(tokenizer.ok());
    return std::string(Message(tokenizer.status()));
  };
  EXPECT_THAT(error_of(""),
              HasSubstr("dir/tokenizer.json: $.normalizer: the charsmap has no trie"));
  EXPECT_THAT(error_of(Words({0})), HasSubstr("have 0 bytes"));
  EXPECT_THAT(error_of(Words({8, 1})), HasSubstr("have 8 bytes"));
  EXPECT_THAT(error_of(Words({6, 1, 1})), HasSubstr("have 6 bytes"));
  EXPECT_THAT(error_of(TrieOfA(0) + "\xff"), HasSubstr("not UTF-8"));
  EXPECT_THAT(error_of(TrieOfA(3) + "bb"), HasSubstr("at byte 3"));
  EXPECT_THAT(error_of(TrieOfA(1) + "\u00e9"), HasSubstr("at byte 1"));
  std::string outside = TrieOfA(0);
  const uint32_t unit = 0x1FFFFFu << 10 | 0x100 | 0x61;
  std::memcpy(outside.data() + 0x62 * sizeof(unit), &unit, sizeof(unit));
  EXPECT_THAT(error_of(outside), HasSubstr("leads to unit"));
  const auto no_base64 = Tokenizer::FromJson(
      R"({"model":{"vocab":{"a":0},"merges":[]},"normalizer":{"type":"Precompiled","precompiled_charsmap":"?"}})",
      "x");
  EXPECT_THAT(std::string(Message(no_base64.status())), HasSubstr("not Base64"));
}

}  // namespace
}  // namespace folkmoot
