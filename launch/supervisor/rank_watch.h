// SPDX-License-Identifier: Apache-2.0
// Are the ranks getting on? Judges the beats that they send to the supervisor. Pure logic: time is
// an argument.
//
// A rank that is silent is stopped or lost. One that beats, does not wait for a peer, and neither
// gets on nor uses its processor is wedged; a long product of matrices uses the processor, so that
// a long prefill is no wedge. While it loads the model, every page that it reads is progress. When
// all of them wait for each other, nobody will ever get on.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launch/supervisor/control.h"

namespace folkmoot {

struct WatchLimits {
  using Milliseconds = std::chrono::milliseconds;
  Milliseconds silence{2000};      // without a beat
  Milliseconds idle_cpu{2000};     // in a step, without progress, its processor unused
  Milliseconds busy_cpu{120'000};  // the same, but the processor is used
  Milliseconds deadlock{4000};     // all ranks wait
  // While the model is loaded, without progress: the processor unused and no page read, or used.
  Milliseconds idle_load{30'000};
  Milliseconds busy_load{600'000};
  Milliseconds report{1000};  // from here on a stall is told
};

class RankWatch {
 public:
  using Time = std::chrono::steady_clock::time_point;

  explicit RankWatch(const WatchLimits& limits) : limits_(limits) {}

  // A new life of the engine begins; nobody is known.
  void Reset(int ranks, int64_t epoch);
  // A life begins with the same ranks, some of them other processes. Beats of the life before are
  // signs of life and nothing else.
  void Continue(int64_t epoch, Time now);
  void OnHello(int rank, Time now);
  void OnBeat(int rank, const RankBeat& beat, Time now);
  // The supervisor itself stood still: no silence counts against anybody.
  void Forgive(Time now);

  struct Verdict {
    std::vector<int> fence;  // ranks that must be ended; empty: none
    std::string reason;      // why
    std::string stall;       // who waits for whom, when that is longer than `report`; empty: nobody
  };
  Verdict Check(Time now) const;

  // All ranks have loaded the model.
  bool up() const;
  // When a rank that loads last got on or used its processor; nullopt: none, or not all have come.
  std::optional<Time> loading() const;
  // Steps that rank 0 has answered.
  int64_t steps() const;

 private:
  struct Rank {
    bool known = false;
    RankBeat beat;
    Time heard;      // the last beat
    Time got_on;     // when progress was last seen to grow
    Time cpu_since;  // when the processor was last seen in use
    double cpu = 0;  // seconds, then
  };
  Verdict Silent(Time now) const;
  Verdict StuckLoading(Time now) const;
  Verdict Wedged(Time now) const;
  Verdict Deadlocked(Time now) const;
  std::string Stall(const std::vector<int>& missing, Time now) const;

  WatchLimits limits_;
  int64_t epoch_ = 0;
  std::vector<Rank> ranks_;
};

}  // namespace folkmoot
