// SPDX-License-Identifier: Apache-2.0
// One rank and hand-made plans: what it refuses, what it ignores, what it knows by itself.
#include "launch/model_runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "launch/loaded_rank.h"
#include "parallel/thread_communicator.h"
#include "runtime/ops/norm.h"

namespace folkmoot {
namespace {

using testing::HasSubstr;

class ModelRunnerTest : public testing::Test {
 protected:
  ModelRunnerTest() : worlds_(MakeThreadCommunicators(1)) { Load("mixtral-classic"); }

  void Load(const std::string& model, int64_t sequences = 64) {
    EngineOptions options;
    options.max_num_seqs = sequences;
    options.model = std::string(FOLKMOOT_TEST_DATA) + "/goldens/" + model;
    options.kv_cache_blocks = 32;
    auto rank = LoadedRank::Load(options, *worlds_[0], {.threads = 1}, nullptr);
    if (!rank.ok()) ADD_FAILURE() << rank.status();
    rank_ = *std::move(rank);
    step_ = 0;
  }

  StepPlan Empty() {
    StepPlan plan;
    plan.step = step_++;
    plan.gates = {""};
    plan.ranks.resize(1);
    return plan;
  }
  // 20 tokens, of which the first step computes 17.
  StepPlan First() {
    StepPlan plan = Empty();
    SequenceStart start = {.id = 5, .prompt_length = 20};
    for (int32_t t = 0; t < 20; ++t) start.tokens.push_back(t + 3);
    start.sampling.temperature = 0;
    plan.ranks[0].starts.push_back(start);
    plan.ranks[0].slices.push_back({.id = 5, .count = 17, .new_blocks = {4, 9}});
    return plan;
  }
  StepPlan Next(int64_t begin, int64_t count, bool sample) {
    StepPlan plan = Empty();
    plan.ranks[0].slices.push_back({.id = 5, .start = begin, .count = count, .sample = sample});
    return plan;
  }
  std::string Refusal(const StepPlan& plan) {
    const absl::StatusOr<StepResult> result = rank_->runner().Run(plan);
    return result.ok() ? "" : std::string(Message(result.status()));
  }

