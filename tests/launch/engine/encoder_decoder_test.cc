// SPDX-License-Identifier: Apache-2.0
// Models with an encoder, beside what golden_test.cc says of all families: capacity, sources in one
// piece, shared pages, and what is refused.
#include <gmock/gmock.h>

#include "launch/source_prompt.h"
#include "tests/support/golden_case.h"

namespace folkmoot {
namespace {

using testing::HasSubstr;

// A model whose sources lose choices.
constexpr const char* kSwitch = "switch_transformers-capacity";
constexpr const char* kNllb = "nllb-moe-priority";

void ExpectEqual(const absl::StatusOr<std::vector<RunOutcome>>& actual,
                 const absl::StatusOr<std::vector<RunOutcome>>& expected) {
  ASSERT_TRUE(actual.ok() && expected.ok()) << actual.status() << expected.status();
  ASSERT_EQ(actual->size(), expected->size());
  for (size_t p = 0; p < expected->size(); ++p) {
    EXPECT_TRUE((*actual)[p] == (*expected)[p]) << "request " << p;
  }
}

class EncoderDecoder : public testing::TestWithParam<const char*> {
 protected:
  GoldenCase case_{GetParam()};
};

TEST_P(EncoderDecoder, SameBitsForAnyCompanyCutsAndPlanning) {
  RunSetup alone = case_.setup;
  alone.alone = true;
  alone.adjust = [](SchedulerOptions& scheduler) { scheduler.prefix_caching = false; };
  const auto expected = RunRequests(alone, case_.requests);
  ASSERT_TRUE(expected.ok()) << expected.status();
  EXPECT_GT((*expected)[2].overflow, 0) << "nothing found an expert full";
  ExpectEqual(RunRequests(case_.setup, case_.requests), expected);
  RunSetup cut = case_.setup;
  cut.options.prefill_chunk = 3;  // of a target; sources stay whole
  cut.options.max_num_batched_tokens = 41;
  cut.plan_ahead = true;
  ExpectEqual(RunRequests(cut, case_.requests), expected);
}

TEST_P(EncoderDecoder, SameBitsPreemptedAndOnThreeRanks) {
  std::vector<Request> requests;
  for (int i = 0; i < 6; ++i) {
    requests.push_back(case_.requests[2]);
    requests.back().prompt[0] = 10 + i;
    requests.back().max_tokens = 40;
    requests.back().prompt_logprobs = false;
    requests.back().trace_routing = requests.back().layer_digests = false;
  }
  const auto expected = RunRequests(case_.setup, requests);
  RunSetup tight = case_.setup;
  tight.options.kv_cache_blocks = 14;
  RunTotals totals;
  ExpectEqual(RunRequests(tight, requests, &totals), expected);
  EXPECT_GT(totals.preemptions, 0);
  tight.ranks = 3;
  ExpectEqual(RunRequests(tight, requests), expected);
}

// Pages are shared with the same source only, and never a part of one.
TEST_P(EncoderDecoder, SameBitsFromThePrefixCache) {
  std::vector<Request> requests = {case_.requests.back(), case_.requests.back()};
  requests[0].max_tokens = 40;
  requests[1].max_tokens = 40;
  requests[1].prompt[static_cast<size_t>(requests[1].source) - 1] ^= 1;  // the source's last token
  RunSetup once = case_.setup;
  once.adjust = [](SchedulerOptions& scheduler) { scheduler.prefix_caching = false; };
  const auto expected = RunRequests(once, requests);
  RunSetup twice = case_.setup;
  twice.times = 2;
  RunTotals totals;
  ExpectEqual(RunRequests(twice, requests, &totals), expected);
  // 9 tokens of source do not fill a page; with 23 of the target they do.
  for (Request& request : requests) {
    for (const int32_t token : (*expected)[0].tokens) request.prompt.push_back(token);
  }
  ExpectEqual(RunRequests(twice, requests, &totals), RunRequests(once, requests));
  EXPECT_GT(totals.prefix_hit_tokens, 0);
}

// The same with counters that travel with a sequence, and a source that ends with its page.
TEST_P(EncoderDecoder, SameBitsFromThePrefixCacheWithChunkCounters) {
  Request request = case_.requests[2];
  request.prompt.erase(request.prompt.begin() + 32, request.prompt.begin() + 40);
  request.source = 32;
  request.prompt_logprobs = request.trace_routing = request.layer_digests = false;
  request.max_tokens = 30;
  Request shorter = request;
  shorter.prompt.resize(35);
  RunSetup once = case_.setup;
  once.options.gate =
      "capacity=fixed,capacity_fixed=3,group=sequence_chunk(16),priority=token_major";
  once.adjust = [](SchedulerOptions& scheduler) { scheduler.prefix_caching = false; };
  RunSetup twice = once;
  twice.adjust = nullptr;
  twice.times = 2;
  twice.alone = true;
  RunTotals totals;
  const std::vector<Request> requests = {request, shorter};
  ExpectEqual(RunRequests(twice, requests, &totals), RunRequests(once, requests));
  EXPECT_GT(totals.prefix_hit_tokens, 0);
}

INSTANTIATE_TEST_SUITE_P(Models, EncoderDecoder, testing::Values(kSwitch, kNllb),
                         [](const auto& one) {
                           return std::string(one.param == kSwitch ? "switch" : "nllb");
                         });

// Transformers counts every token's place by itself, so that none loses its expert.
TEST(SwitchCapacity, WithoutItTheNumbersAreThoseOfTransformers) {
  GoldenCase golden(kSwitch);
  golden.setup.options.gate = "capacity=none";
  const auto outcomes = RunRequests(golden.setup, golden.requests);
  ASSERT_TRUE(outcomes.ok()) << outcomes.status();
  double moved = 0;
  for (size_t p = 0; p + 1 < golden.requests.size(); ++p) {
    const auto& prompt = golden.golden["prompts"][p];
    const std::vector<float>& logprobs = (*outcomes)[p].prompt_logprobs;
    ASSERT_EQ(logprobs.size() + 1, prompt["transformers_logprobs"].size());
    for (size_t i = 0; i < logprobs.size(); ++i) {
      const auto theirs = prompt["transformers_logprobs"][i + 1].get<double>();
      EXPECT_NEAR(static_cast<double>(logprobs[i]), theirs, 1e-4);
      moved = std::max(moved, std::abs(theirs - prompt["logprobs"][i + 1].get<double>()));
    }
  }
  EXPECT_GT(moved, 0.1);
}

std::string ErrorOf(const RunSetup& setup, const Request& request) {
  return std::string(RunRequests(setup, {request}).status().message());
}

TEST(EncoderDecoderErrors, NameTheRemedy) {
  const GoldenCase golden(kSwitch);
  Request request = golden.requests[2];
  RunSetup small = golden.setup;
  small.options.max_num_batched_tokens = 39;
  EXPECT_THAT(ErrorOf(small, request), HasSubstr("raise --max-num-batched-tokens"));
  request.source = 0;
  EXPECT_THAT(ErrorOf(golden.setup, request), HasSubstr("a request needs a source"));
  request.source = std::ssize(request.prompt);
  EXPECT_THAT(ErrorOf(golden.setup, request), HasSubstr("at least one token must follow"));
  request = golden.requests[2];
  request.pooling = Pooling::kLast;
  EXPECT_THAT(ErrorOf(golden.setup, request), HasSubstr("this model has an encoder"));
}

TEST(EncoderDecoderErrors, DecodersAloneHaveNoSource) {
  GoldenCase golden("mixtral-classic");
  Request request = golden.requests[1];
  request.source = 2;
  EXPECT_THAT(ErrorOf(golden.setup, request), HasSubstr("but this model has no encoder"));
  golden.setup.options.gate = "capacity=ceil_k,group=sequence";
  EXPECT_THAT(ErrorOf(golden.setup, golden.requests[1]), HasSubstr("group=sequence"));
}

TEST(EncoderDecoderErrors, NobodyGuesses) {
  GoldenCase golden(kSwitch);
  golden.setup.options.speculative_method = "ngram";
  EXPECT_FALSE(RunRequests(golden.setup, golden.requests).ok());
  golden.setup.options.gate = "capacity=none";  // which would not mind
  EXPECT_THAT(ErrorOf(golden.setup, golden.requests[1]),
              HasSubstr("nobody guesses for SwitchTransformersForConditionalGeneration: it has an "
                        "encoder"));
}

// Letters, an end token and two languages.
std::unique_ptr<Tokenizer> ToyTokenizer() {
  nlohmann::json added = nlohmann::json::array();
  for (const char* const token : {"</s>", "eng_Latn", "fra_Latn"}) {
    added.push_back({{"id", 3 + std::ssize(added)},
                     {"content", token},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  nlohmann::json json = {{"version", "1.0"}, {"added_tokens", added}};
  json["model"] = {{"type", "BPE"}, {"vocab", {{"a", 0}, {"b", 1}, {"c", 2}}}};
  json["model"]["merges"] = nlohmann::json::array();
  auto tokenizer = Tokenizer::FromJson(json.dump(), "toy");
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

TEST(SourcePrompt, LanguagesTakeTheirPlaces) {
  const auto tokenizer = ToyTokenizer();
  ModelConfig config;
  config.vocab = 6;
  config.eos_ids = {3};
  config.encoder.decoder_start = 3;
  const auto made = [&](const SourceOptions& options, const std::vector<int32_t>& source) {
    const auto prompt = MakeSourcePrompt(config, tokenizer.get(), options, source);
    EXPECT_TRUE(prompt.ok()) << prompt.status();
    return prompt->tokens;
  };
  using Ids = std::vector<int32_t>;
  EXPECT_EQ(made({}, {4, 0, 3}), (Ids{4, 0, 3, 3}));
  EXPECT_EQ(made({.source_language = "fra_Latn"}, {4, 0, 3}), (Ids{5, 0, 3, 3}));
  EXPECT_EQ(made({.source_language = "fra_Latn"}, {0, 3, 4}), (Ids{0, 3, 5, 3}));  // old files
  EXPECT_EQ(made({.source_language = "fra_Latn"}, {0, 1}), (Ids{5, 0, 1, 3}));
  EXPECT_EQ(made({.target_language = "eng_Latn"}, {0}), (Ids{0, 3, 4}));
  config.encoder.forced_bos = 5;
  EXPECT_EQ(made({}, {0}), (Ids{0, 3, 5}));
  EXPECT_EQ(made({.forced_bos = 1}, {0}), (Ids{0, 3, 1}));
  const auto prompt = MakeSourcePrompt(config, nullptr, {}, Ids{0, 1});
  EXPECT_EQ(prompt->source, 2);
  EXPECT_EQ(prompt->begun, 1);
}

TEST(SourcePrompt, ErrorsNameTheOption) {
  const auto tokenizer = ToyTokenizer();
  ModelConfig config;
  config.vocab = 6;
  config.encoder.decoder_start = 3;
  const auto error = [&](const Tokenizer* words, const SourceOptions& options) {
    return std::string(
        MakeSourcePrompt(config, words, options, std::vector<int32_t>{0}).status().message());
  };
  EXPECT_THAT(error(tokenizer.get(), {.source_language = "a"}),
              HasSubstr("source_language is 'a'"));
  EXPECT_THAT(error(tokenizer.get(), {.target_language = "deu_Latn"}),
              HasSubstr("target_language is 'deu_Latn'"));
  EXPECT_THAT(error(nullptr, {.target_language = "fra_Latn"}), HasSubstr("no tokenizer.json"));
  EXPECT_THAT(error(tokenizer.get(), {.target_language = "fra_Latn", .forced_bos = 1}),
              HasSubstr("not both"));
  EXPECT_THAT(error(nullptr, {.forced_bos = 6}), HasSubstr("forced_bos_token_id is 6"));
  config.encoder.decoder_start = -1;
  EXPECT_THAT(error(nullptr, {}), HasSubstr("decoder_start_token_id"));
}

}  // namespace
}  // namespace folkmoot
