// SPDX-License-Identifier: Apache-2.0
// The sampler against the logits processors of Transformers (tools/make_sampler_goldens.py), and
// what must hold for all of its answers.
#include "runtime/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <numeric>
#include <random>

#include "nlohmann/json.hpp"
#include "runtime/ops/norm.h"

namespace folkmoot {
namespace {

std::vector<float> RandomLogits(size_t count, uint32_t seed, float spread = 2.5f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> logits(count);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

// The tokens that a draw may choose, best first, by definition: sort everything, then cut.
std::vector<int32_t> Candidates(const std::vector<float>& logits, const SamplingParams& params) {
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
  });
  if (params.top_k > 0) {
    order.resize(std::min(order.size(), static_cast<size_t>(params.top_k)));
  }
  const auto weight = [&](int32_t token) {
    const auto at = [&](int32_t t) { return static_cast<double>(logits[static_cast<size_t>(t)]); };
    return std::exp((at(token) - at(order[0])) / static_cast<double>(params.temperature));
  };
  double total = 0;
  for (const int32_t token : order) total += weight(token);
  double mass = 0;
  size_t kept = 0;
  while (kept < order.size() && (kept == 0 || mass < static_cast<double>(params.top_p) * total)) {
    mass += weight(order[kept++]);
  }
  order.resize(params.top_p < 1 ? kept : order.size());
  return order;
}

SamplingParams ParamsOf(const nlohmann::json& test) {
  SamplingParams params;
  params.temperature = test.value("temperature", 1.0f);
  params.top_k = test.value("top_k", 0);
  params.top_p = test.value("top_p", 1.0f);
  params.min_p = test.value("min_p", 0.0f);
  params.repetition_penalty = test.value("repetition_penalty", 1.0f);
  params.frequency_penalty = test.value("frequency_penalty", 0.0f);
  params.presence_penalty = test.value("presence_penalty", 0.0f);
  params.min_tokens = test.value("min_tokens", 0);
  params.suppressed_ids = test["suppressed_ids"].get<std::vector<int32_t>>();
  if (test.contains("bad_words")) {
    params.bad_words = test["bad_words"].get<std::vector<std::vector<int32_t>>>();
  }
  if (test.contains("logit_bias")) {
    params.logit_bias = test["logit_bias"].get<std::vector<std::pair<int32_t, float>>>();
  }
  return params;
}

TEST(Sampler, LeavesWhatTransformersLeaves) {
  const auto golden =
      nlohmann::json::parse(std::ifstream(std::string(FOLKMOOT_TEST_DATA) + "/sampler.json"));
  ASSERT_GE(golden["cases"].size(), 100u);
  Sampler sampler;
  for (const nlohmann::json& test : golden["cases"]) {
    const auto logits = test["logits"].get<std::vector<float>>();
    const auto prompt = test["prompt"].get<std::vector<int32_t>>();
    TokenHistory history;
    history.AddPrompt(prompt);
    for (const auto& token : test["output"]) history.AddOutput(token.get<int32_t>());
    SamplingParams params = ParamsOf(test);
    const SampleInput input = {
        .logits = logits,
        .params = params,
        .position = static_cast<int64_t>(prompt.size() + test["output"].size()),
        .prompt_length = static_cast<int64_t>(prompt.size()),
        .history = &history};
    ASSERT_TRUE(sampler.Sample(input).has_value());
    const double total = std::accumulate(sampler.weights().begin(), sampler.weights().end(), 0.0);
    for (size_t t = 0; t < logits.size(); ++t) {
      const double p = static_cast<double>(sampler.weights()[t]) / total;
      const double wanted = test["probabilities"].value(std::to_string(t), 0.0);
      EXPECT_EQ(wanted > 0, p > 0) << "token " << t << " of " << test;
      EXPECT_NEAR(p, wanted, 1e-5) << "token " << t << " of " << test;
    }
    params.temperature = 0;
    EXPECT_EQ(sampler.Sample(input), test["greedy"].get<int32_t>());
  }
}

TEST(Sampler, FiltersKeepWhatASortedWalkKeeps) {
  Sampler sampler;
  for (uint32_t seed = 0; seed < 60; ++seed) {
    std::vector<float> logits = RandomLogits(1000 + seed, seed, seed % 3 == 0 ? 0.02f : 3.0f);
    if (seed % 2 == 0) {  // many ties
      for (float& logit : logits) logit = std::round(logit * 4) / 4;
    }
    SamplingParams params;
    params.temperature = 0.8f;
    params.top_k = seed % 4 == 0 ? 1 + static_cast<int32_t>(seed) * 7 : 0;
    params.top_p = seed % 5 == 0 ? 1.0f : 0.15f * static_cast<float>(seed % 6) + 0.1f;
    std::vector<int32_t> wanted = Candidates(logits, params);
    std::sort(wanted.begin(), wanted.end());
    ASSERT_TRUE(sampler.Sample({.logits = logits, .params = params}).has_value());
    std::vector<int32_t> kept;
    for (size_t t = 0; t < logits.size(); ++t) {
      if (sampler.weights()[t] > 0) kept.push_back(static_cast<int32_t>(t));
    }
    EXPECT_EQ(kept, wanted) << "seed " << seed;
  }
}

// Token 0 ends. The mask of a form that is complete leaves it alone; one that may go on does not.
TEST(Sampler, ACompleteFormEndsBeforeMinTokens) {
  const std::vector<float> logits = {9.0f, 1.0f, 2.0f, 3.0f};
  SamplingParams params;
  params.min_tokens = 5;
  params.suppressed_ids = {0, 3};
  Sampler sampler;
  const auto sample = [&](uint32_t mask) {
    const std::vector<uint32_t> allowed = {mask};
    return sampler.Sample({.logits = logits, .params = params, .allowed = allowed});
  };
  for (const float temperature : {0.0f, 1.0f}) {
    params.temperature = temperature;
    EXPECT_EQ(sample(0b0001), 0) << "nothing but the end";
    EXPECT_EQ(sample(0b0011), 1) << "the form may go on";
    EXPECT_EQ(sample(0b1000), 3) << "a stop token that the form asks for";
    EXPECT_EQ(sample(0b0000), std::nullopt);
  }
  params.temperature = 0;
  params.allowed_ids = {0, 3};
  EXPECT_EQ(sampler.Sample({.logits = logits, .params = params}), std::nullopt)
      << "without a form min_tokens stands";
}

TEST(Sampler, DrawsInProportionToTheProbabilities) {
  const std::vector<float> logits = {0.0f, 1.0f, -std::numeric_limits<float>::max(), 2.0f, 0.5f};
  double total = 0;
  for (const float logit : logits) total += std::exp(static_cast<double>(logit));
  std::vector<int> drawn(logits.size(), 0);
  Sampler sampler;
  SamplingParams params;
  constexpr int kDraws = 40000;
  for (int i = 0; i < kDraws; ++i) {
    params.seed = static_cast<uint64_t>(i % 200);
    const SampleInput input = {.logits = logits, .params = params, .position = i / 200};
    ++drawn[static_cast<size_t>(*sampler.Sample(input))];
  }
  for (size_t t = 0; t < logits.size(); ++t) {
    const double p = std::exp(static_cast<double>(logits[t])) / total;
    EXPECT_NEAR(drawn[t], p * kDraws, 4 * std::sqrt(p * (1 - p) * kDraws)) << t;
  }
}

// The draw walks over ids: every run of the vocabulary can be reached, also behind empty ones.
TEST(Sampler, ReachesTheLastOfManyTokens) {
  std::vector<float> logits(5000, -std::numeric_limits<float>::infinity());
  logits[4999] = 1.0f;
  Sampler sampler;
  const SamplingParams params;
  EXPECT_EQ(sampler.Sample({.logits = logits, .params = params, .position = 9}), 4999);
}

TEST(Sampler, OnlyAllowedTokensCome) {
  const std::vector<float> logits = RandomLogits(100, 5);
  SamplingParams params;
  std::vector<uint32_t> mask(4, 0);
  for (const size_t token : {3u, 64u, 97u}) mask[token / 32] |= 1u << token % 32;
  Sampler sampler;
  for (int64_t position = 0; position < 200; ++position) {
    const auto token =
        sampler.Sample({.logits = logits, .params = params, .position = position, .allowed = mask});
    ASSERT_TRUE(token == 3 || token == 64 || token == 97);
    params.allowed_ids = {64, 97, 5000, -1, 12};
    const auto both =
        sampler.Sample({.logits = logits, .params = params, .position = position, .allowed = mask});
    ASSERT_TRUE(both == 64 || both == 97);
    params.allowed_ids.clear();
  }
  params.temperature = 0;
  const auto greedy = sampler.Sample({.logits = logits, .params = params, .allowed = mask});
  std::vector<float> masked(100, -1e9f);
  for (const size_t token : {3u, 64u, 97u}) masked[token] = logits[token];
  EXPECT_EQ(greedy, ArgMax(masked));
}

TEST(Sampler, NothingAllowedIsNoToken) {
  const std::vector<float> logits = RandomLogits(40, 6);
  SamplingParams params;
  Sampler sampler;
  const std::vector<uint32_t> none(2, 0);
  for (const float temperature : {0.0f, 1.0f}) {
    params.temperature = temperature;
    EXPECT_EQ(sampler.Sample({.logits = logits, .params = params, .allowed = none}), std::nullopt);
  }
  params.allowed_ids = {40, -7};  // none of the vocabulary
  EXPECT_EQ(sampler.Sample({.logits = logits, .params = params}), std::nullopt);
}

TEST(Sampler, TinyTemperaturesAreGreedy) {
  const std::vector<float> logits = RandomLogits(1000, 7);
  Sampler sampler;
  SamplingParams params;
  for (const float temperature : {1e-3f, 1e-20f, 1e-44f}) {
    params.temperature = temperature;
    EXPECT_EQ(sampler.Sample({.logits = logits, .params = params}), ArgMax(logits));
  }
}

TEST(Sampler, ChosenLogprobIsTheBestOne) {
  const std::vector<float> logits = RandomLogits(32000, 8);
  Sampler sampler;
  SamplingParams params;
  params.temperature = 0;
  const auto token = sampler.Sample({.logits = logits, .params = params});
  const double log_sum_exp = LogSumExp(logits);
  std::vector<TokenLogprob> top;
  sampler.TopLogprobs(logits, log_sum_exp, 3, &top);
  EXPECT_EQ(top.at(0).token, *token);
  EXPECT_EQ(top.at(0).logprob, Sampler::Logprob(logits, log_sum_exp, *token));
  EXPECT_EQ(Sampler::Rank(logits, top[0].token), 1);
  EXPECT_EQ(Sampler::Rank(logits, top[2].token), 3);
}

TEST(Sampler, EqualLogitsShareTheBestRank) {
  const std::vector<float> logits = {2.0f, 1.0f, 2.0f, 0.0f};
  EXPECT_EQ(Sampler::Rank(logits, 0), 1);
  EXPECT_EQ(Sampler::Rank(logits, 2), 1);
  EXPECT_EQ(Sampler::Rank(logits, 1), 3);
}

TEST(TokenHistory, CountsTheOutputAndKnowsThePrompt) {
  TokenHistory history;
  history.AddPrompt(std::vector<int32_t>{5, 6, 5});
  history.AddOutput(6);
  history.AddOutput(9);
  history.AddOutput(6);
  std::vector<std::pair<int32_t, int32_t>> entries;
  for (const auto& entry : history.entries()) entries.emplace_back(entry.token, entry.written);
  EXPECT_EQ(entries, (std::vector<std::pair<int32_t, int32_t>>{{5, 0}, {6, 2}, {9, 1}}));
  EXPECT_EQ(std::vector<int32_t>(history.output().begin(), history.output().end()),
            (std::vector<int32_t>{6, 9, 6}));
}

}  // namespace
}  // namespace folkmoot
