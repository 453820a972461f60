// SPDX-License-Identifier: Apache-2.0
// Copies of recurrent state: where they are made, who goes on from them, which are given up. Ranks
// check that whoever goes on finds the state of its own tokens (fake_rank.h).
#include "scheduler/state_snapshots.h"

#include <gtest/gtest.h>

#include <numeric>

#include "tests/scheduler/driver.h"

namespace folkmoot {
namespace {

TEST(StateSnapshots, TheOneUsedLongestAgoIsTaken) {
  StateSnapshots snapshots(2, 8);
  const int32_t a = snapshots.Take();
  const int32_t b = snapshots.Take();
  EXPECT_NE(a, b);
  EXPECT_EQ(snapshots.Take(), -1) << "both are being written";
  snapshots.Keep(a, 3);
  snapshots.Keep(b, 5);
  EXPECT_EQ(snapshots.OfPage(3), a);
  snapshots.Use(3);
  EXPECT_EQ(snapshots.Take(), b);
  EXPECT_EQ(snapshots.OfPage(5), -1) << "the page has lost it";
  snapshots.Keep(b, 3);  // in place of a
  EXPECT_EQ(snapshots.OfPage(3), b);
  EXPECT_EQ(snapshots.free(), 1);
  snapshots.Drop(3);
  snapshots.Drop(3);
  EXPECT_EQ(snapshots.free(), 2);
  EXPECT_EQ(snapshots.kept(), 0);
  EXPECT_EQ(StateSnapshots(0, 4).Take(), -1);
}

SchedulerOptions WithState(int64_t snapshots) {
  SchedulerOptions options = SmallOptions();
  options.ranks = 1;
  options.slots_per_rank = 4;
  options.snapshots_per_rank = snapshots;
  return options;
}

// Prompt tokens that `request` finds behind those before it.
int64_t Cached(Driver& driver, const Request& request) {
  const int64_t id = driver.Add(request);
  driver.Drain();
  driver.ExpectRight(id);
  return driver.outcome(id).cached_tokens;
}

// Its output, and `more` tokens.
Request NextTurn(const Request& before, std::vector<int32_t> more) {
  Request next = before;
  const std::vector<int32_t> output = Expect(before, 0, 0).tokens;
  next.prompt.insert(next.prompt.end(), output.begin(), output.end());
  next.prompt.insert(next.prompt.end(), more.begin(), more.end());
  return next;
}

TEST(Snapshots, TheSamePromptGoesOnBehindItsLastFullPage) {
  for (const int64_t length : {14, 16, 17}) {
    Driver driver(WithState(8));
    EXPECT_EQ(Cached(driver, Ask(length, 2)), 0);
    EXPECT_EQ(Cached(driver, Ask(length, 2)), (length - 1) / 4 * 4) << length;
  }
}

TEST(Snapshots, ConversationsGoOnBehindTheLastAnswer) {
  for (const bool ahead : {false, true}) {
    SchedulerOptions options = WithState(8);
    options.plan_ahead = ahead;
    Driver driver(options);
    const Request first = Ask(9, 12);  // 20 rows are computed: five pages
    Cached(driver, first);
    const Request second = NextTurn(first, {3, 1});
    EXPECT_EQ(Cached(driver, second), 20);
    EXPECT_EQ(Cached(driver, NextTurn(second, {2})), 32) << "23 and 11 of the output";
  }
}

// One prompt after another shows where they part.
TEST(Snapshots, PromptsThatBeginAlikeMeetWhereTheyPart) {
  Driver driver(WithState(8));
  const auto ask = [](int32_t last) {
    Request request = Ask(22, 2);
    std::fill(request.prompt.begin() + 14, request.prompt.end(), last);
    return request;
  };
  EXPECT_EQ(Cached(driver, ask(3)), 0);
  EXPECT_EQ(Cached(driver, ask(4)), 0) << "the pages are known, the state behind them is not";
  EXPECT_EQ(Cached(driver, ask(5)), 12);
  EXPECT_EQ(Cached(driver, ask(6)), 12);
}

TEST(Snapshots, ChoicesGoOnBehindTheirPrompt) {
  Driver driver(WithState(8));
  Request request = Ask(13, 6);
  request.n = 3;
  const int64_t id = driver.Add(request);
  driver.Drain();
  for (int32_t choice = 0; choice < 3; ++choice) {
    driver.ExpectRight(id, choice);
    EXPECT_EQ(driver.outcome(id, choice).cached_tokens, choice == 0 ? 0 : 12);
  }
}

// A sequence has one copy that moves along: decodes do not use all of them up.
TEST(Snapshots, DecodingKeepsTheCopiesOfOthers) {
  for (const int64_t copies : {3, 4}) {
    Driver driver(WithState(copies));
    Cached(driver, Ask(9, 2));
    Cached(driver, Ask(7, 40, 50));  // ten pages
    EXPECT_EQ(driver.scheduler().pool(0).snapshots().kept(), 3);
    EXPECT_EQ(Cached(driver, Ask(9, 2)), 8);
  }
}

TEST(Snapshots, OneCopyIsEnoughAndTheOldOneIsGivenUp) {
  Driver driver(WithState(1));
  Cached(driver, Ask(9, 2));
  EXPECT_EQ(Cached(driver, Ask(9, 2)), 8);
  Cached(driver, Ask(9, 2, 40));
  EXPECT_EQ(Cached(driver, Ask(9, 2)), 0);
}

// What a preempted sequence has computed is not computed again, but for the last rows.
TEST(Snapshots, PreemptedSequencesGoOnFromTheirNewestCopy) {
  SchedulerOptions options = WithState(8);
  options.slots_per_rank = 1;
  options.policy = Policy::kPriority;
  Driver driver(options);
  Request later = Ask(5, 20);
  later.priority = 5;
  const int64_t first = driver.Add(later);
  for (int i = 0; i < 12; ++i) driver.Step();
  const int64_t urgent = driver.Add(Ask(5, 2, 40));
  driver.Step();
  ASSERT_EQ(driver.scheduler().preemptions(), 1);
  int64_t again = -1;
  while (!driver.scheduler().idle()) {
    const StepPlan plan = driver.Step();
    for (const SequenceStart& start : plan.ranks[0].starts) {
      if (start.prompt_length == 5 && start.tokens.size() > 5) again = start.cached;
    }
  }
  EXPECT_EQ(again, 12);
  driver.ExpectRight(first);
  driver.ExpectRight(urgent);
}

// Ranks that live on have their copies; one that comes back has none.
TEST(Snapshots, OutliveACrashWhereTheirPagesDo) {
  for (const bool keeps : {true, false}) {
    Driver driver(WithState(8));
    Cached(driver, Ask(9, 2));
    const int64_t id = driver.Add(Ask(30, 8, 40));
    driver.Step();
    driver.Crash(keeps ? std::set<int>{0} : std::set<int>{});
    driver.Drain();
    driver.ExpectRight(id);
    EXPECT_EQ(Cached(driver, Ask(9, 2)), keeps ? 8 : 0);
  }
}

}  // namespace
}  // namespace folkmoot
