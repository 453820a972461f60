// SPDX-License-Identifier: Apache-2.0
// Tokenizers of GGUF files (tests/data/gguf/tokenizers, written by tools/make_gguf_goldens.py)
// against the ids and texts of the `tokenizers` package.
#include "runtime/tokenizer/gguf_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "runtime/jinja/chat_template.h"
#include "runtime/tokenizer/tokenizer.h"
#include "tests/runtime/checkpoint/gguf_bytes.h"

namespace folkmoot {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

const std::string kData = FOLKMOOT_TEST_DATA "/gguf/tokenizers/";
const std::string kDirectories = FOLKMOOT_TEST_DATA "/tokenizers/";

std::vector<json> Records(const std::string& path) {
  std::vector<json> records;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) records.push_back(json::parse(line));
  EXPECT_GE(records.size(), 100u);
  return records;
}

void ExpectIds(const Tokenizer& tokenizer, const json& record) {
  const auto ids = tokenizer.Encode(record["input"].get<std::string>());
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(json(*ids), record["ids"]) << record["input"];
}

void ExpectText(const Tokenizer& tokenizer, const json& record) {
  const auto ids = record["ids"].get<std::vector<int32_t>>();
  const json& text = record.contains("text") ? record["text"] : record["input"];
  EXPECT_EQ(json(tokenizer.Decode(ids, false)), text) << record["ids"];
}

class SameAsDirectory : public testing::TestWithParam<std::string> {};

TEST_P(SameAsDirectory, IdsAndTexts) {
  const auto tokenizer = Tokenizer::OfModel(kData + GetParam() + ".gguf");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  for (const json& record : Records(kDirectories + GetParam() + ".golden.jsonl")) {
    if (record.contains("input")) ExpectIds(**tokenizer, record);
    ExpectText(**tokenizer, record);
  }
}

INSTANTIATE_TEST_SUITE_P(Tokenizers, SameAsDirectory,
                         testing::Values("llama3_style", "qwen2_style", "demo", "t5_style"),
                         [](const auto& param) { return param.param; });

TEST(GgufTokenizer, SentencePieceScoresBecomeMerges) {
  const auto tokenizer = Tokenizer::OfModel(kData + "sentencepiece.gguf");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  for (const json& record : Records(kData + "sentencepiece.jsonl")) {
    ExpectIds(**tokenizer, record);
    ExpectText(**tokenizer, record);
  }
  EXPECT_EQ((*tokenizer)->bos_id(), 1);
  EXPECT_EQ((*tokenizer)->eos_id(), 2);
  EXPECT_TRUE((*tokenizer)->IsSpecial(0));
}

TEST(GgufTokenizer, KnowsTheDemoModelsSpecialTokensAndTemplate) {
  const auto tokenizer = Tokenizer::OfModel(kData + "demo.gguf");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->bos_id(), std::nullopt);
  EXPECT_EQ((*tokenizer)->eos_id(), 0);
  EXPECT_EQ((*tokenizer)->pad_id(), 0);
  const auto own = LoadChatTemplates(FOLKMOOT_SOURCE_DIR "/models/demo-kjv");
  const auto templates = LoadChatTemplates(kData + "demo.gguf");
  ASSERT_TRUE(own.ok()) << own.status();
  ASSERT_TRUE(templates.ok()) << templates.status();
  EXPECT_EQ(templates->standard->source(), own->standard->source());
  EXPECT_EQ(LoadChatTemplates(kData + "qwen2_style.gguf").status().code(),
            absl::StatusCode::kNotFound);
}

class GgufTokenizerFile : public testing::Test {
 protected:
  GgufTokenizerFile()
      : path_(fs::path(testing::TempDir()) /
              fmt::format("{}.gguf",
                          testing::UnitTest::GetInstance()->current_test_info()->name())) {}
  ~GgufTokenizerFile() override { fs::remove(path_); }

  absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const std::string& bytes) const {
    std::ofstream(path_, std::ios::binary) << bytes;
    return Tokenizer::OfModel(path_.string());
  }
  std::string ErrorOf(const GgufBytes& file) const {
    const auto tokenizer = Load(file.Bytes());
    EXPECT_FALSE(tokenizer.ok());
    return tokenizer.ok() ? "" : std::string(Message(tokenizer.status()));
  }

  fs::path path_;
};

