// SPDX-License-Identifier: Apache-2.0
// The front end of a supervised server on a virtual clock: the real scheduler, and around it what
// launch/engine_service.cc, launch/engine.cc and launch/supervisor/remote_executor.cc do. Every
// event is compared with what the request must hear.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "scheduler/scheduler.h"
#include "tests/scheduler/fake_model.h"
#include "tests/scheduler/fake_rank.h"
#include "tests/simulation/sim_engine.h"

namespace folkmoot {

class SimFrontEnd {
 public:
  static constexpr SimTime kLook = 50;           // between looks at a lost engine
  static constexpr SimTime kHeartbeat = 15'000;  // of an idle engine
  static constexpr int64_t kHarmless = -1;

  explicit SimFrontEnd(const SchedulerOptions& options);

  // A client's. `poison`: a rank dies that computes a row from this position on.
  void Submit(const Request& request, int64_t poison = kHarmless);
  void Cancel(int64_t nth);  // of the requests, if it is there
  void Drain() { draining_ = true; }

  // Another engine, or the same one repaired, which will come.
  void Meet(std::shared_ptr<SimEngine> engine) { arriving_ = std::move(engine); }
  // The engine does not come back.
  void GiveUp();
  // Does what there is to do. `now` never goes back.
  void Turn(SimTime now);
  SimTime next_event() const;

  bool quiet() const {
    return open_.empty() && inbox_.empty() && cancels_.empty() && (dead_ || scheduler_.idle());
  }
  // After the last turn of a history: is everything in balance?
  void CheckEnd();
  const std::string& complaint() const { return complaint_; }

  struct Counts {
    int64_t accepted = 0, ended = 0, refused = 0, cancelled = 0, given_up = 0, dead = 0;
    int64_t steps = 0, answers = 0, restarts = 0, tokens = 0, pages_kept = 0;
  };
  const Counts& counts() const { return counts_; }
  int64_t culprits() const { return scheduler_.culprits(); }

 private:
  struct Choice {
    Expected expected;
    std::vector<int32_t> tokens;
    bool cancelled = false, ended = false;
  };
  struct Open {
    int64_t poison = kHarmless;
    int64_t failures = 0;  // while it was under way, since its last token
    std::vector<Choice> choices;
    int64_t left = 0;
  };
  struct Planned {
    StepPlan plan;
    int64_t answered = 0;
  };

  void Demand(bool condition, const std::string& what);
  void TakeInbox();
  void Add(const Request& request, int64_t poison);
  Planned Plan();
  std::set<int64_t> RequestsIn(const StepPlan& plan) const;
  void Step(SimTime now);
  void Compute(const Planned& planned);
  void Answer();
  void Lose();
  void Welcome();
  void Hear(const RequestEvent& event);
  void CheckLast(const Open& open, const Choice& choice, const RequestEvent& event);
  void CheckPools();

  SchedulerOptions options_;
  Scheduler scheduler_;
  std::vector<FakeRank> ranks_;
  std::shared_ptr<SimEngine> arriving_, engine_;
  bool met_ = false;       // the engine has been welcomed
  int64_t met_epoch_ = 0;  // the life that was welcomed last
  bool draining_ = false, dead_ = false;
  bool under_way_ = false;
  std::optional<Planned> next_;
  StepPlan plan_;                    // of the step under way
  std::vector<StepResult> results_;  // of it
  SimTime last_step_ = 0, now_ = 0;

  std::vector<std::pair<Request, int64_t>> inbox_;
  std::vector<int64_t> cancels_;
  std::map<int64_t, Open> open_;           // by the scheduler's id
  std::map<int64_t, int64_t> request_of_;  // by sequence
  int64_t next_sequence_ = 0;
  Counts counts_;
  std::string complaint_;
};

}  // namespace folkmoot
