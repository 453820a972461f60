// SPDX-License-Identifier: Apache-2.0
// One history of a supervised server: clients, engines that break, the decisions of the supervisor
// (EngineLives: RankWatch and RestartPolicy), the scheduler, all on one virtual clock. A seed is a
// history. What must hold whatever happens is checked while it runs; the first thing that does not
// is in complaint().
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "launch/supervisor/engine_lives.h"
#include "tests/simulation/sim_engine.h"
#include "tests/simulation/sim_front_end.h"

namespace folkmoot {

struct SimCounts {
  SimFrontEnd::Counts requests;
  int64_t lives = 0, given_up = 0, poisons = 0, pauses = 0, failed_starts = 0;
  int64_t repairs = 0, failed_repairs = 0;   // begun; ended by another engine
  std::array<int64_t, kSimFaults> faults{};  // that took effect, by SimFault
  int64_t launchers_killed = 0, stood_still = 0;
  SimTime longest = 0;                               // of a history
  std::array<SimTime, kSimFaults> slowest_notice{};  // by SimFault

  void operator+=(const SimCounts& other);
};

class SimHistory {
 public:
  // `limits`: of the watch; a test may give worse ones and see that the simulation complains.
  explicit SimHistory(uint64_t seed, const WatchLimits& limits = {});

  // False: see complaint().
  bool Run();
  const std::string& complaint() const { return complaint_; }
  const SimCounts& counts() const { return counts_; }

 private:
  // Something that happens so long after a life has begun.
  struct Blow {
    int64_t life = 1;
    SimTime after = 0;
    int rank = 0;
    SimFault fault = SimFault::kKill;
    SimTime duration = 0;
    bool launcher = false;    // it is killed
    bool supervisor = false;  // it stands still for `duration`
  };
  struct Arrival {
    SimTime at = 0;
    Request request;
    int64_t poison = SimFrontEnd::kHarmless;
  };

  uint64_t Draw(uint64_t below) { return random_() % below; }
  bool Chance(uint64_t percent) { return Draw(100) < percent; }
  SimTime Between(SimTime low, SimTime high);
  void Demand(bool condition, const std::string& what);
  void DrawClients();
  void DrawBlows();
  Request DrawRequest();
  std::vector<SimRankTiming> DrawTimings();

  void Strike();
  void Clients();
  void Supervise();
  void Hear(const SimEngine::Message& message);
  void BeginLife();
  void LoseRanks(const std::vector<int>& dead, const std::string& reason, bool fenced);
  void FailEngine(const std::string& reason, const std::vector<int>& fence);
  void CheckFenced(const std::vector<int>& fence, const std::string& reason);
  void CountTroubles();
  void CountCulprits();
  void CheckNoticed();
  SimTime NoticeBound(SimFault fault) const;
  SimTime NextEvent() const;
  bool Finished() const;
  bool ready() const { return static_cast<int>(loaded_.size()) == options_.ranks; }
  EngineLives::Time Clock() const;

  std::mt19937_64 random_;
  SchedulerOptions options_;
  EngineLives lives_;
  SimFrontEnd front_end_;
  std::shared_ptr<SimEngine> engine_;
  std::vector<SimEngine::Message> told_;
  std::vector<Arrival> arrivals_;  // soonest first
  std::vector<std::pair<SimTime, int64_t>> cancels_;
  std::vector<Blow> blows_;
  std::optional<SimTime> drain_at_;
  size_t next_arrival_ = 0;
  int failing_starts_ = 0;
  int spares_per_job_ = 0;
  int spares_ = 0;  // that are left

  SimTime now_ = 0;
  SimTime life_began_ = 0, next_tick_ = 0, sleeps_until_ = 0;
  SimTime launcher_ends_ = kNever;  // of the life under way
  bool launcher_runs_ = false;
  bool start_fails_ = false;  // a rank of this life does not come, or ends while it loads
  bool given_up_ = false;
  int came_ = 0;
  SimTime undying_until_ = 0;  // something of the last life is still there
  int useless_ = 0;            // lives in a row
  int64_t answers_ = 0, culprits_ = 0, culprits_in_a_row_ = 0;
  bool ever_ready_ = false;
  std::set<int> loaded_;  // ranks of the life under way that say that they have loaded
  int64_t life_steps_ = 0;
  SimCounts counts_;
  std::string complaint_;
};

}  // namespace folkmoot
