// SPDX-License-Identifier: Apache-2.0
// What comes in, how a step is divided, what comes out.
#include "scheduler/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "tests/scheduler/driver.h"

namespace folkmoot {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string Refusal(const Request& request, const SchedulerOptions& options = SmallOptions()) {
  Scheduler scheduler(options);
  return std::string(Message(scheduler.Add(request).status()));
}

TEST(Scheduler, BadRequestsAreRefusedWithTheReason) {
  EXPECT_THAT(Refusal(Ask(0, 4)), HasSubstr("the prompt is empty"));
  EXPECT_THAT(Refusal(Ask(4, -1)), HasSubstr("max_tokens is -1"));
  EXPECT_THAT(Refusal(Ask(100, 29)),
              HasSubstr("maximum context length is 128 tokens, but 129 were asked for"));
  EXPECT_THAT(Refusal(Ask(4, std::numeric_limits<int64_t>::max())),
              HasSubstr("maximum context length is 128 tokens"));
  Request request = Ask(4, 4);
  request.prompt[2] = static_cast<int32_t>(kFakeVocab);
  EXPECT_THAT(Refusal(request), HasSubstr("prompt token 2 is 40: ids of this model are 0 to 39"));
  for (const int32_t n : {0, -3, Scheduler::kMaxChoices + 1}) {
    request = Ask(4, 4);
    request.n = n;
    EXPECT_THAT(Refusal(request), HasSubstr("it must be 1 to 1024"));
  }
}

TEST(Scheduler, ARequestThatCanNeverRunIsRefused) {
  SchedulerOptions options = SmallOptions();
  options.block_size = 16;
  options.blocks_per_rank = 2;
  EXPECT_THAT(Refusal(Ask(40, 20), options),
              HasSubstr("needs 4 KV pages of 16 tokens, but a rank has only 2"));
}

// The fake ranks complain when a sequence starts where no slot is free.
TEST(Scheduler, ARankRunsNoMoreSequencesThanItHasSlots) {
  for (const bool ahead : {false, true}) {
    SchedulerOptions options = SmallOptions();
    options.slots_per_rank = 2;
    options.plan_ahead = ahead;
    Driver driver(options);
    std::vector<int64_t> requests;
    for (int32_t i = 0; i < 7; ++i) requests.push_back(driver.Add(Ask(5, 3 + i, i)));
    driver.Step();
    EXPECT_EQ(driver.scheduler().running(0), 2);
    EXPECT_EQ(driver.scheduler().running(1), 2);
    EXPECT_EQ(driver.scheduler().waiting(), 3);
    driver.Drain();
    for (const int64_t id : requests) driver.ExpectRight(id);
  }
}

// The urgent one gets the slot of the one that gives way.
TEST(Scheduler, SlotsGoToThePriority) {
  SchedulerOptions options = SmallOptions();
  options.ranks = 1;
  options.slots_per_rank = 1;
  options.policy = Policy::kPriority;
  Driver driver(options);
  Request later = Ask(5, 20);
  later.priority = 5;
  const int64_t first = driver.Add(later);
  driver.Step();
  const int64_t urgent = driver.Add(Ask(5, 2, 9));
  driver.Step();
  EXPECT_EQ(driver.scheduler().preemptions(), 1);
  EXPECT_EQ(driver.scheduler().running(), 1);
  driver.Drain();
  driver.ExpectRight(first);
  driver.ExpectRight(urgent);
}

TEST(Scheduler, PrefillsInChunksThenDecodes) {
  SchedulerOptions options = SmallOptions();
  options.prefill_chunk = 5;
  Driver driver(options);
  driver.Add(Ask(12, 3));
  std::vector<std::pair<int64_t, int64_t>> slices;  // start, tokens
  std::vector<bool> sampled;
  while (!driver.scheduler().idle()) {
    const StepPlan plan = driver.Step();
    ASSERT_EQ(CountSlices(plan), 1);
    const SequenceSlice& slice = SliceOf(plan, 0);
    slices.emplace_back(slice.start, slice.count);
    sampled.push_back(slice.sample);
  }
  const std::vector<std::pair<int64_t, int64_t>> expected = {
      {0, 5}, {5, 5}, {10, 2}, {12, 1}, {13, 1}};
  EXPECT_EQ(slices, expected);
  EXPECT_THAT(sampled, ElementsAre(false, false, true, true, true));
  driver.ExpectRight(0);
}

// A source is computed in one step, whatever the pieces of other prompts.
TEST(Scheduler, SourcesStayInOnePiece) {
  SchedulerOptions options = SmallOptions();
  options.ranks = 1;
  options.prefill_chunk = 5;
  options.max_batched_tokens = 12;
  Driver driver(options);
  driver.Add(Ask(9, 6));
  Request request = Ask(14, 2);
  request.source = 10;
  driver.Add(request);
  std::vector<std::pair<int64_t, int64_t>> slices;  // of the second: start, tokens
  while (!driver.scheduler().idle()) {
    const StepPlan plan = driver.Step();
    for (const SequenceSlice& slice : plan.ranks[0].slices) {
      if (slice.id == 1) slices.emplace_back(slice.start, slice.count);
    }
  }
  // The first two steps had no room for ten tokens beside five or four.
  const std::vector<std::pair<int64_t, int64_t>> expected = {{0, 10}, {10, 4}, {14, 1}};
  EXPECT_EQ(slices, expected);

  options.max_batched_tokens = 9;
  EXPECT_THAT(Refusal(request, options), HasSubstr("raise --max-num-batched-tokens"));
  request.source = 14;
  EXPECT_THAT(Refusal(request), HasSubstr("at least one token must follow"));
}

TEST(Scheduler, ASequenceStartsOnceAndSaysWhatStaysTheSame) {
  Driver driver(SmallOptions());
  Request request = Ask(6, 3);
  request.sampling.seed = 77;
  request.sampling.temperature = 0.5f;
  request.logprobs = 4;
  request.gate = "k=1";
  driver.Add(request);
  const StepPlan first = driver.Step();
  const SequenceStart& start = StartOf(first, 0);
  EXPECT_EQ(start.tokens, request.prompt);
  EXPECT_EQ(start.prompt_length, 6);
  EXPECT_EQ(start.sampling.seed, 77u);
  EXPECT_EQ(start.sampling.temperature, 0.5f);
  EXPECT_EQ(start.logprobs, 4);
  EXPECT_EQ(start.gate, "k=1");
  EXPECT_TRUE(driver.Step().ranks[0].starts.empty());
}

TEST(Scheduler, DecodesComeFirstAndOneBudgetHoldsForBoth) {
  SchedulerOptions options = SmallOptions();
  options.ranks = 1;
  options.max_batched_tokens = 8;
  Driver driver(options);
  driver.Add(Ask(4, 8));
  driver.Add(Ask(4, 8, 11));
  driver.Step();
  driver.Add(Ask(20, 8, 21));
  const StepPlan plan = driver.Step();
  ASSERT_EQ(plan.ranks[0].slices.size(), 3u);
  EXPECT_EQ(plan.ranks[0].slices[0].count, 1);
  EXPECT_EQ(plan.ranks[0].slices[1].count, 1);
  EXPECT_EQ(plan.ranks[0].slices[2].count, 6);
  driver.Drain();
  for (const int64_t id : {0, 1, 2}) driver.ExpectRight(id);
}

TEST(Scheduler, SpreadsSequencesOverRanksByPendingWork) {
  Driver driver(SmallOptions());
  driver.Add(Ask(40, 4));
  driver.Add(Ask(4, 4, 5));
  driver.Add(Ask(4, 4, 9));
  const StepPlan plan = driver.Step();
  EXPECT_EQ(RankOf(plan, 0), 0);
  EXPECT_EQ(RankOf(plan, 1), 1);
  EXPECT_EQ(RankOf(plan, 2), 1);
}

TEST(Scheduler, NoMoreSequencesThanAllowed) {
  SchedulerOptions options = SmallOptions();
  options.max_sequences = 3;
  Driver driver(options);
  for (int32_t i = 0; i < 5; ++i) driver.Add(Ask(4, 4, 7 * i));
  EXPECT_EQ(CountSlices(driver.Step()), 3);
  EXPECT_EQ(driver.scheduler().running(), 3);
  EXPECT_EQ(driver.scheduler().waiting(), 2);
  EXPECT_EQ(driver.scheduler().waiting_tokens(), 8);
}

TEST(Scheduler, AStopTokenEndsARequestAndIsReported) {
  Driver driver(SmallOptions());
  Request request = Ask(2, 10);
  const Expected free_running = Expect(request, 0, 0);
  const int32_t stop = free_running.tokens[3];
  request.stop_ids = {39, stop, 0};
  const Expected expected = Expect(request, 0, 0);
  driver.Add(request);
  driver.Drain();
  EXPECT_EQ(driver.outcome(0).finish, FinishReason::kStop);
  EXPECT_EQ(driver.outcome(0).tokens, expected.tokens);
  EXPECT_THAT(driver.scheduler().Schedule().ranks[0].finished, ElementsAre(0));
}

TEST(Scheduler, ScoringEndsWithThePrompt) {
  Driver driver(SmallOptions());
  Request request = Ask(9, 0);
  request.prompt_logprobs = true;
  request.top_logprobs = 2;
  driver.Add(request);
  const StepPlan plan = driver.Step();
  EXPECT_TRUE(StartOf(plan, 0).prompt_logprobs);
  EXPECT_EQ(StartOf(plan, 0).top_logprobs, 2);
  EXPECT_FALSE(SliceOf(plan, 0).sample);
  EXPECT_EQ(driver.outcome(0).finish, FinishReason::kLength);
}

TEST(Scheduler, ScoredPromptsOfALargeVocabularyComeInSmallPieces) {
  SchedulerOptions options = SmallOptions();
  options.vocab = int64_t{1} << 23;
  Scheduler scheduler(options);
  Request request = Ask(8, 0);
  request.prompt_logprobs = true;
  ASSERT_TRUE(scheduler.Add(request).ok());
  EXPECT_EQ(scheduler.Schedule().ranks[0].slices[0].count, 2);
}

TEST(Scheduler, APlanNamesItsGates) {
  Driver driver(SmallOptions());
  for (const char* gate : {"k=2", "", "k=1", "k=2"}) {
    Request request = Ask(4, 4);
    request.gate = gate;
    driver.Add(request);
  }
  EXPECT_THAT(driver.Step().gates, ElementsAre("", "k=1", "k=2"));
  driver.Drain();
  EXPECT_THAT(driver.scheduler().Schedule().gates, ElementsAre(""));
}

TEST(Scheduler, PlansAreNumbered) {
  Driver driver(SmallOptions());
  driver.Add(Ask(4, 8));
  for (int64_t step = 0; step < 4; ++step) {
    EXPECT_EQ(driver.scheduler().next_step(), step);
    EXPECT_EQ(driver.Step().step, step);
  }
}

TEST(Scheduler, TheFirstStepOfAChoiceIsMarked) {
  SchedulerOptions options = SmallOptions();
  options.prefill_chunk = 3;
  Driver driver(options);
  driver.Add(Ask(6, 2));
  driver.Drain();
  std::vector<bool> first;
  for (const RequestEvent& event : driver.outcome(0).events) first.push_back(event.first);
  EXPECT_THAT(first, ElementsAre(true, false, false));
}

TEST(Scheduler, AbortedChoicesHaveOneLastEventEach) {
  Driver driver(SmallOptions());
  Request request = Ask(6, 20);
  request.n = 3;
  driver.Add(request);
  driver.Add(Ask(5, 20));
  driver.Step();
  driver.scheduler().Abort(0);
  driver.scheduler().Abort(0);
  driver.scheduler().Abort(1234);
  EXPECT_FALSE(driver.scheduler().idle());
  driver.Drain();
  for (int32_t c = 0; c < 3; ++c) {
    EXPECT_EQ(driver.outcome(0, c).finish, FinishReason::kAborted);
  }
  driver.ExpectRight(1);
  EXPECT_EQ(driver.scheduler().used_blocks(), 0);
}

TEST(Scheduler, AbortedEventsCanBeTakenAtOnce) {
  Driver driver(SmallOptions());
  driver.Add(Ask(6, 20));
  driver.scheduler().Abort(0);
  const std::vector<RequestEvent> events = driver.scheduler().TakeEvents();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].finish, FinishReason::kAborted);
  EXPECT_EQ(events[0].result, nullptr);
  EXPECT_TRUE(driver.scheduler().idle());
}

TEST(Scheduler, AnErrorEndsItsChoiceOnly) {
  Driver driver(SmallOptions());
  Request request = Ask(4, 100);
  request.gate = kFragileGate;
  int32_t seed = 0;
  while (Expect(request, 0, 0).finish != FinishReason::kError) {
    request.sampling.seed = static_cast<uint64_t>(++seed);
  }
  driver.Add(request);
  driver.Add(Ask(4, 60));
  driver.Drain();
  driver.ExpectRight(0);
  driver.ExpectRight(1);
  EXPECT_EQ(driver.outcome(0).finish, FinishReason::kError);
}

TEST(SchedulerDeathTest, APlanMustBeAnsweredFirst) {
  Scheduler scheduler(SmallOptions());
  scheduler.Schedule();
  EXPECT_DEATH(scheduler.Schedule(), "internal error");
}

}  // namespace
}  // namespace folkmoot