// llama3_style.gguf with another value of tokenizer.ggml.pre.
std::string WithPre(const std::string& pre) {
  std::ifstream file(kData + "llama3_style.gguf", std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(file), {}};
  // There is no data; behind the keys there is only padding.
  bytes.resize(ParseGguf("", std::as_bytes(std::span(bytes)))->header_bytes);
  const std::string key = "tokenizer.ggml.pre";
  const size_t value = bytes.find(key) + key.size() + 4;
  bytes.replace(value, 8 + std::string("llama-bpe").size(), GgufString(pre));
  bytes.resize((bytes.size() + 31) / 32 * 32);
  return bytes;
}

TEST_F(GgufTokenizerFile, CutsWordsAsPreSays) {
  std::string pre;
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer;
  std::vector<std::string> seen;
  for (const json& record : Records(kData + "pre_types.jsonl")) {
    if (record["pre"] != pre) {
      pre = record["pre"];
      seen.push_back(pre);
      tokenizer = Load(WithPre(pre));
      ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    }
    // tekken puts its begin token in front, which the reference left away.
    const auto ids =
        (*tokenizer)->Encode(record["input"].get<std::string>(), {.add_special_tokens = false});
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(json(*ids), record["ids"]) << pre << ": " << record["input"];
  }
  EXPECT_EQ(seen.size(), 5u);
}

GgufBytes ByteLevel() {
  GgufBytes file;
  file.String("general.architecture", "llama").String("tokenizer.ggml.model", "gpt2");
  return file;
}

TEST_F(GgufTokenizerFile, RefusesByKey) {
  GgufBytes none;
  none.String("general.architecture", "llama");
  EXPECT_THAT(ErrorOf(none), HasSubstr("'tokenizer.ggml.model' is missing"));
  EXPECT_EQ(Load(none.Bytes()).status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(ErrorOf(GgufBytes()
                          .String("general.architecture", "llama")
                          .String("tokenizer.ggml.model", "bert")),
              AllOf(HasSubstr("'tokenizer.ggml.model' is \"bert\""), HasSubstr("gpt2")));
  EXPECT_THAT(ErrorOf(ByteLevel()), HasSubstr("'tokenizer.ggml.tokens' is missing"));
  EXPECT_THAT(ErrorOf(ByteLevel().Strings("tokenizer.ggml.tokens", {"a", "b"})),
              HasSubstr("'tokenizer.ggml.merges' is missing"));
  const auto merged = [] {
    return ByteLevel()
        .Strings("tokenizer.ggml.tokens", {"a", "b"})
        .Strings("tokenizer.ggml.merges", {});
  };
  EXPECT_TRUE(Load(merged().Bytes()).ok());
  EXPECT_THAT(ErrorOf(merged().String("tokenizer.ggml.pre", "kimi-k2")),
              AllOf(HasSubstr("'tokenizer.ggml.pre' is \"kimi-k2\""), HasSubstr("qwen2")));
  EXPECT_THAT(ErrorOf(merged().Ints("tokenizer.ggml.token_type", {1})),
              AllOf(HasSubstr("'tokenizer.ggml.token_type'"), HasSubstr("2 tokens")));
  EXPECT_THAT(ErrorOf(merged().Ints("tokenizer.ggml.token_type", {1, 7})),
              AllOf(HasSubstr("'tokenizer.ggml.token_type'"), HasSubstr("element 1")));
  EXPECT_THAT(ErrorOf(merged().Int("tokenizer.ggml.bos_token_id", 2)),
              HasSubstr("'tokenizer.ggml.bos_token_id' is 2"));
  EXPECT_THAT(ErrorOf(ByteLevel()
                          .Strings("tokenizer.ggml.tokens", {"a", "b", "a"})
                          .Strings("tokenizer.ggml.merges", {})),
              HasSubstr("tokens 0 and 2 are both \"a\""));
  EXPECT_THAT(ErrorOf(ByteLevel()
                          .Strings("tokenizer.ggml.tokens", {"a", "\xff"})
                          .Strings("tokenizer.ggml.merges", {})),
              HasSubstr("token 1 is not UTF-8"));
  EXPECT_THAT(ErrorOf(ByteLevel()
                          .Strings("tokenizer.ggml.tokens", {"a", "b"})
                          .Strings("tokenizer.ggml.merges", {"a c"})),
              HasSubstr("\"c\" is not in the vocabulary"));
  GgufBytes pieces;
  pieces.String("general.architecture", "llama").String("tokenizer.ggml.model", "llama");
  pieces.Strings("tokenizer.ggml.tokens", {"a", "b"}).Floats("tokenizer.ggml.scores", {1.0f});
  EXPECT_THAT(ErrorOf(pieces), AllOf(HasSubstr("'tokenizer.ggml.scores'"), HasSubstr("2 tokens")));
}

GgufBytes Unigram(const std::vector<std::string>& tokens = {"<pad>", "</s>", "<unk>", "\u2581a"},
                  const std::vector<float>& scores = {0, 0, 0, -2}) {
  GgufBytes file;
  file.String("general.architecture", "t5").String("tokenizer.ggml.model", "t5");
  file.Strings("tokenizer.ggml.tokens", tokens).Floats("tokenizer.ggml.scores", scores);
  return file;
}

TEST_F(GgufTokenizerFile, UnigramModelsHaveTheTokensOfT5) {
  auto file = Unigram().Bool("tokenizer.ggml.remove_extra_whitespaces", true);
  const auto tokenizer = Load(file.Bytes());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->pad_id(), 0);
  EXPECT_EQ((*tokenizer)->eos_id(), 1);
  EXPECT_EQ((*tokenizer)->bos_id(), std::nullopt);
  const auto ids = (*tokenizer)->Encode("a  a b");
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(*ids, (std::vector<int32_t>{3, 3, 2, 1}));
}

