// SPDX-License-Identifier: Apache-2.0
// Guesses never show in an answer. Each test runs requests without guesses, then with guesses of
// which many are right and some are wrong, and compares all that comes back bit for bit.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "runtime/grammar/grammar_compiler.h"
#include "tests/support/guess_oracle.h"
#include "tests/support/model_case.h"

namespace folkmoot {
namespace {

class SpeculationBits : public testing::TestWithParam<ModelCase> {
 protected:
  SpeculationBits() {
    setup_.options = GetParam().options();
    std::mt19937 random(5);
    for (const int length : {1, 14, 33, 20, 7}) {
      Request request;
      for (int i = 0; i < length; ++i) {
        request.prompt.push_back(static_cast<int32_t>(random() % 90));
      }
      request.max_tokens = 40;
      request.logprobs = 2;
      request.layer_digests = true;
      request.trace_routing = true;
      request.sampling.seed = random();
      requests_.push_back(request);
    }
    requests_[0].sampling.temperature = 0;
    requests_[1].sampling.temperature = 0;
    requests_[1].logprobs = -1;
    requests_[1].prompt_logprobs = true;
    requests_[2].sampling.top_p = 0.9f;
    requests_[2].sampling.top_k = 40;
    requests_[2].sampling.frequency_penalty = 0.4f;
    requests_[2].sampling.repetition_penalty = 1.2f;
    requests_[2].sampling.bad_words = {{3, 5}, {9}};
    requests_[3].n = 3;
    requests_[3].layer_digests = requests_[3].trace_routing = false;
    requests_[4].sampling.min_tokens = 20;
    for (int32_t token = 0; token < 40; ++token) requests_[4].stop_ids.push_back(token * 2);
    requests_[4].sampling.suppressed_ids = requests_[4].stop_ids;
    reference_ = Run();
    oracle_.Learn(requests_, reference_);
    setup_.adjust = oracle_.Asked(6);
  }

  std::vector<RunOutcome> Run() {
    const auto outcomes = RunRequests(setup_, requests_, &totals_);
    EXPECT_TRUE(outcomes.ok()) << outcomes.status();
    return outcomes.ok() ? *outcomes : std::vector<RunOutcome>();
  }

  void ExpectSame(const char* what) {
    const std::vector<RunOutcome> outcomes = Run();
    ASSERT_EQ(outcomes.size(), reference_.size());
    for (size_t p = 0; p < reference_.size(); ++p) {
      EXPECT_TRUE(outcomes[p] == reference_[p]) << what << ", outcome " << p;
      EXPECT_EQ(outcomes[p].tokens, reference_[p].tokens);
    }
    EXPECT_GT(totals_.speculation.accepted, 40) << what;
    EXPECT_GT(totals_.speculation.drafted, totals_.speculation.accepted + 10) << what;
  }

