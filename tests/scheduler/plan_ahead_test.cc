// SPDX-License-Identifier: Apache-2.0
// A step is planned while another is under way.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/scheduler/driver.h"

namespace folkmoot {
namespace {

using testing::ElementsAre;

SchedulerOptions Ahead() {
  SchedulerOptions options = SmallOptions();
  options.ranks = 1;
  options.plan_ahead = true;
  return options;
}

TEST(PlanAhead, DecodesBeforeTheTokenIsKnown) {
  Driver driver(Ahead());
  driver.Add(Ask(6, 8));
  EXPECT_TRUE(SliceOf(driver.Plan(), 0).sample);
  const StepPlan second = driver.Plan();
  EXPECT_EQ(SliceOf(second, 0).start, 6);
  EXPECT_EQ(SliceOf(second, 0).count, 1);
  EXPECT_TRUE(SliceOf(second, 0).sample);
  EXPECT_TRUE(driver.outcome(0).tokens.empty());
  driver.Answer();
  EXPECT_EQ(SliceOf(driver.Plan(), 0).start, 7);
  driver.Drain();
  driver.ExpectRight(0);
}

TEST(PlanAhead, NotBehindTheLastToken) {
  Driver driver(Ahead());
  driver.Add(Ask(6, 2));
  driver.Plan();
  EXPECT_EQ(CountSlices(driver.Plan()), 1);
  driver.Answer();
  EXPECT_EQ(CountSlices(driver.Plan()), 0) << "two tokens are on the way";
  driver.Drain();
  driver.ExpectRight(0);
}

TEST(PlanAhead, NotWhenTheMaskNeedsTheToken) {
  Driver driver(Ahead());
  Request request = Ask(6, 8);
  request.constraint = std::make_shared<FakeConstraint>(5, -1);
  driver.Add(request);
  driver.Plan();
  StepPlan empty = driver.scheduler().Schedule();
  EXPECT_EQ(empty.tokens(), 0);
  driver.scheduler().TakeBack(empty);
  EXPECT_EQ(driver.scheduler().steps_under_way(), 1);
  driver.Answer();
  const StepPlan next = driver.Plan();
  EXPECT_EQ(next.step, 1);
  EXPECT_EQ(SliceOf(next, 0).start, 6);
  driver.Drain();
  driver.ExpectRight(0);
}

TEST(PlanAhead, PiecesOfAPromptFollowEachOther) {
  SchedulerOptions options = Ahead();
  options.prefill_chunk = 4;
  Driver driver(options);
  driver.Add(Ask(10, 2));
  EXPECT_EQ(SliceOf(driver.Plan(), 0).start, 0);
  EXPECT_EQ(SliceOf(driver.Plan(), 0).start, 4);
  driver.Answer();
  EXPECT_EQ(SliceOf(driver.Plan(), 0).start, 8);
  driver.Drain();
  driver.ExpectRight(0);
}

// The token of the first step ends the sequence; the second step computed one more for nothing.
TEST(PlanAhead, ResultsBehindTheEndAreDroppedAndPagesComeBackLater) {
  SchedulerOptions options = Ahead();
  options.prefix_caching = false;
  Driver driver(options);
  Request request = Ask(8, 20);
  request.stop_ids = {Expect(request, 0, 0).tokens[0]};
  driver.Add(request);
  driver.Plan();
  EXPECT_EQ(CountSlices(driver.Plan()), 1);
  driver.Answer();
  EXPECT_EQ(driver.outcome(0).finish, FinishReason::kStop);
  EXPECT_EQ(driver.scheduler().running(), 0);
  EXPECT_EQ(driver.scheduler().used_blocks(), 3) << "the second step may write to them";
  EXPECT_FALSE(driver.scheduler().idle());
  EXPECT_THAT(driver.Plan().ranks[0].finished, ElementsAre(0));
  driver.Answer();
  EXPECT_EQ(driver.scheduler().used_blocks(), 0);
  EXPECT_EQ(driver.outcome(0).tokens.size(), 1u);
  EXPECT_EQ(driver.outcome(0).events.size(), 1u);
}

TEST(PlanAhead, AbortedSequencesKeepTheirPagesUntilTheirLastStepIsAnswered) {
  SchedulerOptions options = Ahead();
  options.prefix_caching = false;
  Driver driver(options);
  driver.Add(Ask(8, 20));
  driver.Plan();
  driver.Plan();
  driver.scheduler().Abort(0);
  EXPECT_EQ(driver.scheduler().used_blocks(), 3);
  driver.Answer();
  EXPECT_EQ(driver.scheduler().used_blocks(), 3);
  driver.Answer();
  EXPECT_EQ(driver.scheduler().used_blocks(), 0);
  EXPECT_EQ(driver.outcome(0).finish, FinishReason::kAborted);
}

// A sequence is preempted while its step is under way: the token of that step is not lost.
TEST(PlanAhead, ThePreemptedKeepTheTokenOnTheWay) {
  SchedulerOptions options = Ahead();
  options.blocks_per_rank = 8;
  options.max_model_len = 32;
  Driver driver(options);
  driver.Add(Ask(5, 20));
  driver.Add(Ask(5, 20, 20));
  driver.Plan();
  while (driver.scheduler().preemptions() == 0) {
    driver.Plan();
    if (driver.scheduler().preemptions() == 0) driver.Answer();
  }
  const size_t before = driver.outcome(1).tokens.size();
  driver.Answer();
  EXPECT_EQ(driver.outcome(1).tokens.size(), before + 1);
  driver.Drain();
  driver.ExpectRight(0);
  driver.ExpectRight(1);
}

TEST(PlanAhead, AnEmptyPlanTakenBackForgetsNothing) {
  Driver driver(Ahead());
  driver.Add(Ask(6, 20));
  driver.Plan();
  driver.scheduler().Abort(0);
  const StepPlan empty = driver.scheduler().Schedule();
  EXPECT_THAT(empty.ranks[0].finished, ElementsAre(0));
  driver.scheduler().TakeBack(empty);
  driver.Answer();
  const StepPlan next = driver.Plan();
  EXPECT_EQ(next.step, 1);
  EXPECT_THAT(next.ranks[0].finished, ElementsAre(0));
}

TEST(PlanAheadDeathTest, OneStepAheadAtMost) {
  Driver driver(Ahead());
  driver.Add(Ask(6, 20));
  driver.Plan();
  driver.Plan();
  EXPECT_DEATH(driver.Plan(), "internal error");
}

}  // namespace
}  // namespace folkmoot
