// SPDX-License-Identifier: Apache-2.0
// Properties of the whole engine: size, threads, options, tokenizer_config.json.
#include "runtime/tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "runtime/tokenizer/bpe_model.h"
#include "runtime/tokenizer/incremental_decoder.h"
#include "runtime/tokenizer/tokenizer_json.h"
#include "runtime/tokenizer/utf8.h"

namespace folkmoot {
namespace {

std::unique_ptr<Tokenizer> LoadData(const std::string& name) {
  auto tokenizer = Tokenizer::Load(FOLKMOOT_TEST_DATA "/tokenizers/" + name + ".json");
  EXPECT_TRUE(tokenizer.ok()) << Message(tokenizer.status());
  return *std::move(tokenizer);
}

std::vector<int32_t> Encode(const Tokenizer& tokenizer, std::string_view text,
                            const Tokenizer::EncodeOptions& options = {}) {
  const auto ids = tokenizer.Encode(text, options);
  EXPECT_TRUE(ids.ok()) << Message(ids.status());
  return ids.ok() ? *ids : std::vector<int32_t>();
}

// a, aa, aaaa, ... up to 2^10 letters.
constexpr int kDoublings = 10;
std::string DoublingModel() {
  std::string vocab, merges, token = "a";
  for (int i = 0; i <= kDoublings; ++i) {
    vocab += fmt::format("{}\"{}\":{}", i == 0 ? "" : ",", token, i);
    if (i < kDoublings) merges += fmt::format("{}[\"{}\",\"{}\"]", i == 0 ? "" : ",", token, token);
    token += token;
  }
  return fmt::format(R"({{"type":"BPE","vocab":{{{}}},"merges":[{}]}})", vocab, merges);
}

TEST(Tokenizer, MegabyteOfOneLetterMergesInLinearithmicTime) {
  const auto document = JsonDocument::Parse(DoublingModel(), "doubling");
  ASSERT_TRUE(document.ok());
  const auto model = BpeModel::Parse((*document)->root());
  ASSERT_TRUE(model.ok()) << Message(model.status());
  const size_t size = (size_t{1} << 20) + 5;
  TokenModel::Scratch scratch;
  std::vector<int32_t> ids;
  ASSERT_TRUE((*model)->Encode(std::string(size, 'a'), &scratch, &ids).ok());
  std::vector<int32_t> expected(1 << 10, kDoublings);
  expected.push_back(2);  // aaaa
  expected.push_back(0);
  EXPECT_EQ(ids, expected);
  // Each merge puts at most two candidates on the heap, and there are fewer merges than letters.
  EXPECT_LT(scratch.merge_steps, static_cast<int64_t>(3 * size));
}

TEST(Tokenizer, MegabyteOfOneLetterEncodesFast) {
  const auto tokenizer = LoadData("llama3_style");
  const auto start = std::chrono::steady_clock::now();
  const auto ids = Encode(*tokenizer, std::string(1 << 20, 'a'));
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  EXPECT_GT(ids.size(), 1u << 17);
  EXPECT_LT(seconds.count(), 5.0);  // far below a second on a free machine; n^2 would take hours
}

TEST(Tokenizer, LongRunsRoundTripInEveryStyle) {
  for (const char* name :
       {"gpt2_style", "llama3_style", "qwen2_style", "deepseek_style", "llama2_style"}) {
    const auto tokenizer = LoadData(name);
    for (const char* unit : {"a", " ", "\n", "7", "\xE6\x97\xA5", "!"}) {
      std::string text;
      while (text.size() < (1 << 17)) text += unit;
      const auto ids = Encode(*tokenizer, text);
      const std::string decoded = tokenizer->Decode(ids, true);
      // gpt2_style puts a space in front of a text that has none.
      EXPECT_TRUE(decoded == text || decoded == " " + text) << name << " of '" << unit << "'";
    }
  }
}

TEST(Tokenizer, ThreadsShareOneTokenizer) {
  const auto tokenizer = LoadData("deepseek_style");
  const std::string text =
      "Eight experts vote, 12345 answer; \xE4\xB8\x93\xE5\xAE\xB6 it's <s> done.\n";
  const auto expected = Encode(*tokenizer, text);
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        const auto ids = tokenizer->Encode(text);
        if (!ids.ok() || *ids != expected || tokenizer->Decode(*ids, true) != text) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(Tokenizer, InvalidUtf8CountsAsReplacementCharacters) {
  const auto tokenizer = LoadData("qwen2_style");
  EXPECT_EQ(Encode(*tokenizer, "a\xFF\xE6\x97z"), Encode(*tokenizer, "a\xEF\xBF\xBD\xEF\xBF\xBDz"));
  std::mt19937 random(3);
  for (int round = 0; round < 200; ++round) {
    std::string text(random() % 40, '\0');
    for (char& c : text) c = static_cast<char>(random());
    const std::string decoded = tokenizer->Decode(Encode(*tokenizer, text), false);
    EXPECT_EQ(RepairUtf8(decoded), decoded);
  }
}

TEST(Tokenizer, SpecialTokensOfUsersStayTextWhenAsked) {
  const auto tokenizer = LoadData("qwen2_style");
  const auto parsed = Encode(*tokenizer, "<|im_end|>");
  ASSERT_EQ(parsed.size(), 1u);
  EXPECT_TRUE(tokenizer->IsSpecial(parsed[0]));
  EXPECT_EQ(tokenizer->TokenToId("<|im_end|>"), parsed[0]);
  EXPECT_EQ(tokenizer->IdToToken(parsed[0]), "<|im_end|>");
  const auto plain = Encode(*tokenizer, "<|im_end|>", {.parse_special = false});
  EXPECT_GT(plain.size(), 1u);
  for (const int32_t id : plain) EXPECT_FALSE(tokenizer->IsSpecial(id));
  EXPECT_EQ(tokenizer->Decode(plain, true), "<|im_end|>");
  EXPECT_EQ(tokenizer->Decode(parsed, true), "");
}

TEST(Tokenizer, RandomIdsDecodeTheSameInOnePieceAndInSteps) {
  std::mt19937 random(5);
  for (const char* name : {"gpt2_style", "llama2_style", "metaspace_style", "word_style"}) {
    const auto tokenizer = LoadData(name);
    for (int round = 0; round < 300; ++round) {
      const bool skip = round % 2 == 0;
      std::vector<int32_t> ids(random() % 24);
      // Ids outside the vocabulary add nothing.
      for (int32_t& id : ids) id = static_cast<int32_t>(random() % 300) - 2;
      IncrementalDecoder decoder(*tokenizer, skip);
      std::string text;
      for (const int32_t id : ids) {
        const std::string piece = decoder.Push(id);
        EXPECT_EQ(RepairUtf8(piece), piece);
        text += piece;
      }
      text += decoder.Finish();
      EXPECT_EQ(text, tokenizer->Decode(ids, skip)) << name;
    }
  }
}

TEST(Tokenizer, HolesInTheVocabularyAreNoTokens) {
  const auto tokenizer = Tokenizer::FromJson(
      R"({"model":{"type":"BPE","vocab":{"a":0,"b":5},"merges":[]},"added_tokens":[{"id":9,"content":"<x>"}]})",
      "holes");
  ASSERT_TRUE(tokenizer.ok()) << Message(tokenizer.status());
  EXPECT_EQ((*tokenizer)->vocab_size(), 10);
  EXPECT_EQ((*tokenizer)->IdToToken(3), "");
  EXPECT_EQ((*tokenizer)->IdToToken(-1), "");
  EXPECT_EQ((*tokenizer)->IdToToken(10), "");
  EXPECT_EQ(Encode(**tokenizer, "ab<x>"), (std::vector<int32_t>{0, 5, 9}));
  EXPECT_EQ((*tokenizer)->Decode(std::vector<int32_t>{0, 3, 9, 1 << 30}, false), "a <x>");
}

class ConfigFile : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) /
              fmt::format("folkmoot_tokenizer_{}", testing::UnitTest::GetInstance()->random_seed());
    std::filesystem::create_directories(folder_);
    std::filesystem::copy_file(FOLKMOOT_TEST_DATA "/tokenizers/llama2_style.json",
                               folder_ / "tokenizer.json",
                               std::filesystem::copy_options::overwrite_existing);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  absl::StatusOr<std::unique_ptr<Tokenizer>> LoadWith(const std::string& config) {
    std::ofstream(folder_ / "tokenizer_config.json") << config;
    return Tokenizer::Load((folder_ / "tokenizer.json").string());
  }

