// SPDX-License-Identifier: Apache-2.0
// One life of an engine on a virtual clock: ranks that load, exchange in lockstep, beat, and break
// in the ways that ranks break. What they compute is a fake rank's business; here is when.
//
// A step is a list of exchanges. A rank computes, enters its next exchange and waits there until
// all have entered it; one that waits longer than the deadline of exchanges gives up and ends.
//
// Repaired, it has a further life: who computes goes on with that until it hears of it, the new
// ranks load, and when all have come they begin as at the start.
#pragma once

#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "launch/supervisor/control.h"

namespace folkmoot {

using SimTime = int64_t;  // milliseconds
constexpr SimTime kNever = std::numeric_limits<SimTime>::max();

enum class SimFault : uint8_t {
  kKill,     // the process ends
  kStop,     // frozen, no beats
  kPause,    // frozen, but not for long: nobody may notice
  kWedge,    // in a step: beats, and nothing else
  kSlow,     // computes for long: nobody may notice
  kEndless,  // computes for ever
  kLost,     // an exchange that all have entered never ends
  kStuck,    // loads for ever, its processor unused and no page read
  kUndying,  // killed, and there for a while
};
constexpr int kSimFaults = 9;
constexpr int kSimBlows = 7;  // those that happen to an engine that runs

struct SimRankTiming {
  SimTime hello_at = 0;     // kNever: does not come at all
  SimTime loaded_at = 0;    // kNever: stuck
  bool loads_idle = false;  // waits for a disk, its processor unused
};

class SimEngine {
 public:
  static constexpr SimTime kBeat = 100;
  static constexpr SimTime kExchangeDeadline = 60'000;
  static constexpr int kStartExchanges = 2;  // before the first step

  SimEngine(std::vector<SimRankTiming> ranks, int exchanges_per_step, int64_t epoch, uint64_t seed);

  // Something a rank tells the supervisor.
  struct Message {
    int rank = 0;
    enum class Kind : uint8_t { kHello, kBeat, kEnd } kind = Kind::kBeat;
    RankBeat beat;
  };
  // Everything that happens until `now`, which never goes back.
  void Advance(SimTime now, std::vector<Message>* told);
  SimTime next_event() const;

  // Takes effect now, or, kWedge, kSlow, kEndless and kLost, as soon as the rank computes in a
  // step.
  void Break(int rank, SimFault fault, SimTime now, SimTime duration);
  // The rank ends in the next step, once it computes.
  void KillInStep(int rank) { ranks_[static_cast<size_t>(rank)].doomed = true; }
  void Kill(int rank) { ranks_[static_cast<size_t>(rank)].alive = false; }
  void KillAll();
  bool gone() const;
  bool has_greeted(int rank) const { return ranks_[static_cast<size_t>(rank)].said_hello; }
  int alive() const;
  // A rank has ended that had not greeted yet.
  bool ended_early() const;

  // Spare processes take the place of these ranks and have loaded at `loaded_at`: life `epoch`.
  void Repair(const std::vector<int>& dead, int64_t epoch, SimTime now, SimTime loaded_at);
  // Since which life each rank has what it has.
  const std::vector<int64_t>& since() const { return since_; }

  // Rank 0 has loaded, met the others and waits for the front end.
  bool wants_welcome() const { return wants_welcome_ && alive_at(0); }
  void Welcome() { welcomed_ = true; }
  int64_t epoch() const { return epoch_; }
  // The front end's line to rank 0 of life `epoch`.
  bool closed(int64_t epoch) const { return !alive_at(0) || ranks_[0].epoch != epoch; }
  // A step for rank 0. One after the other.
  void SendPlan() { plan_waits_ = true; }
  // The step has been computed and answered; once per step.
  bool TakeReply();

  // What must be noticed, and from when on.
  struct Trouble {
    SimFault fault = SimFault::kKill;
    SimTime since = 0;
    int rank = 0;
  };
  const std::vector<Trouble>& troubles() const { return troubles_; }

 private:
  struct Rank {
    SimRankTiming timing;
    bool said_hello = false, alive = true, end_told = false;
    SimTime frozen_until = 0;  // > now: frozen
    RankActivity state = RankActivity::kLoading;
    int64_t exchange = 0;  // the next one that it enters, or is in
    bool waiting = false;
    SimTime since = 0;       // of the wait
    SimTime busy_until = 0;  // computes
    bool wedged = false, doomed = false;
    bool has_pending = false;
    SimFault pending = SimFault::kSlow;
    SimTime pending_duration = 0;
    SimTime next_beat = 0;
    double cpu = 0;
    SimTime cpu_at = 0;
    uint64_t progress = 0;
    int64_t epoch = 0;  // the life that it is in
  };

  bool alive_at(int rank) const { return ranks_[static_cast<size_t>(rank)].alive; }
  bool first_of_step(int64_t exchange) const {
    return exchange >= kStartExchanges && (exchange - kStartExchanges) % per_step_ == 0;
  }
  bool in_step(const Rank& rank) const {
    return rank.exchange >= kStartExchanges && !first_of_step(rank.exchange);
  }
  bool Frozen(const Rank& rank, SimTime now) const { return rank.frozen_until > now; }
  void Live(int r, SimTime now, std::vector<Message>* told);
  void Enter(Rank* rank, SimTime now);
  bool Complete(SimTime now);
  void HearOfRepair(Rank* rank, SimTime now);
  void BeginTogether(SimTime now);
  void Leave(int r, SimTime now);
  void Suffer(int r, SimTime now);
  void Die(int r, SimTime now);
  void UseProcessor(Rank* rank, SimTime now);
  RankBeat BeatOf(int r, SimTime now);

  std::vector<Rank> ranks_;
  int per_step_;
  int64_t epoch_;
  int64_t first_epoch_;
  std::vector<int64_t> since_;
  std::mt19937_64 random_;
  bool lost_next_ = false, lost_ = false;
  bool wants_welcome_ = false, welcomed_ = false;
  bool plan_waits_ = false, reply_ = false;
  int64_t steps_ = 0;
  SimTime now_ = 0;
  std::vector<Trouble> troubles_;
};

}  // namespace folkmoot
