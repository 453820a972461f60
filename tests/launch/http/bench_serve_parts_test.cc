// SPDX-License-Identifier: Apache-2.0
// The parts of `bench serve` that need no server: prompts, arrivals, figures.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <set>

#include "launch/commands/bench_serve_load.h"
#include "launch/commands/bench_serve_prompts.h"
#include "launch/commands/bench_serve_report.h"

namespace folkmoot {
namespace {

using ::testing::HasSubstr;

TEST(BenchPrompts, RandomLengthsAndPrefixes) {
  BenchDataset dataset;
  dataset.prompts = 200;
  dataset.input_len = 100;
  dataset.output_len = 10;
  dataset.range_ratio = 0.5;
  dataset.prefix_len = 7;
  dataset.vocab = 50;
  const auto prompts = *MakeBenchPrompts(dataset);
  ASSERT_EQ(prompts.size(), 200U);
  size_t least = 1000;
  size_t most = 0;
  for (const BenchPrompt& prompt : prompts) {
    least = std::min(least, prompt.tokens.size() - 7);
    most = std::max(most, prompt.tokens.size() - 7);
    EXPECT_TRUE(
        std::equal(prompt.tokens.begin(), prompt.tokens.begin() + 7, prompts[0].tokens.begin()));
    for (const int32_t token : prompt.tokens) EXPECT_LT(token, 50);
    EXPECT_TRUE(prompt.output_tokens >= 5 && prompt.output_tokens <= 15);
  }
  EXPECT_TRUE(least >= 50 && least < 60 && most > 140 && most <= 150) << least << " " << most;
  EXPECT_EQ((*MakeBenchPrompts(dataset))[9].tokens, prompts[9].tokens);
  dataset.seed = 1;
  EXPECT_NE((*MakeBenchPrompts(dataset))[9].tokens, prompts[9].tokens);
}

TEST(BenchPrompts, PrefixRepetition) {
  BenchDataset dataset;
  dataset.name = "prefix_repetition";
  dataset.prompts = 12;
  dataset.repetition_prefixes = 3;
  std::set<std::vector<int32_t>> prefixes;
  std::set<std::vector<int32_t>> whole;
  const auto prompts = *MakeBenchPrompts(dataset);
  for (const BenchPrompt& prompt : prompts) {
    prefixes.emplace(prompt.tokens.begin(), prompt.tokens.begin() + 256);
    whole.insert(prompt.tokens);
    EXPECT_EQ(prompt.tokens.size(), 512U);
  }
  EXPECT_EQ(prefixes.size(), 3U);
  EXPECT_EQ(whole.size(), 12U);
}

TEST(BenchPrompts, Files) {
  const std::string path = testing::TempDir() + "bench_prompts";
  BenchDataset dataset;
  dataset.path = path;
  dataset.prompts = 3;
  dataset.name = "sharegpt";
  std::ofstream(path)
      << R"([{"conversations":[{"value":"hi"},{"value":"abcdefghijklmnopqrstuvwx"}]},
                             {"conversations":[{"value":"alone"}]}, {"x":1}])";
  auto prompts = *MakeBenchPrompts(dataset);
  ASSERT_EQ(prompts.size(), 3U);  // the only usable one, three times
  EXPECT_EQ(prompts[2].text, "hi");
  EXPECT_EQ(prompts[2].output_tokens, 6);
  dataset.name = "custom";
  std::ofstream(path) << "{\"prompt\":\"a\"}\n\n{\"prompt\":\"b\",\"output_tokens\":9}\n";
  prompts = *MakeBenchPrompts(dataset);
  EXPECT_EQ(prompts[0].output_tokens, 256);
  EXPECT_EQ(prompts[1].output_tokens, 9);
  dataset.file_output_len = 5;
  EXPECT_EQ((*MakeBenchPrompts(dataset))[1].output_tokens, 5);
  std::ofstream(path) << "{\"prompt\":\"a\"}\nnonsense\n";
  EXPECT_THAT(std::string(Message(MakeBenchPrompts(dataset).status())), HasSubstr(":2: "));
}

TEST(BenchLoad, Arrivals) {
  EXPECT_EQ(ArrivalTimes(3, INFINITY, 1, 0), std::vector<double>(3, 0.0));
  const auto spread = [](double burstiness) {
    const auto times = ArrivalTimes(4000, 10, burstiness, 1);
    EXPECT_NEAR(times.back(), 400, 1e-9);
    double squares = 0;
    for (size_t i = 1; i < times.size(); ++i) {
      squares += std::pow((times[i] - times[i - 1]) * 10 - 1, 2);
    }
    return std::sqrt(squares / 3999);  // coefficient of variation: 1 / sqrt(burstiness)
  };
  EXPECT_NEAR(spread(1), 1, 0.1);
  EXPECT_NEAR(spread(100), 0.1, 0.02);
  EXPECT_NEAR(spread(0.25), 2, 0.4);
}

// Worked by hand, and with NumPy: percentile([1, 2, 4, 8], 75) = 5.0, std = 2.680951...
TEST(BenchReport, Figures) {
  EXPECT_DOUBLE_EQ(Percentile({8, 1, 4, 2}, 75), 5.0);
  EXPECT_DOUBLE_EQ(Percentile({8, 1, 4, 2}, 50), 3.0);
  EXPECT_DOUBLE_EQ(Percentile({3}, 99), 3.0);
  EXPECT_DOUBLE_EQ(Percentile({}, 99), 0.0);
  BenchRun run;
  run.seconds = 2;
  for (const double ttft : {0.001, 0.002, 0.004, 0.008}) {
    BenchOutcome outcome;
    outcome.success = true;
    outcome.start = ttft;
    outcome.ttft = ttft;
    outcome.itl = {0.5, 0.5};
    outcome.latency = ttft + 1;
    outcome.input_tokens = 10;
    outcome.output_tokens = 3;
    run.outcomes.push_back(outcome);
  }
  run.outcomes.emplace_back();  // failed
  const BenchMetrics metrics = MeasureBench(run, {{"ttft", 3}, {"tpot", 500.001}}, {75, 99});
  EXPECT_EQ(metrics.completed, 4);
  EXPECT_EQ(metrics.failed, 1);
  EXPECT_DOUBLE_EQ(metrics.request_throughput, 2.0);
  EXPECT_DOUBLE_EQ(metrics.request_goodput, 1.0);
  EXPECT_DOUBLE_EQ(metrics.output_throughput, 6.0);
  EXPECT_DOUBLE_EQ(metrics.total_token_throughput, 26.0);
  EXPECT_DOUBLE_EQ(metrics.ttft.mean, 3.75);
  EXPECT_DOUBLE_EQ(metrics.ttft.median, 3.0);
  EXPECT_NEAR(metrics.ttft.std, 2.6809513, 1e-6);
  EXPECT_DOUBLE_EQ(metrics.ttft.percentiles[0].second, 5.0);
  EXPECT_NEAR(metrics.tpot.mean, 500, 1e-9);
  EXPECT_EQ(metrics.max_concurrent_requests, 4);
  EXPECT_DOUBLE_EQ(metrics.max_output_tokens_per_s, 8);  // first and second tokens
}

}  // namespace
}  // namespace folkmoot