  std::filesystem::path folder_;
};

TEST_F(ConfigFile, NamesTheSpecialTokensInBothForms) {
  const auto tokenizer = LoadWith(
      R"({"bos_token":"<s>","eos_token":{"content":"</s>"},"pad_token":null,"model_max_length":1})");
  ASSERT_TRUE(tokenizer.ok()) << Message(tokenizer.status());
  EXPECT_EQ((*tokenizer)->bos_id(), 1);
  EXPECT_EQ((*tokenizer)->eos_id(), 2);
  EXPECT_EQ((*tokenizer)->pad_id(), std::nullopt);
  EXPECT_EQ(Encode(**tokenizer, "ship").front(), 1);
}

TEST_F(ConfigFile, AddBosAndEosReplaceThePostProcessor) {
  const auto without = LoadWith(R"({"bos_token":"<s>","eos_token":"</s>","add_bos_token":false})");
  ASSERT_TRUE(without.ok());
  EXPECT_NE(Encode(**without, "ship").front(), 1);
  const auto with = LoadWith(
      R"({"bos_token":"<s>","eos_token":"</s>","add_bos_token":true,"add_eos_token":true})");
  ASSERT_TRUE(with.ok());
  EXPECT_EQ(Encode(**with, "ship").front(), 1);
  EXPECT_EQ(Encode(**with, "ship").back(), 2);
  EXPECT_EQ(Encode(**with, "ship", {.add_special_tokens = false}), Encode(**without, "ship"));
}

// As DeepSeek-V3 is published: its tokenizer.json adds nothing.
TEST_F(ConfigFile, OnlySomeClassesReadAddBos) {
  const std::string tokens = R"({"bos_token":"<s>","eos_token":"</s>",)";
  const auto first_of = [&](const std::string& keys) {
    const auto tokenizer = LoadWith(tokens + keys + "}");
    EXPECT_TRUE(tokenizer.ok()) << keys << Message(tokenizer.status());
    return tokenizer.ok() ? Encode(**tokenizer, "ship").front() : -1;
  };
  const auto as_the_file_says = LoadWith(tokens + R"("x":1})");
  ASSERT_TRUE(as_the_file_says.ok());
  ASSERT_EQ(Encode(**as_the_file_says, "ship").front(), 1);
  EXPECT_NE(first_of(R"("tokenizer_class":"LlamaTokenizerFast","add_bos_token":false)"), 1);
  EXPECT_NE(first_of(R"("tokenizer_class":"GemmaTokenizer","add_bos_token":false)"), 1);
  EXPECT_EQ(first_of(R"("tokenizer_class":"LlamaTokenizer","add_eos_token":false)"), 1);
  EXPECT_NE(first_of(R"("tokenizer_class":"GPTNeoXTokenizer","add_eos_token":false)"), 1);
  EXPECT_EQ(first_of(R"("tokenizer_class":"PreTrainedTokenizerFast","add_bos_token":false)"), 1);
  EXPECT_EQ(first_of(R"("tokenizer_class":"Qwen2Tokenizer","add_bos_token":false)"), 1);
}

TEST_F(ConfigFile, AddsTheTokensThatOnlyItNames) {
  const auto without = LoadWith(R"({"bos_token":"<s>"})");
  ASSERT_TRUE(without.ok());
  const auto next = static_cast<int32_t>((*without)->vocab_size());
  const auto tokenizer = LoadWith(
      R"({"added_tokens_decoder":{"9999":{"content":"<second>","special":false,"normalized":false},)"
      R"("1":{"content":"<s>","special":true},"9998":{"content":"<first>","special":true}}})");
  ASSERT_TRUE(tokenizer.ok()) << Message(tokenizer.status());
  EXPECT_EQ((*tokenizer)->vocab_size(), next + 2);
  EXPECT_EQ(Encode(**tokenizer, "<first><second>", {.add_special_tokens = false}),
            (std::vector<int32_t>{next, next + 1}));
  EXPECT_EQ((*tokenizer)->Decode(std::vector<int32_t>{next, next + 1}, true), "<second>");
  EXPECT_FALSE(LoadWith(R"({"added_tokens_decoder":{"x":{"content":"<first>"}}})").ok());
  EXPECT_FALSE(LoadWith(R"({"added_tokens_decoder":{"5":{"content":""}}})").ok());
  EXPECT_FALSE(LoadWith(R"({"added_tokens_decoder":[]})").ok());
}

// Transformers writes 10^30 for "no bound".
TEST_F(ConfigFile, IntegersMayBeLarge) {
  const auto tokenizer = LoadWith(
      R"({"bos_token":"<s>","model_max_length":1000000000000000019884624838656,"a":"\"123456789012345678901",)"
      R"("b":[-1000000000000000019884624838656,1e30,1.25,18446744073709551615],"eos_token":"</s>"})");
  ASSERT_TRUE(tokenizer.ok()) << Message(tokenizer.status());
  EXPECT_EQ((*tokenizer)->eos_id(), 2);
  EXPECT_FALSE(LoadWith(R"({"model_max_length":10000000000000000198846248386x6})").ok());
}

TEST_F(ConfigFile, RefusesAnEndTokenThatIsNoToken) {
  const auto tokenizer = LoadWith(R"({"eos_token":"<nowhere>"})");
  ASSERT_FALSE(tokenizer.ok());
  EXPECT_NE(Message(tokenizer.status()).find("<nowhere>"), std::string_view::npos);
  EXPECT_NE(Message(tokenizer.status()).find("tokenizer_config.json"), std::string_view::npos);
}

}  // namespace
}  // namespace folkmoot
