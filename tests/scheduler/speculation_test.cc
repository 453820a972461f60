// SPDX-License-Identifier: Apache-2.0
#include "scheduler/speculation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "tests/scheduler/driver.h"

namespace folkmoot {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<int32_t> Guesses(const std::vector<int32_t>& text, int64_t most, int64_t lookup_min = 2,
                             int64_t lookup_max = 4) {
  std::vector<int32_t> guesses = {99};  // is replaced
  SpeculationOptions options;
  options.lookup_max = lookup_max;
  options.lookup_min = lookup_min;
  LookUp(text, options, most, &guesses);
  return guesses;
}

TEST(LookUp, FindsWhatFollowedTheSameTokens) {
  EXPECT_THAT(Guesses({1, 2, 3, 4, 5, 9, 1, 2}, 3), ElementsAre(3, 4, 5));
  EXPECT_THAT(Guesses({1, 2, 3, 4, 5, 9, 1, 2}, 1), ElementsAre(3));
}

TEST(LookUp, TheLongestPlaceWinsThenTheLatest) {
  EXPECT_THAT(Guesses({7, 1, 2, 5, 8, 1, 2, 6, 7, 1, 2}, 1), ElementsAre(5)) << "three tokens";
  EXPECT_THAT(Guesses({8, 1, 2, 5, 9, 1, 2, 6, 7, 1, 2}, 1), ElementsAre(6)) << "the later one";
  EXPECT_THAT(Guesses({5, 4, 3, 2, 1, 0, 8, 4, 3, 2, 1, 7, 5, 4, 3, 2, 1}, 1, 2, 4), ElementsAre(7))
      << "a fifth equal token counts for nothing";
}

TEST(LookUp, ARepetitionGoesOn) {
  EXPECT_THAT(Guesses({3, 3, 3}, 5), ElementsAre(3, 3, 3, 3, 3));
  EXPECT_THAT(Guesses({9, 1, 2, 3, 1, 2, 3, 1, 2}, 5), ElementsAre(3, 1, 2, 3, 1));
}

TEST(LookUp, FindsNothingWhereNothingIs) {
  EXPECT_THAT(Guesses({}, 5), IsEmpty());
  EXPECT_THAT(Guesses({1}, 5), IsEmpty());
  EXPECT_THAT(Guesses({1, 2, 3, 4}, 5), IsEmpty());
  EXPECT_THAT(Guesses({1, 2, 3, 2}, 5), IsEmpty()) << "one token is too few";
  EXPECT_THAT(Guesses({1, 2, 3, 2}, 5, 1), ElementsAre(3, 2, 3, 2, 3));
  EXPECT_THAT(Guesses({1, 2, 1, 2}, 0), IsEmpty());
}

TEST(LookUp, LooksBackNoFurtherThanItsWindow) {
  std::vector<int32_t> text(static_cast<size_t>(kLookupWindow) + 2);
  std::iota(text.begin(), text.end(), 0);
  text[text.size() - 2] = 1;
  text[text.size() - 1] = 2;
  EXPECT_THAT(Guesses(text, 1), IsEmpty());
  text[2] = 1;  // 1, 2 begins where the window does
  text[3] = 2;
  EXPECT_THAT(Guesses(text, 1), ElementsAre(4));
}

TEST(DraftPace, GrowsWithSuccessAndRestsAfterFailure) {
  DraftPace pace;
  EXPECT_EQ(pace.Next(8), 8);
  pace.Heard(8, 2);
  EXPECT_EQ(pace.Next(8), 3) << "two were right";
  pace.Heard(3, 3);
  EXPECT_EQ(pace.Next(8), 6);
  pace.Heard(6, 6);
  EXPECT_EQ(pace.Next(8), 8);
  pace.Heard(8, 0);
  for (const int64_t rest : {1, 3, 7, 15, 31, 31}) {
    for (int64_t i = 0; i < rest; ++i) EXPECT_EQ(pace.Next(8), 0) << "a rest of " << rest;
    const int64_t length = pace.Next(8);
    EXPECT_EQ(length, rest == 1 ? 4 : rest == 3 ? 2 : 1);
    pace.Heard(length, 0);
  }
  for (int64_t i = 0; i < 31; ++i) EXPECT_EQ(pace.Next(8), 0);
  pace.Heard(pace.Next(8), 1);
  pace.Heard(pace.Next(8), 0);
  EXPECT_EQ(pace.Next(8), 0);
  EXPECT_EQ(pace.Next(8), 1) << "after a success the first rest is short again";
}

SchedulerOptions Guessing(SpeculationMethod method) {
  SchedulerOptions options = SmallOptions();
  options.ranks = 1;
  options.speculation.method = method;
  options.speculation.tokens = 4;
  return options;
}

// Seed 2 writes a dull text.
Request Dull(int64_t length, int64_t max_tokens) {
  Request request = Ask(length, max_tokens);
  request.sampling.seed = 2;
  return request;
}

TEST(Speculation, GivesTheSameTokensInFewerSteps) {
  for (const SpeculationMethod method :
       {SpeculationMethod::kPromptLookup, SpeculationMethod::kDraftModel}) {
    Driver driver(Guessing(method));
    driver.Add(Dull(6, 60));
    driver.Drain();
    driver.ExpectRight(0);
    const SpeculationCounts& counts = driver.scheduler().speculation();
    EXPECT_GT(counts.accepted, 20);
    EXPECT_LE(counts.accepted, counts.drafted);
    EXPECT_GT(counts.drafts, 0);
    EXPECT_EQ(driver.scheduler().next_step() + counts.accepted, 60) << "each is a step less";
    int64_t drafted = 0;
    int64_t accepted = 0;
    for (const RequestEvent& event : driver.outcome(0).events) {
      drafted += event.drafted;
      accepted += event.accepted ? 1 : 0;
    }
    EXPECT_EQ(drafted, counts.drafted);
    EXPECT_EQ(accepted, counts.accepted);
  }
}

TEST(Speculation, GuessesTakeOnlyWhatIsLeft) {
  SchedulerOptions options = Guessing(SpeculationMethod::kDraftModel);
  options.max_batched_tokens = 10;
  Driver driver(options);
  driver.Add(Ask(4, 30));
  driver.Step();
  driver.Add(Ask(7, 30, 20));  // its prompt comes first
  const StepPlan plan = driver.Step();
  EXPECT_EQ(SliceOf(plan, 0).drafts, 2);
  EXPECT_EQ(SliceOf(plan, 1).count, 7);
  EXPECT_EQ(plan.tokens(), 10);
  driver.Drain();
  driver.ExpectRight(0);
  driver.ExpectRight(1);
}

TEST(Speculation, TakesNoPageThatSomebodyWaitsFor) {
  SchedulerOptions options = Guessing(SpeculationMethod::kDraftModel);
  options.blocks_per_rank = 4;
  options.prefix_caching = false;
  Driver driver(options);
  driver.Add(Ask(4, 8));
  driver.Add(Ask(7, 6));  // finds no room beside the first
  driver.Step();
  const StepPlan plan = driver.Step();
  EXPECT_EQ(SliceOf(plan, 0).rows(), 4) << "to the end of its page";
  driver.Drain();
  driver.ExpectRight(0);
  driver.ExpectRight(1);
}

TEST(Speculation, NeverGuessesBehindTheEnd) {
  Driver driver(Guessing(SpeculationMethod::kDraftModel));
  driver.Add(Ask(4, 3));
  driver.Step();
  EXPECT_EQ(SliceOf(driver.Step(), 0).drafts, 1) << "two tokens are missing, one is for free";
  driver.Drain();
  driver.ExpectRight(0);
}

TEST(Speculation, LeavesOutATokenThatEndsTheText) {
  Driver driver(Guessing(SpeculationMethod::kPromptLookup));
  Request request = Ask(0, 20);
  request.prompt = {7, 7, 7, 7};
  request.sampling.seed = 2;
  request.stop_ids = {7};
  driver.Add(request);
  for (int i = 0; i < 30 && !driver.scheduler().idle(); ++i) {
    const StepPlan plan = driver.Step();
    for (const SequenceSlice& slice : plan.ranks[0].slices) {
      EXPECT_THAT(slice.draft, testing::Not(testing::Contains(7)));
    }
  }
  driver.ExpectRight(0);
}

TEST(Speculation, MasksFollowTheGuesses) {
  SchedulerOptions options = Guessing(SpeculationMethod::kPromptLookup);
  options.speculation.lookup_min = 1;
  Driver driver(options);
  Request request = Ask(0, 20);
  for (int i = 0; i < 30; ++i) request.prompt.push_back(i % 3);  // what the form allows, and more
  request.constraint = std::make_shared<FakeConstraint>(11, -1);
  driver.Add(request);
  int64_t drafted = 0;
  for (int i = 0; i < 30 && !driver.scheduler().idle(); ++i) {
    const StepPlan plan = driver.Step();
    for (const SequenceSlice& slice : plan.ranks[0].slices) {
      EXPECT_EQ(std::ssize(slice.allowed), (1 + slice.drafts) * 2);
      drafted += slice.drafts;
    }
  }
  EXPECT_GT(drafted, 0);
  driver.ExpectRight(0);
}

// The mask behind a guess that was right is not made again.
TEST(Speculation, MasksAreMadeOnce) {
  Driver driver(Guessing(SpeculationMethod::kPromptLookup));
  Request request = Dull(6, 60);
  request.stop_ids = {39};
  const auto form = std::make_shared<FakeConstraint>(40, 39);
  request.constraint = form;
  driver.Add(request);
  driver.Drain();
  const int64_t masks = form->masks();
  driver.ExpectRight(0);
  const SpeculationCounts& counts = driver.scheduler().speculation();
  EXPECT_GT(counts.accepted, 10);
  EXPECT_EQ(masks, 1 + 40 - counts.accepted + counts.drafted);
}

TEST(Speculation, DraftModelsLeaveFormsAlone) {
  Driver driver(Guessing(SpeculationMethod::kDraftModel));
  Request request = Ask(4, 20);
  request.constraint = std::make_shared<FakeConstraint>(11, -1);
  driver.Add(request);
  driver.Drain();
  driver.ExpectRight(0);
  EXPECT_EQ(driver.scheduler().speculation().drafted, 0);
}

TEST(Speculation, NotForGatesThatSeeTheOtherRows) {
  SchedulerOptions options = Guessing(SpeculationMethod::kDraftModel);
  options.gate_can_speculate = [](const std::string& gate) { return gate.empty(); };
  Driver driver(options);
  Request request = Ask(4, 20);
  request.gate = "k=1";
  driver.Add(request);
  driver.Drain();
  driver.ExpectRight(0);
  EXPECT_EQ(driver.scheduler().speculation().drafted, 0);
}

TEST(Speculation, NothingIsPlannedAheadOfGuesses) {
  SchedulerOptions options = Guessing(SpeculationMethod::kDraftModel);
  options.plan_ahead = true;
  Driver driver(options);
  driver.Add(Ask(4, 20));
  driver.Step();
  driver.Plan();
  const StepPlan empty = driver.scheduler().Schedule();
  EXPECT_EQ(empty.tokens(), 0);
  driver.scheduler().TakeBack(empty);
  driver.Drain();
  driver.ExpectRight(0);
  EXPECT_GT(driver.scheduler().speculation().accepted, 0);
}

TEST(Speculation, WrongGuessesLeaveNothingInThePrefixCache) {
  Driver driver(Guessing(SpeculationMethod::kDraftModel));
  driver.Add(Ask(6, 40));
  driver.Drain();
  const SpeculationCounts counts = driver.scheduler().speculation();
  EXPECT_LT(counts.accepted, counts.drafted);
  Request again = Ask(6, 40);
  const std::vector<int32_t>& written = driver.outcome(0).tokens;
  again.prompt.insert(again.prompt.end(), written.begin(), written.end());
  const int64_t id = driver.Add(again);  // the rank compares what the pages hold
  driver.Drain();
  driver.ExpectRight(id);
  EXPECT_EQ(driver.outcome(id).cached_tokens, 44) << "45 rows were computed";
}

}  // namespace
}  // namespace folkmoot