  std::vector<std::unique_ptr<Communicator>> worlds_;
  std::unique_ptr<LoadedRank> rank_;
  int64_t step_ = 0;
};

TEST_F(ModelRunnerTest, RefusesStartsThatContradictThemselves) {
  const auto refusal = [&](const std::function<void(SequenceStart*)>& change) {
    Load("mixtral-classic");
    StepPlan plan = First();
    change(&plan.ranks[0].starts[0]);
    return Refusal(plan);
  };
  EXPECT_THAT(refusal([](SequenceStart* s) { s->prompt_length = 21; }),
              HasSubstr("sequence 5 has a prompt of 21 tokens, but starts with 20"));
  EXPECT_THAT(refusal([](SequenceStart* s) { s->tokens[3] = 96; }),
              HasSubstr("sequence 5: token 96 is not one of 96"));
  EXPECT_THAT(refusal([](SequenceStart* s) { s->cached = 8; }),
              HasSubstr("sequence 5 starts with 8 of 20 tokens in 0 cached pages of 16"));
  EXPECT_THAT(refusal([](SequenceStart* s) {
                s->cached = 16;
                s->cached_blocks = {32};
              }),
              HasSubstr("sequence 5: page 32 is not one of 32"));
  EXPECT_THAT(refusal([](SequenceStart* s) {
                s->cached = 16;
                s->cached_blocks = {31};
              }),
              HasSubstr("page 31 should hold its positions 0 to 15, but holds something else"));
  EXPECT_THAT(refusal([](SequenceStart* s) { s->gate = "top_k=1"; }),
              HasSubstr("sequence 5 routes with gate 'top_k=1', which the plan does not list"));
}

TEST_F(ModelRunnerTest, RefusesSlicesThatDoNotContinue) {
  const auto refusal = [&](const std::function<void(StepPlan*)>& change) {
    Load("mixtral-classic");
    EXPECT_EQ(Refusal(First()), "");
    StepPlan plan = Next(17, 3, true);
    change(&plan);
    return Refusal(plan);
  };
  EXPECT_EQ(refusal([](StepPlan*) {}), "");
  EXPECT_THAT(refusal([](StepPlan* p) { p->ranks[0].slices[0].id = 6; }),
              HasSubstr("sequence 6 goes on, but this rank does not hold it"));
  EXPECT_THAT(refusal([](StepPlan* p) { p->ranks[0].slices[0].start = 16; }),
              HasSubstr("goes on with 3 tokens at position 16, but 17 are computed"));
  EXPECT_THAT(refusal([](StepPlan* p) { p->ranks[0].slices[0].count = 4; }),
              HasSubstr("sequence 5 goes on to position 21, but has only 20 tokens"));
  EXPECT_THAT(refusal([](StepPlan* p) { p->ranks[0].slices[0].count = 2; }),
              HasSubstr("sequence 5 is sampled at position 19, but goes on to 20"));
  EXPECT_THAT(refusal([](StepPlan* p) { p->ranks[0].slices[0].new_blocks = {-1}; }),
              HasSubstr("sequence 5: page -1 is not one of 32"));
  EXPECT_THAT(refusal([](StepPlan* p) { p->ranks[0].slices[0].allowed = {1}; }),
              HasSubstr("a token mask of 1 words, where the vocabulary has 3"));
  EXPECT_THAT(refusal([](StepPlan* p) { p->ranks[0].finished = {5}; }),
              HasSubstr("this rank does not hold it"));
  EXPECT_THAT(refusal([](StepPlan* p) {
                p->ranks[0].slices.push_back({.id = 5, .start = 20, .count = 1});
              }),
              HasSubstr("sequence 5 has two slices"));
  EXPECT_THAT(refusal([&](StepPlan* p) { p->ranks[0].starts = First().ranks[0].starts; }),
              HasSubstr("sequence 5 starts, but this rank already holds it"));
}

TEST_F(ModelRunnerTest, RefusesGuessesThatCannotBe) {
  const auto refusal = [&](const std::function<void(SequenceSlice*)>& change) {
    Load("mixtral-classic");
    EXPECT_EQ(Refusal(First()), "");
    EXPECT_EQ(Refusal(Next(17, 3, true)), "");
    StepPlan plan = Next(20, 1, true);
    plan.ranks[0].slices[0].drafts = 2;
    plan.ranks[0].slices[0].draft = {7, 95};
    change(&plan.ranks[0].slices[0]);
    return Refusal(plan);
  };
  EXPECT_EQ(refusal([](SequenceSlice*) {}), "");
  EXPECT_THAT(refusal([](SequenceSlice* s) { s->draft[1] = 96; }),
              HasSubstr("sequence 5: its guess 96 is no token of 96"));
  EXPECT_THAT(refusal([](SequenceSlice* s) { s->draft[1] = -1; }), HasSubstr("its guess -1"));
  EXPECT_THAT(refusal([](SequenceSlice* s) { s->drafts = 3; }),
              HasSubstr("should have 3 guesses, but has 2"));
  EXPECT_THAT(refusal([](SequenceSlice* s) { s->drafts = -2; }), HasSubstr("has -2 guesses"));
  EXPECT_THAT(refusal([](SequenceSlice* s) { s->sample = false; }),
              HasSubstr("has 2 guesses behind 1 tokens"));
  EXPECT_THAT(refusal([](SequenceSlice* s) { s->draft.clear(); }),
              HasSubstr("this rank has no model that guesses"));
  EXPECT_THAT(refusal([](SequenceSlice* s) {
                s->draft.assign(12, 1);
                s->drafts = 12;
              }),
              HasSubstr("goes on to position 33, but has only 2 pages of 16"));
  EXPECT_THAT(refusal([](SequenceSlice* s) { s->allowed.assign(3, ~0u); }),
              HasSubstr("a token mask of 3 words, where the vocabulary has 3 for each token"));
}

TEST_F(ModelRunnerTest, PagesMustBeEnough) {
  StepPlan plan = First();
  plan.ranks[0].slices[0].new_blocks = {4};
  EXPECT_THAT(Refusal(plan), HasSubstr("goes on to position 17, but has only 1 pages of 16"));
}

TEST_F(ModelRunnerTest, KnowsTheTokenThatItSampled) {
  ASSERT_EQ(Refusal(First()), "");
  const auto sampled = rank_->runner().Run(Next(17, 3, true));
  ASSERT_TRUE(sampled.ok()) << sampled.status();
  EXPECT_GE(sampled->sequences.at(0).token, 0);
  // Nobody told it the token at position 20.
  const auto next = rank_->runner().Run(Next(20, 1, true));
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_GE(next->sequences.at(0).token, 0);
}

TEST_F(ModelRunnerTest, SharesPagesThatHoldTheSameTokens) {
  ASSERT_EQ(Refusal(First()), "");
  const auto whole = rank_->runner().Run(Next(17, 3, true));
  ASSERT_TRUE(whole.ok());
  StepPlan plan = First();
  plan.ranks[0].starts[0].id = 6;
  plan.ranks[0].starts[0].cached = 16;
  plan.ranks[0].starts[0].cached_blocks = {4};
  plan.ranks[0].slices[0] = {.id = 6, .start = 16, .count = 4, .new_blocks = {11}, .sample = true};
  const auto shared = rank_->runner().Run(plan);
  ASSERT_TRUE(shared.ok()) << shared.status();
  EXPECT_EQ(shared->sequences[0].token, whole->sequences[0].token);
  EXPECT_EQ(shared->sequences[0].token_logprob, whole->sequences[0].token_logprob);
  // Another prompt may not.
  plan = First();
  plan.ranks[0].starts[0].id = 7;
  plan.ranks[0].starts[0].tokens[0] = 50;
  plan.ranks[0].starts[0].cached = 16;
  plan.ranks[0].starts[0].cached_blocks = {4};
  EXPECT_THAT(Refusal(plan), HasSubstr("sequence 7: page 4 should hold its positions 0 to 15"));
}

TEST_F(ModelRunnerTest, SlicesAfterAnErrorAreAnsweredWithIt) {
  ASSERT_EQ(Refusal(First()), "");
  StepPlan plan = Next(17, 3, true);
  plan.ranks[0].slices[0].allowed = {0, 0, 0};
  const auto failed = rank_->runner().Run(plan);
  ASSERT_TRUE(failed.ok()) << failed.status();
  EXPECT_THAT(failed->sequences.at(0).error, HasSubstr("no token may come at position 20"));
  const auto ignored = rank_->runner().Run(Next(20, 1, true));  // planned before that was known
  ASSERT_TRUE(ignored.ok()) << ignored.status();
  EXPECT_EQ(ignored->sequences.at(0).error, failed->sequences[0].error);
  EXPECT_EQ(ignored->sequences.at(0).token, -1);
}

// One slot for each of max_num_seqs sequences: taken at the start, given back at the end.
TEST_F(ModelRunnerTest, SlotsOfRecurrentStateBalance) {
  Load("qwen3_next-classic", 2);
  ModelRunner& runner = rank_->runner();
  EXPECT_EQ(runner.free_slots(), 2);
  ASSERT_EQ(Refusal(First()), "");
  EXPECT_EQ(runner.free_slots(), 1);
  const auto first = runner.Run(Next(17, 3, true));
  ASSERT_TRUE(first.ok()) << first.status();
  // It begins again, as after a preemption, in a slot that holds something else: the same answer.
  StepPlan again = First();
  again.ranks[0].finished = {5};
  ASSERT_EQ(Refusal(again), "");
  EXPECT_EQ(runner.free_slots(), 1);
  const auto second = runner.Run(Next(17, 3, true));
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->sequences[0].token, first->sequences[0].token);
  EXPECT_EQ(second->sequences[0].token_logprob, first->sequences[0].token_logprob);
  StepPlan other = First();
  other.ranks[0].starts[0].id = other.ranks[0].slices[0].id = 6;
  other.ranks[0].slices[0].new_blocks = {7, 8};
  ASSERT_EQ(Refusal(other), "");
  EXPECT_EQ(runner.free_slots(), 0);
  runner.Forget();  // another rank was replaced: all begin again
  EXPECT_EQ(runner.free_slots(), 2);
  ASSERT_EQ(Refusal(First()), "");
  ASSERT_EQ(Refusal(other), "");
  EXPECT_EQ(runner.free_slots(), 0);
  StepPlan end = Empty();
  end.ranks[0].finished = {5, 6, 7};  // 7 was never there
  ASSERT_EQ(Refusal(end), "");
  EXPECT_EQ(runner.free_slots(), 2);
}

TEST_F(ModelRunnerTest, RefusesWhatRecurrentStateCannotDo) {
  Load("qwen3_next-classic", 1);
  ASSERT_EQ(Refusal(First()), "");
  StepPlan other = First();
  other.ranks[0].starts[0].id = other.ranks[0].slices[0].id = 6;
  EXPECT_THAT(Refusal(other),
              HasSubstr("sequence 6 starts, but all 1 slots of this rank are taken"));
  Load("qwen3_next-classic", 1);
  StepPlan cached = First();
  cached.ranks[0].starts[0].cached = 16;
  cached.ranks[0].starts[0].cached_blocks = {4};
  EXPECT_THAT(Refusal(cached), HasSubstr("sequence 5 starts behind 16 cached tokens with copy -1"));
  Load("qwen3_next-classic", 1);
  StepPlan copied = First();
  copied.ranks[0].slices[0].snapshot = 1 << 20;
  EXPECT_THAT(Refusal(copied), HasSubstr("sequence 5: copy 1048576 of its state is not one of"));
  Load("qwen3_next-classic", 1);
  ASSERT_EQ(Refusal(First()), "");
  ASSERT_EQ(Refusal(Next(17, 3, true)), "");
  StepPlan guesses = Next(20, 1, true);
  guesses.ranks[0].slices[0].drafts = 1;
  guesses.ranks[0].slices[0].draft = {7};
  EXPECT_THAT(Refusal(guesses), HasSubstr("sequence 5 has 1 guesses, which its recurrent state"));
}

TEST_F(ModelRunnerTest, EmptyPlansSkipTheModel) {
  const auto result = rank_->runner().Run(Empty());
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->sequences.empty());
  EXPECT_EQ(rank_->runner().model_seconds(), 0);
}