// Their scores, below all others, would make unknown characters less likely than they are.
TEST_F(GgufTokenizerFile, UnusedTokensBehindAllOthersAreNone) {
  // "ab" and "c", or an unknown "a" and "bc": -8 - 8 beside -3 - 10 - 2.5.
  const auto file = [] {
    return Unigram({"<pad>", "</s>", "<unk>", "\u2581", "ab", "c", "bc", "[PAD7]"},
                   {-7, -7, -7, -3, -8, -8, 5.5, -10000})
        .Bool("tokenizer.ggml.remove_extra_whitespaces", true);
  };
  const auto filled =
      Load(file().Ints("tokenizer.ggml.token_type", {3, 3, 2, 1, 1, 1, 1, 5}).Bytes());
  ASSERT_TRUE(filled.ok()) << filled.status();
  EXPECT_EQ(*(*filled)->Encode("abc"), (std::vector<int32_t>{3, 2, 6, 1}));
  const auto normal =
      Load(file().Ints("tokenizer.ggml.token_type", {3, 3, 2, 1, 1, 1, 1, 1}).Bytes());
  ASSERT_TRUE(normal.ok()) << normal.status();
  EXPECT_EQ(*(*normal)->Encode("abc"), (std::vector<int32_t>{3, 4, 5, 1}));
}

TEST_F(GgufTokenizerFile, RefusesUnigramModelsByKey) {
  const auto t5 = [] { return Unigram().Bool("tokenizer.ggml.remove_extra_whitespaces", true); };
  EXPECT_TRUE(Load(t5().Bytes()).ok());
  EXPECT_THAT(ErrorOf(Unigram()), AllOf(HasSubstr("'tokenizer.ggml.remove_extra_whitespaces'"),
                                        HasSubstr("one space")));
  EXPECT_THAT(ErrorOf(t5().Bool("tokenizer.ggml.add_space_prefix", false)),
              HasSubstr("'tokenizer.ggml.add_space_prefix' is false"));
  EXPECT_THAT(ErrorOf(t5().Ints("tokenizer.ggml.precompiled_charsmap", {1, 2, 3})),
              AllOf(HasSubstr("'tokenizer.ggml.precompiled_charsmap'"), HasSubstr("no trie")));
  EXPECT_THAT(ErrorOf(t5().Ints("tokenizer.ggml.precompiled_charsmap", {300})),
              AllOf(HasSubstr("'tokenizer.ggml.precompiled_charsmap'"), HasSubstr("element 0")));
  EXPECT_THAT(ErrorOf(Unigram({"<pad>", "</s>", "<unk>", "a"}, {0, 0, 0})
                          .Bool("tokenizer.ggml.remove_extra_whitespaces", true)),
              AllOf(HasSubstr("'tokenizer.ggml.scores'"), HasSubstr("4 tokens")));
  EXPECT_THAT(ErrorOf(Unigram({"<pad>", "</s>", "<unk>", ""}, {0, 0, 0, -1})
                          .Bool("tokenizer.ggml.remove_extra_whitespaces", true)),
              HasSubstr("token 3 of a unigram tokenizer is empty"));
  EXPECT_THAT(ErrorOf(t5().Int("tokenizer.ggml.unknown_token_id", 9)),
              HasSubstr("'tokenizer.ggml.unknown_token_id' is 9"));
}

}  // namespace
}  // namespace folkmoot
