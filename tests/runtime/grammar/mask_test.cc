// SPDX-License-Identifier: Apache-2.0
// Masks against brute force on finite languages, and the contract of TokenConstraint.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "runtime/grammar/grammar_compiler.h"
#include "runtime/tokenizer/incremental_decoder.h"
#include "tests/runtime/grammar/grammar_testing.h"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

const char kDemo[] = FOLKMOOT_SOURCE_DIR "/models/demo-kjv/tokenizer.json";
const char* const kStyles[] = {"deepseek_style", "gpt2_style",      "llama2_style", "llama3_style",
                               "qwen2_style",    "metaspace_style", "word_style"};

std::string StylePath(const std::string& style) {
  return FOLKMOOT_TEST_DATA "/tokenizers/" + style + ".json";
}

// What a client sees of these tokens.
std::string SeenText(const TestVocabulary& vocabulary, const std::vector<int32_t>& tokens) {
  IncrementalDecoder decoder(*vocabulary.tokenizer, true);
  std::string text;
  for (const int32_t token : tokens) text += decoder.Push(token);
  return text + decoder.Finish();
}

// Walks at random and compares whole masks: a token is allowed iff some text of the language
// begins with what a client would see. Tokens that end inside a character are not compared.
void CompareWithLanguage(const TestVocabulary& vocabulary, const TokenConstraint& form,
                         const std::set<std::string>& language, std::mt19937* random) {
  const auto constraint = form.Clone();
  std::vector<int32_t> tokens;
  for (int step = 0; step < 12; ++step) {
    const std::vector<uint32_t> mask = NextMask(vocabulary, constraint.get());
    std::vector<int32_t> allowed;
    for (int32_t token = 0; token < vocabulary.vocab; ++token) {
      if (token == vocabulary.end) continue;
      std::vector<int32_t> longer = tokens;
      longer.push_back(token);
      const std::string seen = SeenText(vocabulary, longer);
      if (MaskHas(mask, token)) allowed.push_back(token);
      if (seen.find("\xEF\xBF\xBD") != std::string::npos) continue;
      const bool adds = !vocabulary.tokenizer->IsSpecial(token) &&
                        token < vocabulary.tokenizer->vocab_size() &&
                        !vocabulary.tokenizer->IdToToken(token).empty();
      const auto at = language.lower_bound(seen);
      const bool viable = adds && at != language.end() && at->starts_with(seen);
      // A token that shows nothing may be refused, except for the space that decoding drops.
      if (seen == SeenText(vocabulary, tokens) && !MaskHas(mask, token)) continue;
      ASSERT_EQ(MaskHas(mask, token), viable)
          << "token " << token << " '" << vocabulary.tokenizer->IdToToken(token) << "' after '"
          << SeenText(vocabulary, tokens) << "'";
    }
    const std::string now = SeenText(vocabulary, tokens);
    if (now.find("\xEF\xBF\xBD") == std::string::npos) {
      ASSERT_EQ(MaskHas(mask, vocabulary.end), language.count(now) == 1) << now;
    }
    if (allowed.empty()) break;
    tokens.push_back(allowed[(*random)() % allowed.size()]);
    constraint->Accept(tokens.back());
  }
}

std::string RandomWord(std::mt19937* random) {
  static const char* const kPieces[] = {"a", "b", "the", " ", "é", "日", "1", "-", "and", "\n"};
  std::string word;
  const auto count = 1 + (*random)() % 5;
  for (size_t i = 0; i < count; ++i) word += kPieces[(*random)() % std::size(kPieces)];
  return word;
}

