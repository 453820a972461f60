// SPDX-License-Identifier: Apache-2.0
// Several choices of one request, and outputs that must follow a form.
#include <gtest/gtest.h>

#include "tests/scheduler/driver.h"

namespace folkmoot {
namespace {

Request Choices(int64_t length, int64_t max_tokens, int32_t n) {
  Request request = Ask(length, max_tokens);
  request.n = n;
  request.sampling.seed = 5;
  return request;
}

TEST(Choices, WaitForThePromptAndReadItsPages) {
  for (const bool caching : {true, false}) {
    for (const bool may_read : {true, false}) {
      SchedulerOptions options = SmallOptions();
      options.prefill_chunk = 16;
      options.prefix_caching = caching;
      Driver driver(options);
      Request request = Choices(33, 6, 3);
      request.prefix_cache = may_read;
      driver.Add(request);
      EXPECT_EQ(driver.scheduler().waiting(), 3);
      for (int i = 0; i < 3; ++i) EXPECT_EQ(CountSlices(driver.Step()), 1);
      const StepPlan plan = driver.Step();
      for (const int64_t sequence : {1, 2}) {
        EXPECT_EQ(StartOf(plan, sequence).cached, 32);
        EXPECT_EQ(StartOf(plan, sequence).sampling.seed, 5u + static_cast<uint64_t>(sequence));
        EXPECT_EQ(RankOf(plan, sequence), RankOf(plan, 0));
        EXPECT_EQ(SliceOf(plan, sequence).count, 1);
      }
      driver.Drain();
      for (int32_t c = 0; c < 3; ++c) driver.ExpectRight(0, c);
      EXPECT_EQ(driver.outcome(0, 1).cached_tokens, 32);
      if (!caching) {
        EXPECT_EQ(driver.scheduler().cached_blocks(), 0) << "nothing is left behind";
      }
    }
  }
}

TEST(Choices, OfARequestThatMayNotReadDoNotReadOthersPages) {
  Driver driver(SmallOptions());
  driver.Add(Ask(33, 2));
  driver.Drain();
  Request request = Choices(33, 4, 2);
  request.prefix_cache = false;
  const int64_t id = driver.Add(request);
  driver.Drain();
  EXPECT_EQ(driver.outcome(id, 0).cached_tokens, 0);
  EXPECT_EQ(driver.outcome(id, 1).cached_tokens, 32) << "from the first choice";
}

TEST(Choices, ComputeThePromptThemselvesWhereItCannotBeShared) {
  std::vector<Request> all(3, Choices(12, 4, 3));
  all[0].gate = kPrivateGate;
  all[1].trace_routing = true;
  all[2].layer_digests = true;
  for (const Request& request : all) {
    Driver driver(SmallOptions());
    driver.Add(request);
    EXPECT_EQ(CountSlices(driver.Step()), 3) << "all at once";
    driver.Drain();
    for (int32_t c = 0; c < 3; ++c) {
      driver.ExpectRight(0, c);
      EXPECT_EQ(driver.outcome(0, c).cached_tokens, 0);
    }
  }
}

TEST(Choices, ThePromptIsScoredOnce) {
  Driver driver(SmallOptions());
  Request request = Choices(12, 2, 2);
  request.prompt_logprobs = true;
  driver.Add(request);
  EXPECT_TRUE(StartOf(driver.Step(), 0).prompt_logprobs);
  const StepPlan plan = driver.Step();
  EXPECT_FALSE(StartOf(plan, 1).prompt_logprobs);
  EXPECT_EQ(StartOf(plan, 1).cached, 8);
}

TEST(Choices, GoBeforeRequestsThatHaveNotBegun) {
  SchedulerOptions options = SmallOptions();
  options.max_sequences = 1;
  Driver driver(options);
  driver.Add(Choices(6, 3, 3));
  const int64_t other = driver.Add(Ask(6, 3, 20));
  for (int i = 0; i < 9; ++i) {
    EXPECT_TRUE(driver.outcome(other).events.empty());
    driver.Step();
  }
  driver.Drain();
  for (int32_t c = 0; c < 3; ++c) driver.ExpectRight(0, c);
}

TEST(Choices, SurviveTheErrorOfTheFirst) {
  Request request = Choices(8, 30, 2);
  request.gate = kFragileGate;
  const auto wanted = [&] {
    return Expect(request, 0, 0).finish == FinishReason::kError &&
           Expect(request, 1, 1).finish == FinishReason::kLength;
  };
  while (!wanted()) ++request.sampling.seed;
  Driver driver(SmallOptions());
  driver.Add(request);
  driver.Drain();
  driver.ExpectRight(0, 0);
  driver.ExpectRight(0, 1);
}

// Held, waiting or running, alone or the last one: a choice that is ended leaves the others as they
// are, and no page behind.
TEST(Choices, EndOneByOne) {
  for (const bool ahead : {false, true}) {
    for (int steps = 0; steps < 4; ++steps) {
      for (int32_t victim = 0; victim < 3; ++victim) {
        SchedulerOptions options = SmallOptions();
        options.prefill_chunk = 8;
        options.max_sequences = 2;
        options.plan_ahead = ahead;
        Driver driver(options);
        const int64_t id = driver.Add(Choices(15, 6, 3));
        for (int i = 0; i < steps; ++i) driver.Step();
        if (ahead && steps > 0) driver.Plan();
        driver.scheduler().Abort(id, victim);
        driver.scheduler().Abort(id, victim);
        driver.scheduler().Abort(id, 3);
        driver.scheduler().Abort(id, -1);
        driver.Drain();
        EXPECT_EQ(driver.outcome(id, victim).finish, FinishReason::kAborted);
        EXPECT_LT(driver.outcome(id, victim).tokens.size(), 6u);
        for (int32_t c = 0; c < 3; ++c) {
          if (c != victim) driver.ExpectRight(id, c);
        }
        EXPECT_EQ(driver.scheduler().used_blocks(), 0);
        EXPECT_EQ(driver.scheduler().waiting(), 0);
      }
    }
  }
}

TEST(Choices, TheNextOneTakesThePlaceOfTheFirstInTheQueue) {
  SchedulerOptions options = SmallOptions();
  options.max_sequences = 1;
  Driver driver(options);
  driver.Add(Ask(6, 3, 30));
  Request request = Choices(8, 3, 4);
  request.prompt_logprobs = true;
  const int64_t id = driver.Add(request);  // sequences 1 to 4
  const int64_t other = driver.Add(Ask(6, 3, 20));
  driver.Step();
  driver.scheduler().Abort(id, 1);
  driver.scheduler().Abort(id, 0);
  EXPECT_EQ(driver.scheduler().waiting(), 3);
  driver.Step();
  driver.Step();
  const StepPlan plan = driver.Step();
  EXPECT_TRUE(StartOf(plan, 3).prompt_logprobs) << "before those who came later";
  driver.Drain();
  for (const int32_t choice : {2, 3}) driver.ExpectRight(id, choice);
  driver.ExpectRight(other);
  EXPECT_EQ(driver.outcome(id, 3).cached_tokens, 4) << "it waited for the prompt";
}

// Nobody overtakes: an aborted first choice does not put the others in front of earlier requests.
TEST(Choices, WaitForTheirTurnWithoutTheFirst) {
  SchedulerOptions options = SmallOptions();
  options.max_sequences = 1;
  Driver driver(options);
  driver.Add(Ask(6, 3, 30));
  const int64_t earlier = driver.Add(Ask(6, 3, 20));
  const int64_t id = driver.Add(Choices(8, 3, 3));
  driver.Step();
  driver.scheduler().Abort(id, 0);
  for (int i = 0; i < 5; ++i) driver.Step();
  EXPECT_EQ(driver.outcome(earlier).finish, FinishReason::kLength);
  EXPECT_TRUE(driver.outcome(id, 1).events.empty());
  driver.Drain();
  for (const int32_t choice : {1, 2}) driver.ExpectRight(id, choice);
}

TEST(Choices, TheRequestEndsWithItsLastChoice) {
  Driver driver(SmallOptions());
  const int64_t id = driver.Add(Choices(8, 20, 2));
  for (int i = 0; i < 3; ++i) driver.Step();
  const int64_t both = driver.scheduler().used_blocks();
  driver.scheduler().Abort(id, 0);
  EXPECT_LT(driver.scheduler().used_blocks(), both);
  EXPECT_EQ(CountSlices(driver.Step()), 1);
  EXPECT_TRUE(driver.scheduler().has_work());
  driver.scheduler().Abort(id, 1);
  EXPECT_FALSE(driver.scheduler().has_work());
  EXPECT_EQ(driver.scheduler().used_blocks(), 0);
  driver.Drain();
  for (int32_t c = 0; c < 2; ++c) EXPECT_EQ(driver.outcome(id, c).finish, FinishReason::kAborted);
}

Request Formed(int length, int32_t end, int64_t max_tokens) {
  Request request = Ask(5, max_tokens);
  request.constraint = std::make_shared<FakeConstraint>(length, end);
  if (end >= 0) request.stop_ids = {end};
  return request;
}

TEST(Constraints, AMaskComesWithEverySampleAndOnlyThen) {
  SchedulerOptions options = SmallOptions();
  options.prefill_chunk = 3;
  Driver driver(options);
  driver.Add(Formed(4, 9, 20));
  std::vector<size_t> words;
  while (!driver.scheduler().idle()) {
    const StepPlan plan = driver.Step();
    words.push_back(SliceOf(plan, 0).allowed.size());
  }
  EXPECT_EQ(words, (std::vector<size_t>{0, 2, 2, 2, 2, 2}));
  driver.ExpectRight(0);
  const std::vector<int32_t>& tokens = driver.outcome(0).tokens;
  ASSERT_EQ(tokens.size(), 5u);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(tokens[i] % 3, static_cast<int32_t>(i % 3));
  EXPECT_EQ(tokens[4], 9);
}

TEST(Constraints, ACompleteFormWithoutAnEndTokenStopsWithItsLastToken) {
  Driver driver(SmallOptions());
  driver.Add(Formed(3, -1, 20));
  driver.Drain();
  EXPECT_EQ(driver.outcome(0).finish, FinishReason::kStop);
  EXPECT_EQ(driver.outcome(0).tokens.size(), 3u);
  EXPECT_EQ(driver.outcome(0).events.size(), 3u) << "the last token's event is the last one";
}

TEST(Constraints, AFormThatAllowsNothingEndsBeforeItBegins) {
  Driver driver(SmallOptions());
  Request request = Formed(0, -1, 20);
  request.n = 2;
  driver.Add(request);
  driver.Add(Ask(4, 4));
  driver.Drain();
  EXPECT_EQ(driver.outcome(0, 0).finish, FinishReason::kStop);
  EXPECT_EQ(driver.outcome(0, 1).finish, FinishReason::kStop);
  EXPECT_EQ(driver.outcome(0).events.size(), 1u);
  driver.ExpectRight(1);
}

TEST(Constraints, EveryChoiceHasItsOwnState) {
  Driver driver(SmallOptions());
  Request request = Formed(6, 3, 20);
  request.n = 3;
  driver.Add(request);
  driver.Drain();
  for (int32_t c = 0; c < 3; ++c) driver.ExpectRight(0, c);
}

}  // namespace
}  // namespace folkmoot
