// SPDX-License-Identifier: Apache-2.0
// Lives that are repaired; restarts are in restart_policy_test.cc and tests/simulation.
#include "launch/supervisor/engine_lives.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace folkmoot {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

// Three ranks that beat every 100 ms.
class EngineRepairTest : public testing::Test {
 protected:
  void SetUp() override {
    EXPECT_EQ(lives_.Begin(now_), 1);
    for (int r = 0; r < 3; ++r) lives_.OnHello(r, now_);
  }

  // What is found after so long in which these ranks say that they are in life `epoch`.
  EngineLives::Finding After(milliseconds time, int64_t epoch, const std::set<int>& loading = {}) {
    EngineLives::Finding all;
    for (milliseconds gone{0}; gone < time && all.failure.empty(); gone += milliseconds(100)) {
      now_ += milliseconds(100);
      cpu_ += 0.1;
      for (int r = 0; r < 3; ++r) {
        RankBeat beat = {.waiting = loading.empty(), .phase = "plan broadcast", .epoch = epoch};
        beat.state = r == 0 ? RankActivity::kIdle : RankActivity::kStep;
        if (loading.contains(r)) beat = {.state = RankActivity::kLoading, .cpu_seconds = cpu_};
        if (loading.contains(r)) beat.epoch = epoch;
        if (!silent_.contains(r)) lives_.OnBeat(r, beat, now_);
      }
      lives_.Tick(now_);
      EngineLives::Finding finding = lives_.Look(now_, 3);
      finding.came_up = finding.came_up || all.came_up;
      all = std::move(finding);
    }
    return all;
  }

  EngineLives lives_{3, {}};
  EngineLives::Time now_{std::chrono::hours(1)};
  double cpu_ = 0;
  std::set<int> silent_;
};

TEST_F(EngineRepairTest, ARepairIsAnotherLifeButNoRestart) {
  EXPECT_TRUE(After(milliseconds(200), 1).came_up);
  ASSERT_TRUE(lives_.Repair({1}, 1, "rank 1 is gone", now_));
  EXPECT_EQ(lives_.epoch(), 2);
  EXPECT_EQ(lives_.news().state, EngineState::kRepairing);
  EXPECT_EQ(lives_.news().reason, "rank 1 is gone");
  EXPECT_FALSE(After(milliseconds(500), 1).came_up) << "they have not heard yet";
  EXPECT_TRUE(After(milliseconds(100), 2).came_up);
  EXPECT_EQ(lives_.news().state, EngineState::kUp);
  EXPECT_EQ(lives_.news().repairs, 1);
  EXPECT_EQ(lives_.news().restarts, 0);
  EXPECT_TRUE(lives_.failure().empty());
}

TEST_F(EngineRepairTest, NotBeforeAllRanksAreUpAndNotWithoutSpares) {
  EXPECT_FALSE(lives_.Repair({1}, 1, "while it loads", now_));
  After(milliseconds(200), 1);
  EXPECT_FALSE(lives_.Repair({1}, 0, "no spare", now_));
  EXPECT_FALSE(lives_.Repair({1, 2}, 1, "one for two", now_));
  EXPECT_FALSE(lives_.Repair({0, 1, 2}, 3, "nobody lives", now_));
  EXPECT_EQ(lives_.epoch(), 1);
  EXPECT_TRUE(lives_.Repair({0, 2}, 2, "two for two", now_));
  EXPECT_FALSE(lives_.Repair({1}, 1, "in the middle of a repair", now_));
  EXPECT_TRUE(lives_.Fail("in the middle of a repair"));
  EXPECT_FALSE(lives_.Repair({1}, 1, "it has failed", now_));
}

TEST_F(EngineRepairTest, ARepairThatDoesNotEndIsARestart) {
  After(milliseconds(200), 1);
  ASSERT_TRUE(lives_.Repair({1}, 1, "rank 1 is gone", now_));
  EXPECT_TRUE(After(EngineLives::kRepair, 1).failure.empty());
  const EngineLives::Finding late = After(milliseconds(200), 1);
  EXPECT_THAT(late.failure, HasSubstr("not repaired within 3 s"));
  EXPECT_TRUE(lives_.Fail(late.failure));
  EXPECT_EQ(lives_.Decide(now_, true), EngineLives::Next::kPause);
  EXPECT_EQ(lives_.Decide(now_, true), EngineLives::Next::kStart);
  EXPECT_EQ(lives_.Begin(now_), 3);
  EXPECT_EQ(lives_.news().restarts, 1);
  EXPECT_EQ(lives_.news().repairs, 1);
}

// The time in which the new rank reads weights, and gets on with it, is not that of the repair.
TEST_F(EngineRepairTest, LoadingMayTakeLonger) {
  After(milliseconds(200), 1);
  ASSERT_TRUE(lives_.Repair({1}, 1, "rank 1 is gone", now_));
  EXPECT_TRUE(After(milliseconds(20'000), 2, /*loading=*/{1}).failure.empty());
  EXPECT_TRUE(After(milliseconds(100), 2).came_up);
}

// Meanwhile nobody may be missing.
TEST_F(EngineRepairTest, LoadingExcusesNobodyElse) {
  After(milliseconds(200), 1);
  ASSERT_TRUE(lives_.Repair({1}, 1, "rank 1 is gone", now_));
  for (int i = 0; i < 31; ++i) {
    now_ += milliseconds(100);
    cpu_ += 0.1;
    lives_.OnBeat(1, {.state = RankActivity::kLoading, .cpu_seconds = cpu_, .epoch = 2}, now_);
    for (const int r : {0, 2}) lives_.OnBeat(r, {.state = RankActivity::kStep, .epoch = 1}, now_);
  }
  EXPECT_THAT(lives_.Look(now_, 3).failure, HasSubstr("not repaired within 3 s"));
}

TEST_F(EngineRepairTest, ASpareThatDoesNotStirIsFenced) {
  After(milliseconds(200), 1);
  silent_ = {1};
  ASSERT_TRUE(lives_.Repair({1}, 1, "rank 1 is gone", now_));
  const EngineLives::Finding finding = After(milliseconds(2'500), 2);
  EXPECT_THAT(finding.fence, testing::ElementsAre(1));
}

}  // namespace
}  // namespace folkmoot