TEST(GrammarMask, AllowsExactlyTheViableTokens) {
  std::mt19937 random(11);
  std::vector<std::string> paths{kDemo};
  for (const char* style : kStyles) paths.push_back(StylePath(style));
  for (const std::string& path : paths) {
    SCOPED_TRACE(path);
    const TestVocabulary vocabulary = TestVocabulary::Load(path);
    const int rounds = path == kDemo ? 2 : 8;
    for (int round = 0; round < rounds; ++round) {
      // (w1|w2)(w3|w4)?w5, and the same language as a list.
      std::vector<std::string> words;
      for (int i = 0; i < 5; ++i) words.push_back(RandomWord(&random));
      std::set<std::string> language;
      for (const std::string& first : {words[0], words[1]}) {
        for (const std::string& second : {words[2], words[3], std::string()}) {
          language.insert(first + second + words[4]);
        }
      }
      const auto choice = vocabulary.compiler->Choice({language.begin(), language.end()});
      const auto regex = vocabulary.compiler->Regex("(" + words[0] + "|" + words[1] + ")(" +
                                                    words[2] + "|" + words[3] + ")?" + words[4]);
      ASSERT_TRUE(choice.ok() && regex.ok());
      CompareWithLanguage(vocabulary, **choice, language, &random);
      CompareWithLanguage(vocabulary, **regex, language, &random);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(GrammarMask, TextsThatBeginWithASpaceAreSeenWithIt) {
  std::mt19937 random(13);
  for (const char* style : kStyles) {
    const TestVocabulary vocabulary = TestVocabulary::Load(StylePath(style));
    const std::set<std::string> language{" the", "the", "  a", "a b"};
    const auto form = vocabulary.compiler->Choice({language.begin(), language.end()});
    ASSERT_TRUE(form.ok());
    for (int i = 0; i < 20; ++i) {
      const RandomText output = Sample(vocabulary, **form, &random, 50, 50);
      if (!output.problem.empty()) continue;  // a word vocabulary cannot spell everything
      EXPECT_EQ(language.count(output.text), 1u) << style << " gave '" << output.text << "'";
    }
  }
}

TEST(GrammarMask, ClonesGoOnFromTheSameStateByThemselves) {
  const TestVocabulary vocabulary = TestVocabulary::Load(kDemo);
  const auto form = vocabulary.compiler->Choice({"ab", "ac"});
  ASSERT_TRUE(form.ok());
  const auto token = [&](char c) { return vocabulary.byte_tokens[static_cast<uint8_t>(c)]; };
  const auto one = (*form)->Clone();
  NextMask(vocabulary, one.get());
  one->Accept(token('a'));
  const auto two = one->Clone();
  one->Accept(token('b'));
  EXPECT_TRUE(MaskHas(NextMask(vocabulary, one.get()), vocabulary.end));
  EXPECT_TRUE(MaskHas(NextMask(vocabulary, two.get()), token('c')));
  EXPECT_FALSE(MaskHas(NextMask(vocabulary, two.get()), vocabulary.end));
  two->Accept(vocabulary.end);  // not allowed here: nothing follows
  std::vector<uint32_t> mask((static_cast<size_t>(vocabulary.vocab) + 31) / 32);
  EXPECT_FALSE(two->FillMask(mask));
}

TEST(GrammarMask, StatesThatDoNotFitInMemoryAreFoundAgain) {
  const TestVocabulary small = TestVocabulary::Load(StylePath("gpt2_style"));
  // Masks of 1.25 MB: the memory of one form holds six.
  GrammarCompiler large(*small.tokenizer, 10'000'000, {small.end});
  const auto form = large.Regex("(ab|cd|é.){0,60}");
  ASSERT_TRUE(form.ok());
  std::mt19937 random(17);
  TestVocabulary vocabulary = TestVocabulary::Load(StylePath("gpt2_style"));
  vocabulary.vocab = 10'000'000;
  const RandomText output = Sample(vocabulary, **form, &random, 1000, 12);
  EXPECT_EQ(output.problem, "");
  const auto reference = small.compiler->Regex("(ab|cd|é.){0,60}");
  if (output.ended) {
    EXPECT_TRUE(Accepts(small, **reference, output.text)) << output.text;
  }
  EXPECT_LT(large.cache_bytes(), 24 << 20);
}

TEST(GrammarMask, OnlyTheLastFormsAreRemembered) {
  const TestVocabulary vocabulary = TestVocabulary::Load(kDemo);
  GrammarCompiler& compiler = *vocabulary.compiler;
  const auto bytes_after = [&](int begin, int end) {
    for (int i = begin; i < end; ++i) {
      EXPECT_TRUE(compiler.Choice({fmt::format("{:05}", i)}).ok());
    }
    return compiler.cache_bytes();
  };
  const int limit = GrammarCompiler::kMaxCachedForms;
  const int64_t half = bytes_after(0, limit / 2);
  const int64_t full = bytes_after(limit / 2, limit);
  EXPECT_GT(full, half);
  EXPECT_EQ(bytes_after(limit, limit + 100), full);
}

TEST(GrammarMask, LongCountedStringsEndWhereTheyMust) {
  const TestVocabulary vocabulary = TestVocabulary::Load(kDemo);
  const auto form = vocabulary.compiler->JsonSchema(
      Json{{"type", "string"}, {"minLength", 300}, {"maxLength", 300}});
  ASSERT_TRUE(form.ok());
  EXPECT_TRUE(Accepts(vocabulary, **form, '"' + std::string(300, 'x') + '"'));
  EXPECT_FALSE(Accepts(vocabulary, **form, '"' + std::string(299, 'x') + '"'));
  EXPECT_FALSE(Accepts(vocabulary, **form, '"' + std::string(301, 'x') + '"'));
  std::mt19937 random(19);
  const RandomText output = Sample(vocabulary, **form, &random, 1000, 1000);
  EXPECT_TRUE(output.ended);
  EXPECT_EQ(output.problem, "");
}

}  // namespace
}  // namespace folkmoot
