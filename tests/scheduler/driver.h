// SPDX-License-Identifier: Apache-2.0
// A scheduler with fake ranks, step by step, for tests of single rules.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "scheduler/scheduler.h"
#include "tests/scheduler/fake_rank.h"

namespace folkmoot {

// Two ranks with 64 pages of 4 tokens.
SchedulerOptions SmallOptions();
// Prompt tokens first, first + 1, ... modulo the vocabulary.
Request Ask(int64_t length, int64_t max_tokens, int32_t first = 1);

class Driver {
 public:
  struct Outcome {
    std::vector<int32_t> tokens;
    std::vector<RequestEvent> events;  // results are gone
    FinishReason finish = FinishReason::kNone;
    int64_t cached_tokens = 0;
  };

  explicit Driver(const SchedulerOptions& options);

  // Returns the request's id.
  int64_t Add(const Request& request);
  // Plans a step and lets the ranks compute it.
  StepPlan Plan();
  // Tells the scheduler the results of the oldest step.
  void Answer();
  StepPlan Step();
  // The ranks fail; those of `keeping` do not lose their pages.
  void Crash(const std::set<int>& keeping = {}, bool begun = true);
  // Steps until all is done. With plan_ahead two steps are under way.
  void Drain();

  Scheduler& scheduler() { return scheduler_; }
  const Outcome& outcome(int64_t request, int32_t choice = 0) {
    return outcomes_[{request, choice}];
  }
  // Did the choice hear what it hears alone?
  void ExpectRight(int64_t request, int32_t choice = 0);

 private:
  void Hear(const std::vector<RequestEvent>& events);

  SchedulerOptions options_;
  Scheduler scheduler_;
  std::vector<FakeRank> ranks_;
  std::deque<std::vector<StepResult>> under_way_;
  std::map<int64_t, std::pair<Request, int64_t>> asked_;  // and the first sequence's id
  std::map<std::pair<int64_t, int32_t>, Outcome> outcomes_;
  int64_t next_sequence_ = 0;
};

// Slices of a plan over all ranks.
int64_t CountSlices(const StepPlan& plan);
// The slice or start of a sequence; fails the test when there is none.
const SequenceSlice& SliceOf(const StepPlan& plan, int64_t sequence);
const SequenceStart& StartOf(const StepPlan& plan, int64_t sequence);
// The rank that computes a slice of the sequence; -1: none.
int RankOf(const StepPlan& plan, int64_t sequence);

}  // namespace folkmoot
