// SPDX-License-Identifier: Apache-2.0
// What the supervisor decides about the engine, life after life: when one works, when it must end,
// when the next may start, when there is no point in another. A life follows another in new
// processes, or, repaired, in those that are left. Pure logic: time is an argument, and processes
// and sockets are the supervisor's.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launch/supervisor/control.h"
#include "launch/supervisor/rank_watch.h"
#include "launch/supervisor/restart_policy.h"

namespace folkmoot {

class EngineLives {
 public:
  using Time = RankWatch::Time;
  using Milliseconds = std::chrono::milliseconds;
  // From the launcher's start to the last rank's hello.
  static constexpr Milliseconds kFirstHello{60'000};
  // From the end of a rank until all work again, beside the time in which a rank loads and gets on.
  static constexpr Milliseconds kRepair{3000};
  // For processes that were killed to end. Longer: they stand in the kernel, for a disk or a
  // driver.
  static constexpr Milliseconds kDying{10'000};
  // Between two ticks; a longer one: the machine was busy or asleep.
  static constexpr Milliseconds kStoodStill{1000};

  EngineLives(int ranks, const WatchLimits& limits) : ranks_(ranks), watch_(limits) {}

  // A life begins. Returns its number: 1, 2 ...
  int64_t Begin(Time now);
  int64_t epoch() const { return epoch_; }
  void OnHello(int rank, Time now) { watch_.OnHello(rank, now); }
  void OnBeat(int rank, const RankBeat& beat, Time now) { watch_.OnBeat(rank, beat, now); }

  // Ranks of the life under way are dead, or must be. True: `spares` other processes suffice to
  // take their places, and the next life has begun, in which the others keep what they have; it is
  // up when all ranks say that they are in it. False: there is no repairing it, so Fail: ranks died
  // before the life was up, or all of them.
  bool Repair(const std::vector<int>& dead, size_t spares, const std::string& reason, Time now);
  // The life under way must end. False: that is known already.
  bool Fail(const std::string& reason);
  const std::string& failure() const { return failure_; }  // empty: it need not end

  // Many times a second, whatever is under way.
  void Tick(Time now);

  struct Finding {
    std::vector<int> fence;  // ranks to be ended first
    std::string failure;     // why the life must end; empty: it need not
    bool came_up = false;    // all ranks have loaded the model, or are repaired
    bool news = false;       // news() differs
  };
  // How the life under way does; not while it is failing. `came`: ranks that have said hello.
  Finding Look(Time now, int came);

  // What the front end has had of the engine since it started: answers to steps, which a life that
  // ended at once did not come to tell, and requests that were found to bring the engine down.
  void OnFrontEnd(int64_t steps, int64_t culprits);
  // Another front end, which counts anew.
  void OnFrontEndStart() { steps_ = culprits_ = 0; }

  // kAbandon: what is left of the life that failed does not end although it was killed; whoever
  // asks must forget it. kPause: nothing is left of the life that failed, and the next starts after
  // pause(). kGiveUp: there will be no other.
  enum class Next : uint8_t { kWait, kAbandon, kPause, kStart, kGiveUp };
  // What is to be done; `gone`: nothing is left of the last life.
  Next Decide(Time now, bool gone);
  Milliseconds pause() const { return pause_; }

  // What the front end is to know.
  const EngineNews& news() const { return news_; }

 private:
  void SetNews(EngineState state, const std::string& reason);

  const int ranks_;
  RankWatch watch_;
  RestartPolicy policy_;
  int64_t epoch_ = 0;
  int64_t starts_ = 0;
  int64_t repairs_ = 0;
  Time started_;
  bool up_ = false;
  std::optional<Time> repair_began_;  // it is not up since
  // Of the processes of the life before it was repaired.
  bool was_up_ = false;
  bool has_computed_ = false;
  std::string failure_;
  std::optional<Time> start_at_, dying_since_;
  int64_t steps_ = 0, culprits_ = 0;  // as the front end counts
  Milliseconds pause_{0};
  std::optional<Time> last_tick_;
  EngineNews news_;
};

}  // namespace folkmoot
