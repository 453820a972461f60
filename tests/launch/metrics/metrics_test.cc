// SPDX-License-Identifier: Apache-2.0
#include "launch/metrics/metrics.h"

#include <algorithm>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/launch/metrics/exposition.h"

namespace folkmoot {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const SteadyTime kStart = SteadyTime{} + std::chrono::hours(1);

MetricsOptions Options() {
  MetricsOptions options;
  options.model_name = "demo";
  options.version = "0.1";
  options.max_model_len = 1024;
  options.block_size = 16;
  options.total_blocks = 100;
  options.moe = {.layers = {1, 3},
                 .experts = 4,
                 .top_k = 2,
                 .ranks = 2,
                 .rank_of_expert = {0, 0, 1, 1},
                 .placement = "contiguous"};
  return options;
}

OutputEvent Event(int64_t request, int choice, int32_t token, int64_t at_ms,
                  FinishReason finish = FinishReason::kNone) {
  OutputEvent event;
  event.request = request;
  event.choice = choice;
  event.result.token = token;
  event.finish = finish;
  event.admitted = kStart + milliseconds(20);
  event.time = kStart + milliseconds(at_ms);
  return event;
}

class MetricsTest : public ::testing::Test {
 protected:
  // The one sample of this name that has all these labels.
  double Value(const std::string& name, const std::vector<std::string>& labels = {}) {
    const Exposition now = ReadExposition(metrics_.Render());
    EXPECT_THAT(now.errors, IsEmpty());
    std::vector<double> found;
    for (const auto& [sample, value] : now.samples) {
      if (sample.rfind(name + "{", 0) != 0) continue;
      EXPECT_NE(sample.find(R"(engine="0")"), std::string::npos) << sample;
      EXPECT_NE(sample.find(R"(model_name="demo")"), std::string::npos) << sample;
      const bool all =
          std::all_of(labels.begin(), labels.end(), [&text = sample](const std::string& label) {
            return text.find(label) != std::string::npos;
          });
      if (all) found.push_back(value);
    }
    EXPECT_THAT(found, SizeIs(1)) << name;
    return found.empty() ? -1 : found.front();
  }