  RunSetup setup_;
  RunTotals totals_;
  std::vector<Request> requests_;
  std::vector<RunOutcome> reference_;
  GuessOracle oracle_;
};

TEST_P(SpeculationBits, AnyNumberOfRanks) {
  const ExpertCounts experts = totals_.experts;
  const int64_t steps = totals_.stats.steps;
  for (const int ranks : {1, 2, 3}) {
    setup_.ranks = ranks;
    ExpectSame("ranks");
    EXPECT_LT(totals_.stats.steps, steps) << "guesses save steps";
    EXPECT_EQ(totals_.experts.tokens, experts.tokens) << "wrong guesses do not count";
    EXPECT_EQ(totals_.experts.overflow, experts.overflow);
  }
}

TEST_P(SpeculationBits, ThreadsChunksAndPlanningAhead) {
  setup_.threads = 2;
  setup_.options.prefill_chunk = 5;  // also bounds the rows of a slice with guesses
  ExpectSame("two threads, chunks of 5");
  setup_.plan_ahead = true;
  ExpectSame("planned ahead");
}

TEST_P(SpeculationBits, PreemptedAndAgain) {
  setup_.options.kv_cache_blocks = 8;  // of 3 + 4 + 5 + 3 * 4 + 3
  for (Request& request : requests_) request.layer_digests = request.trace_routing = false;
  setup_.adjust = nullptr;
  reference_ = Run();
  setup_.adjust = oracle_.Asked(6);
  // The second time prompts and outputs come from the prefix cache; but not where draws are another
  // sequence's then.
  setup_.times = std::string(GetParam().gate).find("sequence_id") == std::string::npos ? 2 : 1;
  const std::vector<RunOutcome> outcomes = Run();
  ASSERT_EQ(outcomes.size(), reference_.size());
  for (size_t p = 0; p < reference_.size(); ++p) {
    EXPECT_EQ(outcomes[p].tokens, reference_[p].tokens) << p;
    EXPECT_EQ(outcomes[p].token_logprobs, reference_[p].token_logprobs) << p;
    EXPECT_EQ(outcomes[p].rejected, reference_[p].rejected) << p;
    EXPECT_EQ(outcomes[p].overflow, reference_[p].overflow) << p;
  }
  EXPECT_GT(totals_.preemptions, 0);
  EXPECT_GT(totals_.speculation.accepted, 40);
}

constexpr char kChunkCapacity[] =
    "extra_policy=random,capacity=ceil_k,capacity_factor=1.0,group=sequence_chunk,group_size=12,"
    "priority=token_major";
constexpr char kConsumes[] =
    "extra_policy=threshold,extra_threshold=0.3,rejected_consumes=true,capacity=ceil_k,"
    "capacity_factor=1.0,group=sequence_chunk,group_size=20,priority=token_major";

INSTANTIATE_TEST_SUITE_P(
    Models, SpeculationBits,
    testing::Values(ModelCase{"Demo", "models/demo-kjv", ""},
                    ModelCase{"DemoRandomSecondExpert", "models/demo-kjv", "extra_policy=random"},
                    ModelCase{"DemoDrawsBySequence", "models/demo-kjv",
                              "extra_policy=random,rng_scope=sequence_id"},
                    ModelCase{"DemoChunkCapacity", "models/demo-kjv", kChunkCapacity},
                    ModelCase{"DemoRejectedConsume", "models/demo-kjv", kConsumes},
                    ModelCase{"MixtralChunkCapacity", "tests/data/goldens/mixtral-classic",
                              kChunkCapacity},
                    ModelCase{"GlmMoeDsaShared", "tests/data/goldens/glm_moe_dsa-shared", ""},
                    ModelCase{"HyV4", "tests/data/goldens/hy_v4-saved", ""},
                    ModelCase{"UnlimitedOcr", "tests/data/goldens/unlimited_ocr-saved", ""},
                    ModelCase{"Qwen3MoeDynamicRope", "tests/data/goldens/qwen3_moe-dynamic", ""},
                    ModelCase{"DenseQwen3", "tests/data/goldens/qwen3-classic", ""}),
    ModelCaseName);

class SpeculationTest : public testing::Test {
 protected:
  SpeculationTest() {
    setup_.options.model = std::string(FOLKMOOT_SOURCE_DIR) + "/models/demo-kjv";
    auto tokenizer = Tokenizer::Load(setup_.options.model + "/tokenizer.json");
    if (!tokenizer.ok()) ADD_FAILURE() << tokenizer.status();
    tokenizer_ = *std::move(tokenizer);
  }
  std::vector<RunOutcome> Run(const std::vector<Request>& requests) {
    const auto outcomes = RunRequests(setup_, requests, &totals_);
    EXPECT_TRUE(outcomes.ok()) << outcomes.status();
    return outcomes.ok() ? *outcomes : std::vector<RunOutcome>();
  }

