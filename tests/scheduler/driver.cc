// SPDX-License-Identifier: Apache-2.0
#include "tests/scheduler/driver.h"

#include <algorithm>

namespace folkmoot {

SchedulerOptions SmallOptions() {
  SchedulerOptions options;
  options.ranks = 2;
  options.vocab = kFakeVocab;
  options.max_model_len = 128;
  options.max_sequences = 8;
  options.max_batched_tokens = 64;
  options.prefill_chunk = 64;
  options.blocks_per_rank = 64;
  options.block_size = 4;
  options.gate_is_cacheable = [](const std::string& gate) { return gate != kPrivateGate; };
  return options;
}

Request Ask(int64_t length, int64_t max_tokens, int32_t first) {
  Request request;
  for (int64_t i = 0; i < length; ++i) {
    request.prompt.push_back(static_cast<int32_t>((first + i) % kFakeVocab));
  }
  request.max_tokens = max_tokens;
  return request;
}

Driver::Driver(const SchedulerOptions& options) : options_(options), scheduler_(options) {
  for (int r = 0; r < options.ranks; ++r) {
    ranks_.emplace_back(options);
  }
}

int64_t Driver::Add(const Request& request) {
  const absl::StatusOr<int64_t> id = scheduler_.Add(request);
  EXPECT_TRUE(id.ok()) << id.status();
  if (!id.ok()) return -1;
  asked_[*id] = {request, next_sequence_};
  for (int32_t c = 0; c < request.n; ++c) {
    for (FakeRank& rank : ranks_) rank.SetLabel(next_sequence_, request.cache_salt);
    ++next_sequence_;
  }
  return *id;
}

StepPlan Driver::Plan() {
  StepPlan plan = scheduler_.Schedule();
  const int64_t answered = plan.step - 1 - static_cast<int64_t>(under_way_.size());
  std::vector<StepResult> results;
  for (size_t r = 0; r < ranks_.size(); ++r) {
    results.push_back(ranks_[r].Run(plan.ranks[r], plan.gates, plan.step, answered));
    EXPECT_EQ(ranks_[r].complaint(), "");
  }
  under_way_.push_back(std::move(results));
  return plan;
}

void Driver::Hear(const std::vector<RequestEvent>& events) {
  for (const RequestEvent& event : events) {
    Outcome& outcome = outcomes_[{event.id, event.choice}];
    EXPECT_EQ(outcome.finish, FinishReason::kNone) << "an event after the last one";
    if (event.result != nullptr && event.result->token >= 0) {
      outcome.tokens.push_back(event.result->token);
    }
    outcome.finish = event.finish;
    outcome.cached_tokens = event.cached_tokens;
    outcome.events.push_back(event);
    outcome.events.back().result = nullptr;
  }
}

void Driver::Answer() {
  std::vector<StepResult> results = std::move(under_way_.front());
  under_way_.pop_front();
  Hear(scheduler_.Update(std::move(results)));
}

void Driver::Crash(const std::set<int>& keeping, bool begun) {
  under_way_.clear();
  scheduler_.Restart(begun);
  for (int r = 0; r < options_.ranks; ++r) {
    FakeRank& rank = ranks_[static_cast<size_t>(r)];
    if (keeping.contains(r)) {
      rank.KeepPages();
    } else {
      rank.Restart();
      scheduler_.ForgetPages(r);
    }
  }
}

StepPlan Driver::Step() {
  StepPlan plan = Plan();
  Answer();
  return plan;
}

void Driver::Drain() {
  const size_t depth = options_.plan_ahead ? 2 : 1;
  for (int i = 0; i < 100'000 && !scheduler_.idle(); ++i) {
    const bool plans = scheduler_.has_work() && under_way_.size() < depth;
    if (plans) Plan();
    if (!under_way_.empty() && (!plans || under_way_.size() == depth)) Answer();
    if (under_way_.empty() && !scheduler_.has_work()) Hear(scheduler_.TakeEvents());
  }
  EXPECT_TRUE(scheduler_.idle());
}

void Driver::ExpectRight(int64_t request, int32_t choice) {
  const auto& [asked, first_sequence] = asked_.at(request);
  const Expected expected = Expect(asked, choice, first_sequence + choice, options_.output_window);
  EXPECT_EQ(outcome(request, choice).tokens, expected.tokens);
  EXPECT_STREQ(FinishReasonName(outcome(request, choice).finish),
               FinishReasonName(expected.finish));
}

int64_t CountSlices(const StepPlan& plan) {
  int64_t slices = 0;
  for (const RankPlan& rank : plan.ranks) slices += static_cast<int64_t>(rank.slices.size());
  return slices;
}

namespace {

template <typename T>
const T& Find(const StepPlan& plan, std::vector<T> RankPlan::*list, int64_t sequence) {
  for (const RankPlan& rank : plan.ranks) {
    for (const T& entry : rank.*list) {
      if (entry.id == sequence) return entry;
    }
  }
  ADD_FAILURE() << "sequence " << sequence << " is not in the plan";
  static const T kNone;
  return kNone;
}

}  // namespace

const SequenceSlice& SliceOf(const StepPlan& plan, int64_t sequence) {
  return Find(plan, &RankPlan::slices, sequence);
}

const SequenceStart& StartOf(const StepPlan& plan, int64_t sequence) {
  return Find(plan, &RankPlan::starts, sequence);
}

int RankOf(const StepPlan& plan, int64_t sequence) {
  for (size_t r = 0; r < plan.ranks.size(); ++r) {
    for (const SequenceSlice& slice : plan.ranks[r].slices) {
      if (slice.id == sequence) return static_cast<int>(r);
    }
  }
  return -1;
}

}  // namespace folkmoot
