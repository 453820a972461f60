// SPDX-License-Identifier: Apache-2.0
// Pages that are computed once and read often.
#include <gtest/gtest.h>

#include "tests/scheduler/driver.h"

namespace folkmoot {
namespace {

SchedulerOptions OneRank() {
  SchedulerOptions options = SmallOptions();
  options.ranks = 1;
  return options;
}

// Tokens of `second` that the cache holds after `first` has ended.
int64_t Cached(const Request& first, const Request& second,
               const SchedulerOptions& options = OneRank()) {
  Driver driver(options);
  driver.Add(first);
  driver.Drain();
  const int64_t id = driver.Add(second);
  driver.Drain();
  driver.ExpectRight(id);
  return driver.outcome(id).cached_tokens;
}

TEST(PrefixCache, AFollowerReadsWholePages) {
  EXPECT_EQ(Cached(Ask(14, 1), Ask(18, 2)), 12);
  SchedulerOptions off = OneRank();
  off.prefix_caching = false;
  EXPECT_EQ(Cached(Ask(14, 1), Ask(18, 2), off), 0);
}

TEST(PrefixCache, TheLastTokenIsAlwaysComputed) {
  EXPECT_EQ(Cached(Ask(16, 1), Ask(16, 2)), 12);
  EXPECT_EQ(Cached(Ask(16, 1), Ask(17, 2)), 16);
}

TEST(PrefixCache, OutputsAreCachedToo) {
  const Request first = Ask(6, 11);
  Request second = first;
  const std::vector<int32_t> output = Expect(first, 0, 0).tokens;
  second.prompt.insert(second.prompt.end(), output.begin(), output.end());
  EXPECT_EQ(Cached(first, second), 16) << "all but the last token were computed";
}

// A window of five tokens that keeps a prompt of six: rows from the twelfth on know where it ends.
TEST(PrefixCache, WhatSeesOutputThroughAWindowIsNotShared) {
  SchedulerOptions options = OneRank();
  options.output_window = 5;
  const Request first = Ask(6, 11);
  const std::vector<int32_t> output = Expect(first, 0, 0, options.output_window).tokens;
  Request second = first;
  second.prompt.insert(second.prompt.end(), output.begin(), output.end());
  EXPECT_EQ(Cached(first, second, options), 8);
  EXPECT_EQ(Cached(second, second, options), 16) << "its prompt is longer";
  // The other way round: pages of the longer prompt are not those of a shorter one's output.
  Driver driver(options);
  driver.Add(second);
  driver.Drain();
  Request resumed = Ask(6, 20);
  resumed.so_far = {{.tokens = output}};
  driver.Add(resumed);
  EXPECT_EQ(StartOf(driver.Plan(), 1).cached, 8);
  driver.Answer();
  driver.Drain();
}

// Beams ask with prompts that are output at their end.
TEST(PrefixCache, WrittenTokensAreNoPrompt) {
  SchedulerOptions options = OneRank();
  options.output_window = 5;
  Request request = Ask(17, 1);
  request.written = 11;
  EXPECT_EQ(Cached(request, request, options), 8);
  request.written = 0;
  EXPECT_EQ(Cached(request, request, options), 16);
  request.written = 17;
  EXPECT_FALSE(Scheduler(options).Check(request).ok());
}

TEST(PrefixCache, TenantsAndGatesDoNotShare) {
  Request salted = Ask(18, 2);
  salted.cache_salt = 5;
  EXPECT_EQ(Cached(Ask(18, 2), salted), 0);
  EXPECT_EQ(Cached(salted, Ask(18, 2)), 0);
  EXPECT_EQ(Cached(salted, salted), 16);
  Request gated = Ask(18, 2);
  gated.gate = "k=1";
  EXPECT_EQ(Cached(Ask(18, 2), gated), 0);
  EXPECT_EQ(Cached(gated, gated), 16);
}

TEST(PrefixCache, GatesThatDependOnMoreThanThePrefixAreLeftAlone) {
  Request request = Ask(18, 2);
  request.gate = kPrivateGate;
  EXPECT_EQ(Cached(request, request), 0);
  Driver driver(OneRank());
  driver.Add(request);
  driver.Drain();
  EXPECT_EQ(driver.scheduler().cached_blocks(), 0) << "published nothing";
}

TEST(PrefixCache, WhoOwesAnswersForAllRowsReadsNothingButPublishes) {
  std::vector<Request> all(4, Ask(18, 2));
  all[0].prompt_logprobs = true;
  all[1].trace_routing = true;
  all[2].layer_digests = true;
  all[3].prefix_cache = false;
  for (const Request& request : all) {
    EXPECT_EQ(Cached(Ask(18, 2), request), 0);
    EXPECT_EQ(Cached(request, Ask(18, 2)), 16);
  }
}

TEST(PrefixCache, AMeanNeedsAllRowsAndTheLastRowNoOther) {
  Request mean = Ask(18, 0);
  mean.pooling = Pooling::kMean;
  Request last = Ask(18, 0);
  last.pooling = Pooling::kLast;
  EXPECT_EQ(Cached(Ask(18, 2), mean), 0);
  EXPECT_EQ(Cached(mean, last), 16);
}

TEST(PrefixCache, NothingIsReadBeforeItWasComputed) {
  SchedulerOptions options = OneRank();
  options.prefill_chunk = 8;
  options.plan_ahead = true;
  Driver driver(options);
  driver.Add(Ask(18, 2));
  driver.Plan();  // 8 tokens, not answered
  driver.Add(Ask(18, 2));
  EXPECT_EQ(StartOf(driver.Plan(), 1).cached, 0);
  driver.Answer();
  driver.Add(Ask(18, 2));
  EXPECT_EQ(StartOf(driver.Plan(), 2).cached, 8) << "the step was answered";
  driver.Drain();
}

// A prompt that fails behind its second page.
Request FailsInItsPrompt() {
  Request request = Ask(30, 2);
  request.gate = kFragileGate;
  Expected expected = Expect(request, 0, 0);
  for (int32_t first = 2; expected.finish != FinishReason::kError || expected.rows < 10; ++first) {
    request.prompt = Ask(30, 2, first).prompt;
    expected = Expect(request, 0, 0);
    if (!expected.tokens.empty()) expected.finish = FinishReason::kStop;  // failed too late
  }
  return request;
}

TEST(PrefixCache, AFailedSequenceLeavesNothing) {
  SchedulerOptions options = OneRank();
  options.prefill_chunk = 4;
  const Request request = FailsInItsPrompt();
  Driver driver(options);
  driver.Add(request);
  driver.Step();
  driver.Step();
  Request reader = request;  // reads two pages and stays
  reader.prompt.resize(9);
  reader.max_tokens = 40;
  while (Expect(reader, 0, 1).finish == FinishReason::kError) ++reader.sampling.seed;
  const int64_t id = driver.Add(reader);
  while (driver.outcome(0).finish == FinishReason::kNone) driver.Step();
  EXPECT_EQ(driver.outcome(0).finish, FinishReason::kError);
  EXPECT_EQ(driver.outcome(id).cached_tokens, 8);
  EXPECT_EQ(driver.scheduler().cached_blocks(), 0);
  driver.Drain();
  driver.ExpectRight(id);
}

// Nor does one that began with pages of others and had to compute them itself in its next life.
TEST(PrefixCache, AFailedSequenceLeavesNothingOfLaterLives) {
  SchedulerOptions options = OneRank();
  options.prefill_chunk = 4;
  const Request request = FailsInItsPrompt();
  Driver driver(options);
  Request other = request;
  other.prompt.resize(9);
  other.max_tokens = 1;
  driver.Add(other);
  driver.Drain();
  const int64_t id = driver.Add(request);
  EXPECT_EQ(StartOf(driver.Plan(), id).cached, 8);
  driver.Crash();
  driver.Drain();
  EXPECT_EQ(driver.outcome(id).finish, FinishReason::kError);
  EXPECT_EQ(driver.scheduler().cached_blocks(), 0);
}

TEST(PrefixCache, TheOldestPagesMakeRoom) {
  SchedulerOptions options = OneRank();
  options.blocks_per_rank = 10;
  options.max_model_len = 40;
  Driver driver(options);
  driver.Add(Ask(17, 1));  // 4 full pages
  driver.Drain();
  driver.Add(Ask(17, 1, 20));  // 4 more
  driver.Drain();
  EXPECT_EQ(driver.scheduler().cached_blocks(), 8);
  driver.Add(Ask(17, 1));  // read again: now the others are older
  driver.Drain();
  driver.Add(Ask(17, 1, 31));
  driver.Drain();
  const int64_t kept = driver.Add(Ask(17, 1));
  driver.Drain();
  EXPECT_EQ(driver.outcome(kept).cached_tokens, 16);
  const int64_t gone = driver.Add(Ask(17, 1, 20));
  driver.Drain();
  EXPECT_LT(driver.outcome(gone).cached_tokens, 16);
}

TEST(PrefixCache, AttractsToItsRankWhenLoadsAreClose) {
  Driver driver(SmallOptions());
  driver.Add(Ask(4, 1, 30));  // to rank 0
  driver.Add(Ask(42, 1));     // to rank 1
  driver.Drain();
  driver.Add(Ask(4, 60, 35));  // rank 0
  driver.Add(Ask(4, 60, 25));  // rank 1
  const int64_t id = driver.Add(Ask(42, 4));
  const StepPlan plan = driver.Step();
  EXPECT_EQ(RankOf(plan, id), 1);
  EXPECT_EQ(StartOf(plan, id).cached, 40);
  driver.Drain();
}

TEST(PrefixCache, CountsQueriesAndHits) {
  Driver driver(OneRank());
  driver.Add(Ask(14, 1));
  driver.Drain();
  driver.Add(Ask(18, 1));
  driver.Drain();
  EXPECT_EQ(driver.scheduler().prefix_query_tokens(), 32);
  EXPECT_EQ(driver.scheduler().prefix_hit_tokens(), 12);
}

}  // namespace
}  // namespace folkmoot
