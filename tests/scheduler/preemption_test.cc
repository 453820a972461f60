// SPDX-License-Identifier: Apache-2.0
// Pages run out; priorities; nobody starves.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/scheduler/driver.h"

namespace folkmoot {
namespace {

using testing::ElementsAre;

SchedulerOptions Tight(int64_t blocks, Policy policy = Policy::kFcfs) {
  SchedulerOptions options = SmallOptions();
  options.ranks = 1;
  options.blocks_per_rank = blocks;
  options.max_model_len = blocks * options.block_size;
  options.policy = policy;
  return options;
}

// Steps until somebody was preempted; the plan that says so.
StepPlan UntilPreempted(Driver* driver) {
  const int64_t before = driver->scheduler().preemptions();
  for (int i = 0; i < 200; ++i) {
    StepPlan plan = driver->Step();
    if (driver->scheduler().preemptions() > before) return plan;
  }
  ADD_FAILURE() << "nobody was preempted";
  return {};
}

TEST(Preemption, TheLatestGivesWayAndBeginsAgainWithItsOutput) {
  Driver driver(Tight(8));
  driver.Add(Ask(5, 20));
  driver.Add(Ask(5, 20, 20));
  const StepPlan plan = UntilPreempted(&driver);
  EXPECT_THAT(plan.ranks[0].finished, ElementsAre(1));
  EXPECT_EQ(RankOf(plan, 0), 0);
  EXPECT_EQ(RankOf(plan, 1), -1);
  EXPECT_EQ(driver.scheduler().waiting(), 1);
  const std::vector<int32_t> output = driver.outcome(1).tokens;
  EXPECT_GT(output.size(), 4u);
  driver.Add(Ask(5, 4, 30));  // comes later
  StepPlan again;
  do {
    again = driver.Step();
    EXPECT_LE(RankOf(again, 2), RankOf(again, 1)) << "the preempted one goes first";
  } while (RankOf(again, 1) < 0);
  const SequenceStart& start = StartOf(again, 1);
  std::vector<int32_t> tokens = Ask(5, 0, 20).prompt;
  tokens.insert(tokens.end(), output.begin(), output.end());
  EXPECT_EQ(start.tokens, tokens);
  EXPECT_EQ(start.prompt_length, 5);
  EXPECT_EQ(start.answered, static_cast<int64_t>(tokens.size()) - 1);
  driver.Drain();
  for (const int64_t id : {0, 1, 2}) driver.ExpectRight(id);
}

TEST(Preemption, ASequenceThatFitsARankAloneFinishes) {
  for (const bool ahead : {false, true}) {
    SchedulerOptions options = Tight(8);
    options.plan_ahead = ahead;
    Driver driver(options);
    for (int32_t i = 0; i < 4; ++i) driver.Add(Ask(12, 20, 5 * i));  // each needs all pages
    driver.Drain();
    for (int64_t id = 0; id < 4; ++id) driver.ExpectRight(id);
  }
}

TEST(Preemption, AdmissionCountsWhatTheOthersNeedForTheirPrompts) {
  SchedulerOptions options = Tight(12);
  options.prefill_chunk = 4;
  Driver driver(options);
  driver.Add(Ask(32, 2));
  driver.Add(Ask(20, 2, 11));  // 8 + 5 pages are too many
  EXPECT_EQ(CountSlices(driver.Step()), 1);
  driver.Drain();
  EXPECT_EQ(driver.scheduler().preemptions(), 0);
  driver.ExpectRight(1);
}

TEST(Preemption, NobodyOvertakesTheHeadOfTheQueue) {
  Driver driver(Tight(12));
  driver.Add(Ask(20, 4));
  driver.Add(Ask(36, 4, 11));  // does not fit beside the first
  driver.Add(Ask(2, 2, 30));   // would
  EXPECT_EQ(CountSlices(driver.Step()), 1);
  driver.Drain();
  for (const int64_t id : {0, 1, 2}) driver.ExpectRight(id);
}

TEST(Preemption, TracesAreAnsweredOnce) {
  SchedulerOptions options = Tight(8);
  Driver driver(options);
  driver.Add(Ask(5, 20));
  Request traced = Ask(5, 20, 20);
  traced.trace_routing = true;
  driver.Add(traced);
  UntilPreempted(&driver);
  StepPlan again;
  do {
    again = driver.Step();
  } while (RankOf(again, 1) < 0);
  const SequenceStart& start = StartOf(again, 1);
  EXPECT_GT(start.answered, 5);
  EXPECT_LE(start.cached, start.answered) << "pages of answered rows may be read";
  driver.Drain();
  driver.ExpectRight(1);
}

Request Important(int64_t length, int64_t max_tokens, int32_t priority, int32_t first) {
  Request request = Ask(length, max_tokens, first);
  request.priority = priority;
  return request;
}

TEST(Priorities, TheLeastImportantGivesWay) {
  Driver driver(Tight(8, Policy::kPriority));
  driver.Add(Important(5, 20, 4, 1));
  driver.Add(Important(5, 20, 2, 20));
  const StepPlan plan = UntilPreempted(&driver);
  EXPECT_THAT(plan.ranks[0].finished, ElementsAre(0));
  driver.Drain();
  driver.ExpectRight(0);
  driver.ExpectRight(1);
}

TEST(Priorities, AnUrgentRequestTakesAPlace) {
  SchedulerOptions options = Tight(40, Policy::kPriority);
  options.max_sequences = 2;
  Driver driver(options);
  driver.Add(Important(5, 30, 1, 1));
  driver.Add(Important(5, 30, 3, 20));
  driver.Step();
  const int64_t same = driver.Add(Important(5, 4, 3, 10));
  EXPECT_EQ(RankOf(driver.Step(), same), -1) << "not a place of its equals";
  const int64_t urgent = driver.Add(Important(5, 4, 0, 30));
  const StepPlan plan = driver.Step();
  EXPECT_THAT(plan.ranks[0].finished, ElementsAre(1));
  EXPECT_EQ(RankOf(plan, urgent), 0);
  driver.Drain();
  for (int64_t id = 0; id < 4; ++id) driver.ExpectRight(id);
}

TEST(Priorities, AVeteranKeepsItsPlace) {
  SchedulerOptions options = Tight(40, Policy::kPriority);
  options.max_sequences = 1;
  Driver driver(options);
  driver.Add(Important(5, 30, 3, 1));
  driver.Step();
  for (int64_t i = 1; i <= kVeteranPreemptions + 1; ++i) {
    const int64_t urgent = driver.Add(Important(5, 2, 0, 30));
    const bool gives_way = i <= kVeteranPreemptions;
    EXPECT_EQ(RankOf(driver.Step(), urgent), gives_way ? 0 : -1) << i;
    while (gives_way && RankOf(driver.Step(), 0) < 0) {
    }
  }
  EXPECT_EQ(driver.scheduler().preemptions(), kVeteranPreemptions);
  driver.Drain();
  for (int64_t id = 0; id < 5; ++id) driver.ExpectRight(id);
}

TEST(Priorities, UnderTheOtherPolicyNobodyIsUrgent) {
  SchedulerOptions options = Tight(40);
  options.max_sequences = 1;
  Driver driver(options);
  driver.Add(Important(5, 10, 3, 1));
  driver.Step();
  const int64_t urgent = driver.Add(Important(5, 4, -5, 30));
  for (int i = 0; i < 9; ++i) EXPECT_EQ(RankOf(driver.Step(), urgent), -1);
}

// More urgent work than the rank can do, without end: the others still get through.
TEST(Priorities, NobodyStarvesUnderEndlessUrgentLoad) {
  for (const bool ahead : {false, true}) {
    SchedulerOptions options = Tight(12, Policy::kPriority);
    options.max_sequences = 3;
    options.plan_ahead = ahead;
    Driver driver(options);
    for (int32_t i = 0; i < 3; ++i) driver.Add(Important(9, 20, 2, 7 * i));
    int64_t steps = 0;
    const auto waiting = [&] {
      for (int64_t id = 0; id < 3; ++id) {
        if (driver.outcome(id).finish == FinishReason::kNone) return true;
      }
      return false;
    };
    for (; waiting() && steps < 5000; ++steps) {
      while (driver.scheduler().waiting() < 6) {
        driver.Add(Important(9, 12, 0, static_cast<int32_t>(steps % kFakeVocab)));
      }
      driver.Plan();
      if (driver.scheduler().steps_under_way() == (ahead ? 2 : 1)) driver.Answer();
    }
    EXPECT_LT(steps, 5000);
    for (int64_t id = 0; id < 3; ++id) driver.ExpectRight(id);
    EXPECT_GT(driver.scheduler().preemptions(), 0);
  }
}

TEST(Fairness, AFloodingClientDoesNotShutOthersOut) {
  SchedulerOptions options = SmallOptions();
  options.max_sequences = 2;
  Driver driver(options);
  for (int32_t i = 0; i < 200; ++i) {
    Request request = Ask(6, 6, i % 40);
    request.client = 1;
    driver.Add(request);
  }
  for (int i = 0; i < 20; ++i) driver.Step();
  Request request = Ask(6, 6, 3);
  request.client = 2;
  const int64_t id = driver.Add(request);
  for (int i = 0; i < 20; ++i) driver.Step();
  EXPECT_EQ(driver.outcome(id).finish, FinishReason::kLength);
}

}  // namespace
}  // namespace folkmoot