  RunSetup setup_;
  RunTotals totals_;
  std::unique_ptr<Tokenizer> tokenizer_;
};

// A text that repeats itself, guessed by looking it up.
TEST_F(SpeculationTest, PromptLookupFindsRepetitions) {
  Request request;
  request.prompt = *tokenizer_->Encode(
      "And God said, Let there be light: and there was light. And God said, Let there be light: "
      "and there was light. And God said, Let there");
  request.max_tokens = 40;
  request.sampling.temperature = 0;
  request.logprobs = 2;
  const std::vector<RunOutcome> plain = Run({request});
  const int64_t steps = totals_.stats.steps;
  EXPECT_EQ(totals_.speculation.drafted, 0);
  setup_.options.speculative_method = "ngram";
  for (const int ranks : {1, 2}) {
    setup_.ranks = ranks;
    EXPECT_TRUE(Run({request}) == plain);
    EXPECT_GT(totals_.speculation.accepted, 3);
    EXPECT_EQ(totals_.stats.steps, steps - totals_.speculation.accepted);
  }
}

TEST_F(SpeculationTest, FormsAreFollowed) {
  const int32_t end = *tokenizer_->eos_id();
  GrammarCompiler compiler(*tokenizer_, 4096, std::vector<int32_t>{end});
  Request request;
  request.prompt = *tokenizer_->Encode("Let there be light. ");
  request.max_tokens = 60;
  request.stop_ids = {end};
  request.sampling.seed = 3;
  std::vector<Request> requests(3, request);
  requests[0].constraint = *compiler.Regex("(Let there be light\\. ){2,4}");
  requests[1].constraint = *compiler.Choice({"Let there be light", "Let there be darkness"});
  requests[2].constraint = *compiler.Regex("[a-z ]{10,20}");
  requests[2].stop_ids = {};
  const std::vector<RunOutcome> plain = Run(requests);
  EXPECT_EQ(plain[0].finish, FinishReason::kStop);
  setup_.options.speculative_tokens = 5;
  setup_.options.prompt_lookup_min = 1;
  EXPECT_TRUE(Run(requests) == plain);
  EXPECT_GT(totals_.speculation.accepted, 5);
}

TEST_F(SpeculationTest, GatesThatLookAtWholeStepsAreRefusedByName) {
  setup_.options.speculative_tokens = 4;
  const std::pair<const char*, const char*> gates[] = {
      {"capacity=ceil_k,group=step", "'step'"},
      {"capacity=ceil_k,group=rank", "'rank'"},
      {"capacity=ceil_k,group=sequence_chunk,priority=slot_major", "'sequence_chunk'"}};
  for (const auto& [gate, name] : gates) {
    setup_.options.gate = gate;
    EXPECT_THAT(
        std::string(RunRequests(setup_, {}).status().message()),
        testing::AllOf(testing::HasSubstr(name), testing::HasSubstr("--speculative-tokens")));
  }
}

// Requests with such a gate of their own run beside others, without guesses.
TEST_F(SpeculationTest, RequestsWithSuchAGateAreLeftAlone) {
  Request request;
  request.prompt = {5, 5, 5, 5, 5, 5};
  request.max_tokens = 8;
  request.gate = "capacity=ceil_k,capacity_factor=0.5,group=step";
  const std::vector<RunOutcome> plain = Run({request});
  setup_.options.speculative_tokens = 4;
  setup_.options.prompt_lookup_min = 1;
  EXPECT_TRUE(Run({request}) == plain);
  EXPECT_EQ(totals_.speculation.drafted, 0);
}

TEST_F(SpeculationTest, RecurrentStateIsRefusedByName) {
  const std::string goldens = std::string(FOLKMOOT_SOURCE_DIR) + "/tests/data/goldens/";
  const std::string plain = setup_.options.model;
  setup_.options.model = goldens + "qwen3_next-classic";
  setup_.options.speculative_tokens = 4;
  const auto refused = testing::AllOf(testing::HasSubstr("Qwen3NextForCausalLM"),
                                      testing::HasSubstr("linear attention"));
  EXPECT_THAT(std::string(RunRequests(setup_, {}).status().message()),
              testing::AllOf(refused, testing::HasSubstr("--speculative-tokens is 4")));
  setup_.options.model = goldens + "mixtral-classic";
  setup_.options.speculative_model = goldens + "qwen3_next-classic";
  EXPECT_THAT(std::string(RunRequests(setup_, {}).status().message()),
              testing::AllOf(refused, testing::HasSubstr("--speculative-model")));
}

TEST_F(SpeculationTest, CompressedAttentionIsRefusedByName) {
  const std::string goldens = std::string(FOLKMOOT_SOURCE_DIR) + "/tests/data/goldens/";
  const auto refused = testing::AllOf(testing::HasSubstr("DeepseekV4ForCausalLM"),
                                      testing::HasSubstr("compresses tokens"));
  setup_.options.model = goldens + "deepseek_v4-window";
  setup_.options.speculative_tokens = 4;
  EXPECT_THAT(std::string(RunRequests(setup_, {}).status().message()),
              testing::AllOf(refused, testing::HasSubstr("--speculative-tokens is 4")));
  setup_.options.model = goldens + "mixtral-classic";
  setup_.options.speculative_model = goldens + "deepseek_v4-window";
  EXPECT_THAT(std::string(RunRequests(setup_, {}).status().message()),
              testing::AllOf(refused, testing::HasSubstr("--speculative-model")));
}

TEST_F(SpeculationTest, PooledKeysAreRefusedByName) {
  setup_.options.model =
      std::string(FOLKMOOT_SOURCE_DIR) + "/tests/data/goldens/glm5_next-frequency";
  setup_.options.speculative_tokens = 4;
  EXPECT_THAT(std::string(RunRequests(setup_, {}).status().message()),
              testing::AllOf(testing::HasSubstr("Glm5NextForConditionalGeneration"),
                             testing::HasSubstr("pool keys")));
}

// With the model itself as its draft model every guess must be right: it has the same keys and
// values, also behind a shared prefix, and draws with the same random numbers.
TEST_F(SpeculationTest, AModelGuessesItself) {
  std::vector<Request> requests(4);
  for (size_t i = 0; i < requests.size(); ++i) {
    requests[i].prompt.assign(20, 7);  // a page that all share
    for (size_t t = 0; t < 9 * i; ++t) requests[i].prompt.push_back(static_cast<int32_t>(t + i));
    requests[i].max_tokens = 45;
    requests[i].logprobs = 1;
    requests[i].sampling.seed = i;
    requests[i].sampling.temperature = i == 0 ? 0.0f : 0.9f;
  }
  requests[2].sampling.top_p = 0.8f;
  requests[3].n = 2;
  const std::vector<RunOutcome> plain = Run(requests);
  setup_.options.speculative_model = setup_.options.model;
  setup_.options.speculative_tokens = 5;
  setup_.options.prefill_chunk = 13;
  setup_.times = 2;
  for (const int ranks : {1, 3}) {
    setup_.ranks = ranks;
    setup_.plan_ahead = ranks == 3;
    const std::vector<RunOutcome> outcomes = Run(requests);
    for (size_t i = 0; i < plain.size(); ++i) EXPECT_TRUE(outcomes[i] == plain[i]) << i;
    EXPECT_GT(totals_.prefix_hit_tokens, 100);
    EXPECT_GT(totals_.speculation.accepted, 200);
    EXPECT_EQ(totals_.speculation.accepted, totals_.speculation.drafted);
  }
  setup_.options.parallelism = "tensor";
  const std::vector<RunOutcome> outcomes = Run(requests);
  for (size_t i = 0; i < plain.size(); ++i) EXPECT_TRUE(outcomes[i] == plain[i]) << i;
  EXPECT_EQ(totals_.speculation.accepted, totals_.speculation.drafted);
}

// A draft model is opened as any model is.
TEST_F(SpeculationTest, AQuantisedModelGuessesItself) {
  setup_.options.model = std::string(FOLKMOOT_TEST_DATA) + "/quant/models/qwen3_moe-ct-int4";
  std::vector<Request> requests(1);
  requests[0].prompt = {5, 9, 3, 7};
  requests[0].max_tokens = 20;
  requests[0].sampling.temperature = 0;
  const std::vector<RunOutcome> plain = Run(requests);
  setup_.options.speculative_model = setup_.options.model;
  setup_.options.speculative_tokens = 3;
  EXPECT_TRUE(Run(requests)[0] == plain[0]);
  EXPECT_GT(totals_.speculation.accepted, 10);
}

// The last row of the first text, that of a guess, fills a page: the draft model must have computed
// it too when the second text goes on from there.
TEST_F(SpeculationTest, ADraftModelFillsItsPages) {
  std::vector<Request> requests(2);
  requests[0].prompt = {11, 5, 8};
  requests[0].max_tokens = 46;
  requests[0].sampling.seed = 4;
  requests[1].prompt = requests[0].prompt;
  const std::vector<int32_t> written = Run({requests[0]})[0].tokens;
  requests[1].prompt.insert(requests[1].prompt.end(), written.begin(), written.end());
  ASSERT_EQ(requests[1].prompt.size(), 49u) << "three pages and the token behind them";
  requests[1].max_tokens = 60;
  requests[1].n = 6;
  setup_.alone = true;
  const std::vector<RunOutcome> plain = Run(requests);
  setup_.options.speculative_model = setup_.options.model;
  EXPECT_TRUE(Run(requests) == plain);
  EXPECT_GE(totals_.prefix_hit_tokens, 48 * 6);
  EXPECT_GT(totals_.speculation.accepted, 200);
  EXPECT_EQ(totals_.speculation.accepted, totals_.speculation.drafted);
}

TEST_F(SpeculationTest, ADraftModelMayBeWrong) {
  std::vector<Request> requests(3);
  for (size_t i = 0; i < requests.size(); ++i) {
    requests[i].prompt = {static_cast<int32_t>(i), 5, 8};
    requests[i].max_tokens = 60;
    requests[i].logprobs = 1;
    requests[i].sampling.seed = i;
    requests[i].sampling.frequency_penalty = 1.0f;  // draft models do not look back
    requests[i].sampling.presence_penalty = 1.0f;
  }
  const std::vector<RunOutcome> plain = Run(requests);
  setup_.options.speculative_model = setup_.options.model;
  setup_.options.kv_cache_blocks = 9;  // of 3 * 4
  EXPECT_TRUE(Run(requests) == plain);
  EXPECT_GT(totals_.preemptions, 0);
  EXPECT_GT(totals_.speculation.accepted, 20);
  EXPECT_GT(totals_.speculation.drafted, totals_.speculation.accepted + 5);
}

TEST_F(SpeculationTest, ADraftModelWithOtherTokensIsRefused) {
  const std::string goldens = std::string(FOLKMOOT_SOURCE_DIR) + "/tests/data/goldens/";
  setup_.options.speculative_model = goldens + "mixtral-classic";
  EXPECT_THAT(
      std::string(RunRequests(setup_, {}).status().message()),
      testing::AllOf(testing::HasSubstr("--speculative-model"), testing::HasSubstr("vocabulary")));
  setup_.options.speculative_model = goldens + "no-such-model";
  EXPECT_THAT(std::string(RunRequests(setup_, {}).status().message()),
              testing::HasSubstr("no-such-model"));
}

}  // namespace
}  // namespace folkmoot