TEST_F(ModelRunnerTest, RanksAndBestTokensOfThePrompt) {
  StepPlan plan = First();
  plan.ranks[0].starts[0].prompt_logprobs = true;
  plan.ranks[0].starts[0].top_logprobs = 96;
  plan.ranks[0].starts[0].answered = 10;
  plan.ranks[0].starts[0].logprobs = 2;
  const auto first = rank_->runner().Run(plan);
  ASSERT_TRUE(first.ok()) << first.status();
  const SequenceResult& result = first->sequences.at(0);
  ASSERT_EQ(result.target_ranks.size(), 7u);  // rows 10 to 16
  ASSERT_EQ(result.top_logprobs.size(), 7u * 96u);
  for (size_t i = 0; i < 7; ++i) {
    const TokenLogprob& at =
        result.top_logprobs[i * 96 + static_cast<size_t>(result.target_ranks[i]) - 1];
    EXPECT_EQ(at.token, static_cast<int32_t>(i) + 11 + 3);
    EXPECT_EQ(at.logprob, result.target_logprobs[i]);
  }
  const auto second = rank_->runner().Run(Next(17, 3, true));
  ASSERT_TRUE(second.ok()) << second.status();
  const SequenceResult& last = second->sequences.at(0);
  EXPECT_EQ(last.target_ranks.size(), 2u);  // the last row has no target
  ASSERT_EQ(last.token_top.size(), 2u);
  EXPECT_EQ(last.token_top[0].token, last.token);
  EXPECT_EQ(last.token_top[0].logprob, last.token_logprob);
}

}  // namespace
}  // namespace folkmoot
