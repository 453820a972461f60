// SPDX-License-Identifier: Apache-2.0
// The ranks fail and come back empty.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "tests/scheduler/driver.h"
#include "tests/scheduler/fake_model.h"

namespace folkmoot {
namespace {

using testing::ElementsAre;

// Steps; the ranks fail in every one that has rows of `poison` from position `at` on.
void DrainWithPoison(Driver* driver, int64_t poison, int64_t at) {
  for (int i = 0; i < 1000 && !driver->scheduler().idle(); ++i) {
    const StepPlan plan = driver->Plan();
    bool fails = false;
    for (const RankPlan& rank : plan.ranks) {
      for (const SequenceSlice& slice : rank.slices) {
        fails = fails || (slice.id == poison && slice.end() > at);
      }
    }
    if (fails) {
      driver->Crash();
    } else {
      driver->Answer();
    }
  }
  EXPECT_TRUE(driver->scheduler().idle());
}

TEST(Restart, RequestsGoOnFromTheTokensThatWereHeard) {
  Driver driver(SmallOptions());
  driver.Add(Ask(5, 10));
  driver.Add(Ask(9, 10, 20));
  for (int i = 0; i < 4; ++i) driver.Step();
  driver.Plan();  // its results are never heard
  const std::vector<int32_t> heard = driver.outcome(0).tokens;
  ASSERT_EQ(heard.size(), 4u);
  driver.Crash();
  EXPECT_EQ(driver.scheduler().used_blocks() + driver.scheduler().cached_blocks(), 0);
  EXPECT_EQ(driver.scheduler().waiting(), 2);
  const StepPlan plan = driver.Step();
  std::vector<int32_t> tokens = Ask(5, 0).prompt;
  tokens.insert(tokens.end(), heard.begin(), heard.end());
  EXPECT_EQ(StartOf(plan, 0).tokens, tokens);
  EXPECT_EQ(StartOf(plan, 0).answered, 8);
  driver.Drain();
  driver.ExpectRight(0);
  driver.ExpectRight(1);
  EXPECT_EQ(driver.scheduler().preemptions(), 0) << "it was nobody's fault";
}

// One rank is replaced: whoever was on the other finds its full pages where they were.
TEST(Restart, ARankThatLivesKeepsItsPages) {
  for (const int lost : {0, 1}) {
    Driver driver(SmallOptions());
    driver.Add(Ask(9, 10));
    driver.Add(Ask(9, 10, 30));
    StepPlan plan = driver.Step();
    const std::vector<int> home = {RankOf(plan, 0), RankOf(plan, 1)};
    ASSERT_NE(home[0], home[1]);
    for (int i = 0; i < 4; ++i) driver.Step();  // 13 rows are computed, 12 of them in full pages
    driver.Plan();
    driver.Crash(/*keeping=*/{1 - lost});
    EXPECT_EQ(driver.scheduler().used_blocks(), 0);
    EXPECT_EQ(driver.scheduler().cached_blocks(lost), 0);
    EXPECT_EQ(driver.scheduler().free_blocks(lost), SmallOptions().blocks_per_rank);
    EXPECT_EQ(driver.scheduler().cached_blocks(1 - lost), 3);
    plan = driver.Step();
    const int64_t kept = home[0] == lost ? 1 : 0;
    EXPECT_EQ(RankOf(plan, kept), 1 - lost);
    EXPECT_EQ(StartOf(plan, kept).cached, 12);
    EXPECT_EQ(SliceOf(plan, kept).rows(), 2);
    EXPECT_EQ(StartOf(plan, 1 - kept).cached, 0);
    EXPECT_EQ(StartOf(plan, 1 - kept).tokens.size(), 14u);
    driver.Drain();
    driver.ExpectRight(0);
    driver.ExpectRight(1);
    EXPECT_EQ(driver.scheduler().used_blocks(), 0);
  }
}

// What may not be read from a prefix cache after a preemption is not kept here either.
TEST(Restart, WhatMayNotBeSharedIsComputedAgain) {
  SchedulerOptions uncached = SmallOptions();
  uncached.prefix_caching = false;
  Request own_gate = Ask(9, 10);
  own_gate.gate = kPrivateGate;
  Request digests = Ask(9, 10);
  digests.layer_digests = true;
  const std::vector<std::pair<SchedulerOptions, Request>> cases = {
      {uncached, Ask(9, 10)}, {SmallOptions(), own_gate}, {SmallOptions(), digests}};
  for (const auto& [options, request] : cases) {
    Driver driver(options);
    driver.Add(request);
    for (int i = 0; i < 5; ++i) driver.Step();
    driver.Crash(/*keeping=*/{0, 1});
    EXPECT_EQ(StartOf(driver.Step(), 0).cached, 0);
    driver.Drain();
    driver.ExpectRight(0);
  }
}

// A page that a step was filling when it failed is no page.
TEST(Restart, PagesOfAStepThatWasNotAnsweredAreNotKept) {
  Driver driver(SmallOptions());
  driver.Add(Ask(40, 4));
  driver.Plan();
  driver.Crash(/*keeping=*/{0, 1});
  EXPECT_EQ(driver.scheduler().cached_blocks(), 0);
  EXPECT_EQ(driver.scheduler().used_blocks(), 0);
  EXPECT_EQ(StartOf(driver.Step(), 0).cached, 0);
  driver.Drain();
  driver.ExpectRight(0);
}

TEST(Restart, TheOldGoBeforeTheNew) {
  SchedulerOptions options = SmallOptions();
  options.max_sequences = 2;
  Driver driver(options);
  for (int32_t i = 0; i < 4; ++i) driver.Add(Ask(4, 6, i));
  driver.Step();
  driver.Plan();
  driver.Crash();
  const StepPlan plan = driver.Step();
  EXPECT_GE(RankOf(plan, 0), 0);
  EXPECT_GE(RankOf(plan, 1), 0);
  EXPECT_EQ(CountSlices(plan), 2);
  driver.Drain();
  for (const int64_t id : {0, 1, 2, 3}) driver.ExpectRight(id);
}

TEST(Restart, FailuresBetweenStepsAreNobodysFault) {
  Driver driver(SmallOptions());
  driver.Add(Ask(5, 10));
  for (int i = 0; i < 10; ++i) driver.Crash();
  EXPECT_EQ(driver.scheduler().suspects(), 0);
  driver.Drain();
  driver.ExpectRight(0);
}

// Another rank dies before a plan has come to those that are there again.
TEST(Restart, AStepThatNoRankHasBegunAccusesNobody) {
  Driver driver(SmallOptions());
  driver.Add(Ask(5, 10));
  for (int i = 0; i < 10; ++i) {
    driver.Plan();
    driver.Crash({}, /*begun=*/false);
  }
  EXPECT_EQ(driver.scheduler().suspects(), 0);
  for (const size_t suspects : {0, 1}) {
    driver.Plan();
    driver.Crash();
    for (const std::set<int>& keeping : {std::set<int>{0}, std::set<int>{}}) {
      driver.Plan();
      driver.Crash(keeping, /*begun=*/false);
      EXPECT_EQ(driver.scheduler().suspects(), suspects);
    }
  }
  driver.Drain();
  driver.ExpectRight(0);
}

// Ranks do not know the step that was planned while they computed the one before it.
TEST(Restart, AStepPlannedAheadAccusesNobody) {
  SchedulerOptions options = SmallOptions();
  options.plan_ahead = true;
  Driver driver(options);
  driver.Add(Ask(5, 10));
  EXPECT_EQ(CountSlices(driver.Plan()), 1);
  driver.Add(Ask(5, 10, 20));
  EXPECT_EQ(CountSlices(driver.Plan()), 2);
  driver.Crash();
  EXPECT_EQ(CountSlices(driver.Plan()), 2);
  driver.Crash();
  EXPECT_EQ(driver.scheduler().suspects(), 1) << "the second one was under way once";
  driver.Drain();
  driver.ExpectRight(0);
  driver.ExpectRight(1);
}

TEST(Restart, WhoComesFurtherIsNoSuspect) {
  Driver driver(SmallOptions());
  driver.Add(Ask(5, 20));
  for (int i = 0; i < 8; ++i) {
    driver.Plan();
    driver.Crash();
    EXPECT_EQ(driver.scheduler().suspects(), 0) << i;
    driver.Step();
  }
  driver.Drain();
  driver.ExpectRight(0);
}

TEST(Restart, ARequestThatKillsTheRanksEndsAloneAndTheOthersGoOn) {
  for (const int64_t at :
       {0, 7, 12, 19}) {  // in the prompt's first and second piece, in the output
    SchedulerOptions options = SmallOptions();
    options.prefill_chunk = 6;
    Driver driver(options);
    driver.Add(Ask(5, 30));
    const int64_t poison = driver.Add(Ask(10, 30, 20));
    driver.Add(Ask(7, 30, 40));
    DrainWithPoison(&driver, poison, at);
    driver.ExpectRight(0);
    driver.ExpectRight(2);
    const Driver::Outcome& outcome = driver.outcome(poison);
    EXPECT_EQ(outcome.finish, FinishReason::kError) << at;
    ASSERT_FALSE(outcome.events.empty());
    EXPECT_TRUE(outcome.events.back().crashed);
    EXPECT_EQ(driver.scheduler().suspects(), 0);
  }
}

TEST(Restart, EveryChoiceOfAPoisonEnds) {
  Driver driver(SmallOptions());
  Request request = Ask(6, 10);
  request.n = 3;
  driver.Add(request);
  driver.Add(Ask(5, 10, 30));
  DrainWithPoison(&driver, 0, 3);
  for (int32_t c = 0; c < 3; ++c) {
    EXPECT_EQ(driver.outcome(0, c).finish, FinishReason::kError) << c;
    EXPECT_EQ(driver.outcome(0, c).events.size(), 1u);
  }
  driver.ExpectRight(1);
}

// Each of several that bring the ranks down is found out, and counted.
TEST(Restart, EveryOneOfManyPoisonsIsFound) {
  Driver driver(SmallOptions());
  for (int32_t i = 0; i < 5; ++i) driver.Add(Ask(5, 10, 20 * i));
  int crashes = 0;
  for (int i = 0; i < 1000 && !driver.scheduler().idle(); ++i) {
    const StepPlan plan = driver.Plan();
    bool fails = false;
    for (const RankPlan& rank : plan.ranks) {
      for (const SequenceSlice& slice : rank.slices) fails = fails || slice.id % 2 == 0;
    }
    crashes += fails ? 1 : 0;
    fails ? driver.Crash() : driver.Answer();
  }
  for (const int64_t id : {0, 2, 4}) EXPECT_EQ(driver.outcome(id).finish, FinishReason::kError);
  for (const int64_t id : {1, 3}) driver.ExpectRight(id);
  EXPECT_EQ(driver.scheduler().culprits(), 3);
  EXPECT_LE(crashes, 3 * 3) << "at most two with others and one alone, for each";
}

// It may have been the cause, and nobody will find out.
TEST(Restart, WhoLeavesAfterAFailureCountsAsFound) {
  Driver driver(SmallOptions());
  for (int64_t id = 0; id < 2; ++id) {
    driver.Add(Ask(5, 10));
    driver.Plan();
    driver.Crash();
    EXPECT_EQ(driver.scheduler().culprits(), 0);
    if (id == 0) driver.Step();  // it comes further, which clears it
    driver.scheduler().Abort(id);
    EXPECT_EQ(driver.scheduler().culprits(), id);
  }
}

// While a suspect is tried, nobody else is admitted; the next suspect when it came further.
TEST(Restart, SuspectsAreTriedOneByOne) {
  Driver driver(SmallOptions());
  driver.Add(Ask(5, 10));
  driver.Add(Ask(5, 10, 20));
  for (int i = 0; i < 2; ++i) {
    driver.Plan();
    driver.Crash();
  }
  driver.Add(Ask(5, 10, 40));
  EXPECT_EQ(driver.scheduler().suspects(), 2);
  StepPlan plan = driver.Step();
  EXPECT_EQ(CountSlices(plan), 1);
  EXPECT_GE(RankOf(plan, 0), 0);
  plan = driver.Step();
  EXPECT_EQ(CountSlices(plan), 2);
  EXPECT_GE(RankOf(plan, 1), 0);
  plan = driver.Step();
  EXPECT_EQ(CountSlices(plan), 3);
  driver.Drain();
  for (const int64_t id : {0, 1, 2}) driver.ExpectRight(id);
}

// A new server gets what the old one has told of its choices.
void ExpectToGoOn(Request request) {
  request.n = 3;
  Driver old(SmallOptions());
  old.Add(request);
  for (int i = 0; i < 9; ++i) old.Step();
  Driver next(SmallOptions());
  for (int32_t c = 0; c < 3; ++c) {
    const Driver::Outcome& outcome = old.outcome(0, c);
    EXPECT_FALSE(outcome.tokens.empty());
    request.so_far.push_back(
        {.tokens = outcome.tokens, .ended = outcome.finish != FinishReason::kNone});
  }
  request.so_far[1].ended = true;  // whatever it gave
  const int64_t id = next.Add(request);
  next.Drain();
  old.Drain();
  for (const int32_t c : {0, 2}) {
    std::vector<int32_t> whole = request.so_far[static_cast<size_t>(c)].tokens;
    const std::vector<int32_t>& rest = next.outcome(id, c).tokens;
    whole.insert(whole.end(), rest.begin(), rest.end());
    EXPECT_EQ(whole, old.outcome(0, c).tokens) << c;
  }
  EXPECT_TRUE(next.outcome(id, 1).events.empty());
}

TEST(Resume, ChoicesGoOnWhereTheyWere) {
  Request request = Ask(6, 20);
  ExpectToGoOn(request);
  request.source = 4;
  ExpectToGoOn(request);
  request.constraint = std::make_shared<FakeConstraint>(15, -1);
  ExpectToGoOn(request);
}

// A choice that takes the place of the first has tokens of its own.
TEST(Resume, ChoicesGoOnWithoutTheFirst) {
  Request request = Ask(6, 20);
  request.n = 2;
  request.so_far = {{.tokens = {1, 2}}, {.tokens = {3, 4, 5}}};
  Driver driver(SmallOptions());
  const int64_t id = driver.Add(request);
  driver.scheduler().Abort(id, 0);
  std::vector<int32_t> tokens = request.prompt;
  tokens.insert(tokens.end(), {3, 4, 5});
  EXPECT_EQ(StartOf(driver.Step(), 1).tokens, tokens);
  driver.Drain();
  EXPECT_EQ(driver.outcome(id, 1).tokens.size(), 17u);
}

TEST(Resume, WhatCannotGoOnIsRefused) {
  Driver driver(SmallOptions());
  Request request = Ask(6, 4);
  request.so_far = {{.tokens = {1, 2, 3, 4}}};
  EXPECT_FALSE(driver.scheduler().Add(request).ok());
  request.so_far = {{.tokens = {1}, .ended = true}};
  EXPECT_FALSE(driver.scheduler().Add(request).ok());
  request.so_far = {{.tokens = {kFakeVocab}}};
  EXPECT_FALSE(driver.scheduler().Add(request).ok());
  request.so_far = {{}, {}};
  EXPECT_FALSE(driver.scheduler().Add(request).ok());
}

}  // namespace
}  // namespace folkmoot
