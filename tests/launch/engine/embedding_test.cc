// SPDX-License-Identifier: Apache-2.0
// Prompts as vectors: those of Hugging Face Transformers (tests/data/embeddings), and the same bits
// whatever else the engine does.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <numeric>
#include <random>

#include "layers/models/load_config.h"
#include "layers/models/model.h"
#include "nlohmann/json.hpp"
#include "tests/support/golden_case.h"

namespace folkmoot {
namespace {

using testing::HasSubstr;

std::string Source(const std::string& path) {
  return std::string(FOLKMOOT_SOURCE_DIR) + "/" + path;
}

Request Embed(std::vector<int32_t> prompt, Pooling pooling) {
  Request request;
  request.prompt = std::move(prompt);
  request.max_tokens = 0;
  request.pooling = pooling;
  return request;
}

const nlohmann::json& Goldens() {
  static const nlohmann::json goldens =
      nlohmann::json::parse(std::ifstream(Source("tests/data/embeddings/goldens.json")));
  return goldens["models"];
}

std::vector<std::string> GoldenModels() {
  std::vector<std::string> names;
  for (const auto& [name, prompts] : Goldens().items()) names.push_back(name);
  return names;
}

class EmbeddingGolden : public testing::TestWithParam<std::string> {};

TEST_P(EmbeddingGolden, EqualsTransformers) {
  RunSetup setup;
  setup.options.model = Source("tests/data/goldens/" + GetParam());
  std::vector<Request> requests;
  std::vector<std::vector<double>> expected;
  for (const auto& prompt : Goldens()[GetParam()]) {
    for (const auto& [name, pooling] :
         {std::pair("last", Pooling::kLast), std::pair("mean", Pooling::kMean)}) {
      requests.push_back(Embed(prompt["token_ids"].get<std::vector<int32_t>>(), pooling));
      expected.push_back(prompt[name].get<std::vector<double>>());
    }
  }
  const auto outcomes = RunRequests(setup, requests);
  ASSERT_TRUE(outcomes.ok()) << outcomes.status();
  double worst = 0;
  for (size_t r = 0; r < requests.size(); ++r) {
    EXPECT_EQ((*outcomes)[r].finish, FinishReason::kLength);
    const std::vector<float>& actual = (*outcomes)[r].embedding;
    ASSERT_EQ(actual.size(), expected[r].size());
    for (size_t c = 0; c < actual.size(); ++c) {
      worst = std::max(worst, std::abs(static_cast<double>(actual[c]) - expected[r][c]));
    }
  }
  EXPECT_LE(worst, 1e-4);  // the states are about 1
  RecordProperty("worst_error", fmt::format("{:.2e}", worst));
  // On three ranks, experts or matrices divided, the bits are the same.
  for (const std::string parallelism : {"expert", "tensor"}) {
    const bool tensor = parallelism == "tensor";
    if (tensor && !WhyNotTensorParallel(*LoadModelConfig(setup.options.model)).empty()) continue;
    setup.ranks = 3;
    setup.options.parallelism = parallelism;
    const auto spread = RunRequests(setup, requests);
    ASSERT_TRUE(spread.ok()) << spread.status();
    for (size_t r = 0; r < requests.size(); ++r) {
      EXPECT_TRUE((*outcomes)[r] == (*spread)[r]) << parallelism << ", request " << r;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, EmbeddingGolden, testing::ValuesIn(GoldenModels()),
                         GoldenTestName);

class EmbeddingEngine : public testing::Test {
 protected:
  EmbeddingEngine() {
    setup_.options.model = Source("models/demo-kjv");
    std::mt19937 random(5);
    std::vector<int32_t> shared;  // every prompt begins with it: there are pages to share
    for (int i = 0; i < 40; ++i) shared.push_back(static_cast<int32_t>(random() % 4000));
    for (const int length : {1, 5, 33, 70, 12}) {
      for (const Pooling pooling : {Pooling::kMean, Pooling::kLast, Pooling::kNone}) {
        std::vector<int32_t> prompt = shared;
        for (int i = 0; i < length; ++i) prompt.push_back(static_cast<int32_t>(random() % 4000));
        Request& request = requests_.emplace_back(Embed(prompt, pooling));
        if (pooling != Pooling::kNone) continue;
        request.max_tokens = 30;  // company that decodes
        request.sampling.temperature = 0;
      }
    }
  }

  std::vector<RunOutcome> Run(RunTotals* totals = nullptr) {
    auto outcomes = RunRequests(setup_, requests_, totals);
    if (outcomes.ok()) return *std::move(outcomes);
    ADD_FAILURE() << outcomes.status();
    return std::vector<RunOutcome>(requests_.size());
  }
  void ExpectSame(const std::vector<RunOutcome>& reference, const char* what) {
    const std::vector<RunOutcome> outcomes = Run();
    for (size_t r = 0; r < requests_.size(); ++r) {
      EXPECT_TRUE(outcomes[r] == reference[r]) << what << ", request " << r;
    }
  }

  RunSetup setup_;
  std::vector<Request> requests_;
};

TEST_F(EmbeddingEngine, SameBitsForAnyCutsCompanyAndRanks) {
  const std::vector<RunOutcome> reference = Run();
  for (size_t r = 0; r < requests_.size(); ++r) {
    const bool pooled = requests_[r].pooling != Pooling::kNone;
    EXPECT_EQ(reference[r].embedding.size(), pooled ? 192u : 0u);
    EXPECT_EQ(reference[r].tokens.size(), pooled ? 0u : 30u);
  }
  setup_.alone = true;
  ExpectSame(reference, "alone");
  setup_.alone = false;
  for (const int64_t chunk : {1, 7, 64}) {
    setup_.options.prefill_chunk = chunk;
    ExpectSame(reference, "chunks");
  }
  setup_.ranks = 3;
  setup_.plan_ahead = true;
  setup_.options.prefill_chunk = 7;
  ExpectSame(reference, "three ranks, planned ahead");
}

TEST_F(EmbeddingEngine, SameBitsFromThePrefixCache) {
  const std::vector<RunOutcome> reference = Run();
  RunTotals totals;
  setup_.times = 2;  // the second time every prompt is cached
  setup_.alone = true;
  const std::vector<RunOutcome> again = Run(&totals);
  EXPECT_GT(totals.prefix_hit_tokens, 0);
  for (size_t r = 0; r < requests_.size(); ++r) {
    EXPECT_TRUE(again[r] == reference[r]) << "request " << r;
    const bool mean = requests_[r].pooling == Pooling::kMean;
    EXPECT_EQ(again[r].cached_tokens == 0, mean) << "request " << r;
  }
}

// Both take a page every 16 steps until there are none: the embedding, which came last, gives way
// in the middle of its prompt.
TEST_F(EmbeddingEngine, SameBitsAfterPreemption) {
  Request company = Embed({1, 2, 3}, Pooling::kNone);
  company.max_tokens = 100;
  company.sampling.temperature = 0;
  for (const Pooling pooling : {Pooling::kMean, Pooling::kLast}) {
    setup_ = {.options = setup_.options};
    setup_.options.kv_cache_blocks = 0;
    requests_ = {company, Embed(std::vector<int32_t>(100, 7), pooling)};
    std::iota(requests_[1].prompt.begin(), requests_[1].prompt.end(), 5);
    const std::vector<RunOutcome> reference = Run();
    setup_.options.prefill_chunk = 1;
    setup_.options.kv_cache_blocks = 9;
    for (const bool ahead : {false, true}) {
      setup_.plan_ahead = ahead;
      RunTotals totals;
      const std::vector<RunOutcome> preempted = Run(&totals);
      EXPECT_EQ(totals.preemptions, 1);
      EXPECT_TRUE(preempted[0] == reference[0] && preempted[1] == reference[1]);
    }
  }
}

TEST_F(EmbeddingEngine, AnEmbeddingGeneratesNothing) {
  for (const auto& [max_tokens, n] : {std::pair(1, 1), std::pair(0, 2)}) {
    requests_.assign(1, Embed({1, 2}, Pooling::kLast));
    requests_[0].max_tokens = max_tokens;
    requests_[0].n = n;
    const auto refused = RunRequests(setup_, requests_);
    EXPECT_THAT(std::string(Message(refused.status())), HasSubstr("generates nothing"));
  }
}

}  // namespace
}  // namespace folkmoot
