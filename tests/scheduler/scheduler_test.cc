// SPDX-License-Identifier: Apache-2.0
#include "scheduler/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

namespace folkmoot {
namespace {

using testing::HasSubstr;

SchedulerOptions Options() {
  SchedulerOptions options;
  options.ranks = 2;
  options.vocab = 100;
  options.max_model_len = 64;
  options.max_sequences = 4;
  options.max_batched_tokens = 8;
  options.prefill_chunk = 5;
  options.blocks_per_rank = 8;
  options.block_size = 16;
  return options;
}

Request Prompt(int64_t length, int64_t max_tokens) {
  Request request;
  request.prompt.assign(static_cast<size_t>(length), 1);
  request.max_tokens = max_tokens;
  return request;
}

// The answer of ranks that sample `token` wherever the plan asks for a token.
std::vector<StepResult> Answer(const StepPlan& plan, int32_t token) {
  std::vector<StepResult> results(plan.ranks.size());
  for (size_t r = 0; r < plan.ranks.size(); ++r) {
    for (const SequenceSlice& slice : plan.ranks[r]) {
      SequenceResult& result = results[r].sequences.emplace_back();
      result.id = slice.id;
      result.token = slice.sample ? token : -1;
    }
  }
  return results;
}

TEST(Scheduler, PrefillsInChunksThenDecodes) {
  Scheduler scheduler(Options());
  ASSERT_TRUE(scheduler.Add(Prompt(12, 2)).ok());
  std::vector<std::pair<int64_t, size_t>> slices;  // start, tokens
  FinishReason finish = FinishReason::kNone;
  while (!scheduler.idle()) {
    const StepPlan plan = scheduler.Schedule();
    ASSERT_EQ(plan.ranks[0].size(), 1u);
    slices.emplace_back(plan.ranks[0][0].start, plan.ranks[0][0].token_ids.size());
    for (const RequestEvent& event : scheduler.Update(Answer(plan, 7))) finish = event.finish;
  }
  const std::vector<std::pair<int64_t, size_t>> expected = {{0, 5}, {5, 5}, {10, 2}, {12, 1}};
  EXPECT_EQ(slices, expected);
  EXPECT_EQ(finish, FinishReason::kLength);
}

TEST(Scheduler, SpreadsSequencesOverRanks) {
  Scheduler scheduler(Options());
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(scheduler.Add(Prompt(4, 4)).ok());
  const StepPlan plan = scheduler.Schedule();
  EXPECT_EQ(plan.ranks[0].size(), 2u);
  EXPECT_EQ(plan.ranks[1].size(), 2u);
}

TEST(Scheduler, AStopTokenEndsARequestAndIsReported) {
  Scheduler scheduler(Options());
  Request request = Prompt(2, 10);
  request.stop_ids = {42};
  ASSERT_TRUE(scheduler.Add(request).ok());
  const StepPlan first = scheduler.Schedule();
  EXPECT_EQ(scheduler.Update(Answer(first, 41)).at(0).finish, FinishReason::kNone);
  const StepPlan second = scheduler.Schedule();
  EXPECT_EQ(scheduler.Update(Answer(second, 42)).at(0).finish, FinishReason::kStop);
  EXPECT_TRUE(scheduler.idle());
  EXPECT_EQ(scheduler.Schedule().finished, std::vector<int64_t>{0});
}

TEST(Scheduler, TargetsAreTheNextPromptTokens) {
  Scheduler scheduler(Options());
  Request request;
  request.prompt = {10, 11, 12, 13, 14, 15, 16};
  request.max_tokens = 0;
  request.prompt_logprobs = true;
  ASSERT_TRUE(scheduler.Add(request).ok());
  const StepPlan first = scheduler.Schedule();
  EXPECT_EQ(first.ranks[0][0].targets, (std::vector<int32_t>{11, 12, 13, 14, 15}));
  EXPECT_FALSE(first.ranks[0][0].sample);
  EXPECT_EQ(scheduler.Update(Answer(first, 1)).at(0).finish, FinishReason::kNone);
  const StepPlan second = scheduler.Schedule();
  EXPECT_EQ(second.ranks[0][0].targets, (std::vector<int32_t>{16, -1}));
  EXPECT_EQ(scheduler.Update(Answer(second, 1)).at(0).finish, FinishReason::kLength);
}

TEST(Scheduler, ScoredPromptsOfALargeVocabularyComeInSmallPieces) {
  SchedulerOptions options = Options();
  options.vocab = int64_t{1} << 23;
  Scheduler scheduler(options);
  Request request = Prompt(8, 0);
  request.prompt_logprobs = true;
  ASSERT_TRUE(scheduler.Add(request).ok());
  EXPECT_EQ(scheduler.Schedule().ranks[0][0].token_ids.size(), 2u);
}

TEST(Scheduler, ARequestThatCanNeverRunIsRefused) {
  SchedulerOptions options = Options();
  options.blocks_per_rank = 2;
  Scheduler scheduler(options);
  EXPECT_THAT(std::string(Message(scheduler.Add(Prompt(40, 20)).status())),
              HasSubstr("needs 4 KV pages of 16 tokens, but a rank has only 2"));
}

// Random arrivals, lengths and aborts: pages balance after every step, budgets hold, nobody
// starves, every request ends exactly once, and the same seed gives the same schedule.
class RandomWorkload {
 public:
  explicit RandomWorkload(uint64_t seed) : random_(seed), scheduler_(Options()) {}

