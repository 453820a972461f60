// SPDX-License-Identifier: Apache-2.0
// Random requests against a scheduler with fake ranks. After every step it checks what must always
// hold; the first thing that does not is in complaint().
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "scheduler/scheduler.h"
#include "tests/scheduler/fake_model.h"
#include "tests/scheduler/fake_rank.h"

namespace folkmoot {

// Small and odd sizes, other ones for every seed.
SchedulerOptions RandomOptions(uint64_t seed);

// What has happened, so that a test can see that its workload is not an idle one.
struct WorkloadCounts {
  int64_t steps = 0;
  int64_t requests = 0, refused = 0;
  int64_t stopped = 0, full_length = 0, aborted = 0, failed = 0;  // choices
  int64_t aborted_alone = 0;                                      // choices whose request went on
  int64_t preemptions = 0, hit_tokens = 0;
  int64_t resumed_tokens = 0;  // of hits, those behind snapshots
  int64_t taken_back = 0, ahead = 0;
  int64_t drafted = 0, accepted = 0;  // guesses
  int64_t crashes = 0, given_up = 0;  // of the ranks; choices that ended for it
  int64_t pages_kept = 0;             // over crashes
  int64_t longest_wait = 0;           // steps from Add to the last event of a request

  void operator+=(const WorkloadCounts& other);
};

class Workload {
 public:
  // `crashes`: how often the ranks fail, in percent of steps.
  Workload(const SchedulerOptions& options, uint64_t seed, uint64_t crashes = 0);

  // Lets requests come for so many steps and then all of them end. False: see complaint().
  bool Run(int64_t steps);

  const std::string& complaint() const { return complaint_; }
  const WorkloadCounts& counts() const { return counts_; }
  uint64_t fingerprint() const { return fingerprint_; }  // of all plans and events

 private:
  struct Choice {
    Expected expected;
    std::vector<int32_t> tokens;
    std::vector<float> targets;
    std::vector<int32_t> traced;  // positions
    uint64_t digest = 0;
    bool first = false;
    bool aborted = false;
    bool ended = false;
  };
  struct Open {
    Request request;
    int64_t first_sequence = 0;
    int64_t arrived = 0;  // step
    std::vector<Choice> choices;
    int64_t left = 0;
  };

  uint64_t Draw(uint64_t below) { return random_() % below; }
  bool Chance(uint64_t percent) { return Draw(100) < percent; }
  void Demand(bool condition, const std::string& what);
  Request RandomRequest();
  void Arrive();
  void AbortOne();
  void PlanOne();
  void AnswerOne();
  void Crash();
  void CheckPlan(const StepPlan& plan);
  void CheckPools();
  void Hear(const RequestEvent& event);
  void CheckLast(const Open& open, const Choice& choice, FinishReason finish);
  void CheckScores(const Open& open, const Choice& choice);

  SchedulerOptions options_;
  std::mt19937_64 random_;
  Scheduler scheduler_;
  std::vector<FakeRank> ranks_;
  std::map<int64_t, Open> open_;
  std::deque<std::vector<StepResult>> under_way_;
  int64_t next_sequence_ = 0;
  int64_t step_ = 0;                     // planned so far
  uint64_t arrivals_ = 20, aborts_ = 2;  // percent per step
  uint64_t crashes_;
  uint64_t fingerprint_ = 0;
  int64_t drafted_ = 0, accepted_ = 0;  // of events
  WorkloadCounts counts_;
  std::string complaint_;
};

}  // namespace folkmoot