  Metrics metrics_{Options()};
};

TEST_F(MetricsTest, OneRequestFromArrivalToEnd) {
  metrics_.OnSubmitted({.id = 7, .prompt_tokens = 50, .max_tokens = 3, .n = 1, .arrival = kStart});
  OutputEvent chunk = Event(7, 0, -1, 30);  // a piece of the prompt
  OutputEvent first = Event(7, 0, 11, 50);
  first.cached_tokens = 32;
  metrics_.OnEvents({chunk, first});
  metrics_.OnEvents({Event(7, 0, 12, 60)});
  metrics_.OnEvents({Event(7, 0, 13, 80, FinishReason::kLength)});
  metrics_.OnEvents({Event(7, 0, 14, 90)});  // it has ended

  EXPECT_EQ(Value("vllm:prompt_tokens_total"), 50);
  EXPECT_EQ(Value("vllm:prompt_tokens_cached_total"), 32);
  EXPECT_EQ(Value("vllm:prompt_tokens_by_source_total", {R"(source="local_compute")"}), 18);
  EXPECT_EQ(Value("vllm:prompt_tokens_by_source_total", {R"(source="local_cache_hit")"}), 32);
  EXPECT_EQ(Value("vllm:generation_tokens_total"), 3);
  EXPECT_EQ(Value("vllm:request_success_total", {R"(finished_reason="length")"}), 1);
  EXPECT_EQ(Value("vllm:request_success_total", {R"(finished_reason="stop")"}), 0);
  EXPECT_NEAR(Value("vllm:time_to_first_token_seconds_sum"), 0.050, 1e-9);
  EXPECT_NEAR(Value("vllm:inter_token_latency_seconds_sum"), 0.030, 1e-9);
  EXPECT_EQ(Value("vllm:inter_token_latency_seconds_count"), 2);
  EXPECT_NEAR(Value("vllm:request_time_per_output_token_seconds_sum"), 0.015, 1e-9);
  EXPECT_NEAR(Value("vllm:e2e_request_latency_seconds_sum"), 0.080, 1e-9);
  EXPECT_NEAR(Value("vllm:request_queue_time_seconds_sum"), 0.020, 1e-9);
  EXPECT_NEAR(Value("vllm:request_prefill_time_seconds_sum"), 0.030, 1e-9);
  EXPECT_NEAR(Value("vllm:request_decode_time_seconds_sum"), 0.030, 1e-9);
  EXPECT_NEAR(Value("vllm:request_inference_time_seconds_sum"), 0.060, 1e-9);
  EXPECT_EQ(Value("vllm:request_prompt_tokens_sum"), 50);
  EXPECT_EQ(Value("vllm:request_generation_tokens_sum"), 3);
  EXPECT_EQ(Value("vllm:request_max_num_generation_tokens_sum"), 3);
  EXPECT_EQ(Value("vllm:request_params_max_tokens_sum"), 3);
  EXPECT_EQ(Value("vllm:request_prefill_kv_computed_tokens_sum"), 18);
  EXPECT_NEAR(Value("moe:time_to_first_token_seconds_sum"), 0.050, 1e-9);
  EXPECT_NEAR(Value("moe:inter_token_latency_seconds_sum"), 0.030, 1e-9);
}

TEST_F(MetricsTest, ChoicesShareOnePrompt) {
  metrics_.OnSubmitted({.id = 1, .prompt_tokens = 9, .max_tokens = 5, .n = 2, .arrival = kStart});
  metrics_.OnEvents({Event(1, 0, 5, 40), Event(1, 1, 6, 40)});
  metrics_.OnEvents({Event(1, 0, 5, 50, FinishReason::kStop), Event(1, 1, 6, 50)});
  EXPECT_EQ(Value("vllm:request_params_n_count"), 0);  // the other choice goes on
  metrics_.OnEvents({Event(1, 1, 6, 60, FinishReason::kStop)});
  EXPECT_EQ(Value("vllm:prompt_tokens_total"), 9);
  EXPECT_EQ(Value("vllm:generation_tokens_total"), 5);
  EXPECT_EQ(Value("vllm:request_success_total", {R"(finished_reason="stop")"}), 2);
  EXPECT_EQ(Value("vllm:request_params_n_sum"), 2);
  EXPECT_EQ(Value("vllm:request_prompt_tokens_count"), 1);
  EXPECT_EQ(Value("vllm:request_max_num_generation_tokens_sum"), 3);
  EXPECT_EQ(Value("vllm:request_generation_tokens_count"), 2);
}

TEST_F(MetricsTest, AScoreOnlyRequestCountsItsPrompt) {
  metrics_.OnSubmitted({.id = 2, .prompt_tokens = 9, .max_tokens = 0, .n = 1, .arrival = kStart});
  metrics_.OnEvents({Event(2, 0, -1, 40, FinishReason::kLength)});
  EXPECT_EQ(Value("vllm:prompt_tokens_total"), 9);
  EXPECT_EQ(Value("vllm:time_to_first_token_seconds_count"), 0);
  EXPECT_EQ(Value("vllm:request_generation_tokens_count"), 1);
}

TEST_F(MetricsTest, RefusedAndAbortedInTheQueue) {
  metrics_.OnRefused("queue_full");
  metrics_.OnSubmitted({.id = 3, .prompt_tokens = 9, .max_tokens = 5, .n = 2, .arrival = kStart});
  OutputEvent wrong = Event(3, 0, -1, 1, FinishReason::kError);
  wrong.rejected = true;
  metrics_.OnEvents({wrong, wrong});
  metrics_.OnSubmitted({.id = 4, .prompt_tokens = 9, .max_tokens = 5, .n = 1, .arrival = kStart});
  OutputEvent gone = Event(4, 0, -1, 10, FinishReason::kAborted);
  gone.admitted = SteadyTime{};
  metrics_.OnEvents({gone});
  EXPECT_EQ(Value("moe:requests_refused_total", {R"(reason="queue_full")"}), 1);
  EXPECT_EQ(Value("moe:requests_refused_total", {R"(reason="invalid")"}), 1);
  EXPECT_EQ(Value("moe:requests_refused_total", {R"(reason="draining")"}), 0);
  EXPECT_EQ(Value("vllm:request_success_total", {R"(finished_reason="error")"}), 0);
  EXPECT_EQ(Value("vllm:request_success_total", {R"(finished_reason="abort")"}), 1);
  EXPECT_EQ(Value("vllm:request_queue_time_seconds_count"), 0);
  EXPECT_EQ(Value("vllm:prompt_tokens_total"), 0);
}

TEST_F(MetricsTest, NonsenseEventsAreIgnored) {
  metrics_.OnEvents({Event(99, 0, 5, 1)});
  metrics_.OnSubmitted({.id = 5, .prompt_tokens = 1, .max_tokens = 5, .n = 1, .arrival = kStart});
  metrics_.OnEvents({Event(5, 3, 5, 1), Event(5, -1, 5, 1)});
  EXPECT_EQ(Value("vllm:generation_tokens_total"), 0);
}

TEST_F(MetricsTest, SnapshotsCountDifferences) {
  EngineSnapshot snapshot;
  snapshot.running = 3;
  snapshot.waiting = 2;
  snapshot.total_blocks = 100;
  snapshot.used_blocks = 25;
  snapshot.cached_blocks = 15;
  snapshot.preemptions = 4;
  snapshot.prefix_query_tokens = 1000;
  snapshot.prefix_hit_tokens = 640;
  snapshot.stats.steps = 1;
  snapshot.stats.tokens = 8;
  ExpertCounts experts = {.tokens = {1, 2, 3, 4, 5, 6, 7, 8}, .overflow = {0, 0, 9, 0, 0, 0, 0, 0}};
  snapshot.last_step = kStart;
  for (int i = 0; i < 2; ++i) {
    metrics_.OnSnapshot(snapshot);
    metrics_.OnExperts(experts, kStart);
  }
  EXPECT_EQ(Value("vllm:num_requests_running"), 3);
  EXPECT_EQ(Value("vllm:num_requests_waiting"), 2);
  EXPECT_EQ(Value("vllm:num_requests_waiting_by_reason", {R"(reason="capacity")"}), 2);
  EXPECT_EQ(Value("vllm:kv_cache_usage_perc"), 0.25);
  EXPECT_EQ(Value("moe:kv_blocks", {R"(state="free")"}), 60);
  EXPECT_EQ(Value("vllm:num_preemptions_total"), 4);
  EXPECT_EQ(Value("vllm:prefix_cache_queries_total"), 1000);
  EXPECT_EQ(Value("vllm:prefix_cache_hits_total"), 640);
  EXPECT_EQ(Value("moe:steps_total"), 1);
  EXPECT_EQ(Value("moe:step_tokens_total"), 8);
  EXPECT_EQ(Value("vllm:iteration_tokens_total_count"), 1);
  EXPECT_EQ(Value("moe:rank_tokens_total", {R"(layer="3")", R"(rank="1")"}), 15);

  EXPECT_EQ(Value("moe:expert_tokens_total", {R"(layer="3")", R"(expert="2")"}), 7);
  EXPECT_EQ(Value("moe:expert_overflow_total", {R"(layer="1")", R"(expert="2")"}), 9);

  snapshot.stats.seconds.model = 0.5;
  snapshot.stats.seconds.total = 0.6;
  snapshot.stats.steps = 3;  // two steps of 16 tokens, looked at once
  snapshot.stats.tokens = 40;
  experts.tokens = {1, 2, 13, 4, 5, 6, 7, 18};
  snapshot.last_step = kStart + milliseconds(900);
  metrics_.OnSnapshot(snapshot);
  metrics_.OnExperts(experts, snapshot.last_step);
  EXPECT_EQ(Value("vllm:iteration_tokens_total_count"), 3);
  EXPECT_EQ(Value("vllm:iteration_tokens_total_sum"), 40);
  EXPECT_EQ(Value("moe:phase_seconds_total", {R"(phase="model")"}), 0.5);
  EXPECT_EQ(Value("moe:step_seconds_count"), 3);
  EXPECT_NEAR(Value("moe:step_seconds_sum"), 0.6, 1e-9);
  EXPECT_EQ(Value("vllm:num_preemptions_total"), 4);
  EXPECT_EQ(Value("moe:balancedness", {R"(layer="1")"}), 0.5);  // 10 new tokens, all on rank 1
  EXPECT_EQ(Value("moe:expert_balancedness", {R"(layer="1")"}), 0.25);
}

TEST_F(MetricsTest, LostChoicesAreCountedOnce) {
  metrics_.OnSubmitted({.id = 8, .prompt_tokens = 9, .max_tokens = 5, .n = 2, .arrival = kStart});
  OutputEvent first = Event(8, 0, 5, 40);
  first.result.drops = {{.layer = 3, .rejected = 4, .overflow = 2, .prompt_rejected = 4}};
  OutputEvent second = Event(8, 1, 5, 40);
  second.result.drops = first.result.drops;
  OutputEvent later = Event(8, 0, 5, 50);
  later.result.drops = {{.layer = 3, .rejected = 5, .overflow = 2, .prompt_rejected = 4}};
  metrics_.OnEvents({first, second, later});
  EXPECT_EQ(Value("moe:dropped_tokens_total", {R"(layer="3")", R"(reason="rejected")"}), 5);
  EXPECT_EQ(Value("moe:dropped_tokens_total", {R"(layer="3")", R"(reason="overflow")"}), 4);
  EXPECT_EQ(Value("moe:dropped_tokens_total", {R"(layer="1")", R"(reason="overflow")"}), 0);
  ASSERT_THAT(metrics_.drops(), SizeIs(2));
  EXPECT_EQ(metrics_.drops()[1].rejected, 5);
}

TEST_F(MetricsTest, BucketsAreThoseOfVllm) {
  const Exposition now = ReadExposition(metrics_.Render());
  EXPECT_THAT(now.Bounds("vllm:time_to_first_token_seconds"),
              ElementsAre(.001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10,
                          20, 40, 80, 160, 640, 2560));
  EXPECT_THAT(now.Bounds("vllm:inter_token_latency_seconds"),
              ElementsAre(.01, .025, .05, .075, .1, .15, .2, .3, .4, .5, .75, 1, 2.5, 5, 7.5, 10,
                          20, 40, 80));
  EXPECT_THAT(now.Bounds("vllm:e2e_request_latency_seconds"),
              ElementsAre(.3, .5, .8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480,
                          960, 1920, 7680));
  EXPECT_THAT(now.Bounds("vllm:request_prompt_tokens"),
              ElementsAre(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000));
  EXPECT_THAT(now.Bounds("vllm:iteration_tokens_total"),
              ElementsAre(1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384));
  EXPECT_LE(now.Bounds("moe:inter_token_latency_seconds").front(), 1e-4);
}

TEST_F(MetricsTest, UpperBoundsAreInclusive) {
  metrics_.OnSubmitted({.id = 6, .prompt_tokens = 10, .max_tokens = 5, .n = 1, .arrival = kStart});
  metrics_.OnEvents({Event(6, 0, 5, 40, FinishReason::kStop)});
  const Exposition now = ReadExposition(metrics_.Render());
  const std::string bucket =
      R"(vllm:request_prompt_tokens_bucket{engine="0",model_name="demo",le=)";
  EXPECT_EQ(now.samples.at(bucket + R"("5"})"), 0);
  EXPECT_EQ(now.samples.at(bucket + R"("10"})"), 1);
  EXPECT_EQ(now.samples.at(bucket + R"("+Inf"})"), 1);
}

TEST(Metrics, AnyModelNameGivesReadableText) {
  MetricsOptions options = Options();
  options.model_name = "a\"b\\c\nd";
  const Exposition now = ReadExposition(Metrics(options).Render());
  EXPECT_THAT(now.errors, IsEmpty());
  EXPECT_EQ(now.samples.count(R"(vllm:num_requests_running{engine="0",model_name="a\"b\\c\nd"})"),
            1);
}

TEST(Metrics, ManyExpertsHaveNoSeriesOfTheirOwn) {
  MetricsOptions options = Options();
  options.max_expert_series = 7;
  const Exposition now = ReadExposition(Metrics(options).Render());
  EXPECT_EQ(now.families.count("moe:expert_tokens_total"), 0);
  EXPECT_EQ(now.families.count("moe:rank_tokens_total"), 1);
}

TEST(Metrics, ADenseModelHasNoExpertMetrics) {
  MetricsOptions options = Options();
  options.moe = {};
  Metrics metrics(options);
  metrics.OnSnapshot({});
  metrics.OnExperts({}, kStart);
  const Exposition now = ReadExposition(metrics.Render());
  EXPECT_THAT(now.errors, IsEmpty());
  EXPECT_EQ(now.families.count("moe:balancedness"), 0);
}

}  // namespace
}  // namespace folkmoot