  // A fingerprint of all plans.
  std::vector<int64_t> Run(int steps) {
    for (int i = 0; i < steps || !scheduler_.idle(); ++i) {
      if (i < steps && random_() % 3 == 0) Arrive();
      if (i < steps && random_() % 17 == 0 && !open_.empty()) AbortOne();
      Step();
    }
    EXPECT_TRUE(open_.empty());
    EXPECT_EQ(scheduler_.free_blocks(0), Options().blocks_per_rank);
    EXPECT_EQ(scheduler_.free_blocks(1), Options().blocks_per_rank);
    return fingerprint_;
  }

 private:
  void Arrive() {
    Request request =
        Prompt(1 + static_cast<int64_t>(random_() % 30), static_cast<int64_t>(random_() % 20));
    request.prompt_logprobs = request.max_tokens == 0;
    const auto id = scheduler_.Add(request);
    ASSERT_TRUE(id.ok()) << id.status();
    open_[*id] = 0;
  }

  void AbortOne() {
    auto victim = open_.begin();
    std::advance(victim, static_cast<int64_t>(random_() % open_.size()));
    scheduler_.Abort(victim->first);
    open_.erase(victim);
  }

  void Step() {
    const StepPlan plan = scheduler_.Schedule();
    int64_t used[2] = {0, 0};
    for (size_t r = 0; r < 2; ++r) {
      int64_t tokens = 0;
      std::set<int32_t> pages;
      for (const SequenceSlice& slice : plan.ranks[r]) {
        tokens += static_cast<int64_t>(slice.token_ids.size());
        for (const int32_t page : slice.blocks) EXPECT_TRUE(pages.insert(page).second);
        fingerprint_.push_back(slice.id * 1000 + slice.start);
      }
      EXPECT_LE(tokens, Options().max_batched_tokens);
      used[r] = static_cast<int64_t>(pages.size());
      EXPECT_LE(used[r] + scheduler_.free_blocks(static_cast<int>(r)), Options().blocks_per_rank);
    }
    EXPECT_LE(scheduler_.running(), Options().max_sequences);
    for (const RequestEvent& event : scheduler_.Update(Answer(plan, 5))) {
      const auto found = open_.find(event.id);
      ASSERT_NE(found, open_.end()) << "an event of a request that had ended";
      if (event.finish != FinishReason::kNone) open_.erase(found);
    }
    for (auto& [id, age] : open_) ASSERT_LT(++age, 5000) << "request " << id << " starves";
  }

  std::mt19937_64 random_;
  Scheduler scheduler_;
  std::map<int64_t, int> open_;  // id -> age in steps
  std::vector<int64_t> fingerprint_;
};

TEST(Scheduler, RandomWorkloadsKeepTheInvariants) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const auto once = RandomWorkload(seed).Run(2000);
    const auto twice = RandomWorkload(seed).Run(2000);
    EXPECT_EQ(once, twice) << "seed " << seed;
  }
}

}  // namespace
}  // namespace folkmoot
