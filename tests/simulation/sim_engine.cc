// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/sim_engine.h"

#include <algorithm>
#include <utility>

namespace folkmoot {

SimEngine::SimEngine(std::vector<SimRankTiming> ranks, int exchanges_per_step, int64_t epoch,
                     uint64_t seed)
    : per_step_(exchanges_per_step),
      epoch_(epoch),
      first_epoch_(epoch),
      since_(ranks.size(), epoch),
      random_(seed) {
  for (const SimRankTiming& timing : ranks) {
    Rank& rank = ranks_.emplace_back();
    rank.timing = timing;
    rank.epoch = epoch;
    rank.next_beat = timing.hello_at;
    rank.cpu_at = timing.hello_at;
  }
}

bool SimEngine::gone() const { return alive() == 0; }

int SimEngine::alive() const {
  return static_cast<int>(
      std::count_if(ranks_.begin(), ranks_.end(), [](const Rank& rank) { return rank.alive; }));
}

bool SimEngine::ended_early() const {
  return std::any_of(ranks_.begin(), ranks_.end(),
                     [](const Rank& rank) { return !rank.alive && !rank.said_hello; });
}

void SimEngine::KillAll() {
  for (Rank& rank : ranks_) rank.alive = false;
}

bool SimEngine::TakeReply() { return std::exchange(reply_, false) && alive_at(0); }

void SimEngine::Break(int r, SimFault fault, SimTime now, SimTime duration) {
  Rank& rank = ranks_[static_cast<size_t>(r)];
  if (!rank.alive || Frozen(rank, now)) return;
  switch (fault) {
    case SimFault::kKill:
      Die(r, now);
      break;
    case SimFault::kStop:
      rank.frozen_until = kNever;
      if (rank.said_hello) troubles_.push_back({fault, now, r});
      break;
    case SimFault::kPause:
      UseProcessor(&rank, now);
      rank.frozen_until = now + duration;
      break;
    default:
      if (rank.has_pending || rank.busy_until == kNever) return;
      rank.has_pending = true;
      rank.pending = fault;
      rank.pending_duration = duration;
  }
}

void SimEngine::Die(int r, SimTime now) {
  Rank& rank = ranks_[static_cast<size_t>(r)];
  rank.alive = false;
  if (rank.said_hello) troubles_.push_back({SimFault::kKill, now, r});
}

void SimEngine::UseProcessor(Rank* rank, SimTime now) {
  const bool stuck = rank->timing.loaded_at == kNever;
  const bool loads = rank->state == RankActivity::kLoading && !rank->timing.loads_idle && !stuck;
  // Waiting ranks poll now and then; computing ones use all of it.
  double share = loads ? 1.0 : 0.02;
  if (rank->state == RankActivity::kStep && !rank->waiting) share = rank->wedged ? 0.0 : 0.9;
  const SimTime from = std::max(rank->cpu_at, rank->frozen_until);
  rank->cpu += share * static_cast<double>(std::max<SimTime>(0, now - from)) / 1000.0;
  rank->cpu_at = now;
}

RankBeat SimEngine::BeatOf(int r, SimTime now) {
  Rank& rank = ranks_[static_cast<size_t>(r)];
  UseProcessor(&rank, now);
  static constexpr const char* kPhases[] = {"dispatch", "combine"};
  const int64_t step = (rank.exchange - kStartExchanges) / per_step_;
  const int64_t place = (rank.exchange - kStartExchanges) % per_step_;
  return {.progress = rank.progress,
          .waiting = rank.waiting,
          .phase = rank.exchange < kStartExchanges ? "start-up" : kPhases[place % 2],
          .layer = static_cast<int>(place / 2),
          .step = step,
          .state = rank.state,
          .cpu_seconds = rank.cpu,
          .steps = r == 0 ? steps_ : 0,
          .epoch = rank.epoch};
}

void SimEngine::Repair(const std::vector<int>& dead, int64_t epoch, SimTime now,
                       SimTime loaded_at) {
  epoch_ = epoch;
  steps_ = 0;
  for (const int r : dead) {
    Rank& rank = ranks_[static_cast<size_t>(r)];
    rank = Rank();
    rank.timing = {.hello_at = now, .loaded_at = loaded_at};
    rank.said_hello = true;  // as a spare process
    rank.next_beat = rank.cpu_at = rank.since = now;
    rank.epoch = epoch;
    since_[static_cast<size_t>(r)] = epoch;
  }
  // What was lost on the way, and who is gone, is no trouble any more.
  std::erase_if(troubles_, [&](const Trouble& trouble) {
    return trouble.fault == SimFault::kLost ||
           std::find(dead.begin(), dead.end(), trouble.rank) != dead.end();
  });
  lost_ = lost_next_ = wants_welcome_ = welcomed_ = plan_waits_ = reply_ = false;
}

// It gives up its step, and waits for the others.
void SimEngine::HearOfRepair(Rank* rank, SimTime now) {
  UseProcessor(rank, now);
  rank->epoch = epoch_;
  rank->state = RankActivity::kLoading;
  rank->waiting = true;
  rank->since = now;
  rank->doomed = false;
  rank->timing.loaded_at = now;
}

// All have come to the repaired life, and those that are new have loaded.
void SimEngine::BeginTogether(SimTime now) {
  for (const Rank& rank : ranks_) {
    const bool here = rank.alive && rank.epoch == epoch_ && !Frozen(rank, now) &&
                      rank.state == RankActivity::kLoading && now >= rank.timing.loaded_at;
    if (!here) return;
  }
  for (size_t r = 0; r < ranks_.size(); ++r) {
    Rank& rank = ranks_[r];
    UseProcessor(&rank, now);
    rank.waiting = false;
    rank.exchange = 0;
    rank.busy_until = now;
    rank.state = r == 0 ? RankActivity::kIdle : RankActivity::kStep;
    ++rank.progress;
  }
}

// The rank computes before its next exchange.
void SimEngine::Leave(int r, SimTime now) {
  Rank& rank = ranks_[static_cast<size_t>(r)];
  rank.waiting = false;
  ++rank.progress;
  ++rank.exchange;
  if (first_of_step(rank.exchange)) {
    if (r == 0 && rank.exchange > kStartExchanges) {
      reply_ = true;
      ++steps_;
    }
    // Workers go to the next step's first exchange and wait there; rank 0 waits for a plan.
    if (r == 0) rank.state = RankActivity::kIdle;
    rank.busy_until = now;
    return;
  }
  rank.busy_until = now + 1 + static_cast<SimTime>(random_() % 4);
  if (in_step(rank)) Suffer(r, now);
}

// What was to happen to the rank once it computes.
void SimEngine::Suffer(int r, SimTime now) {
  Rank& rank = ranks_[static_cast<size_t>(r)];
  if (rank.doomed) return Die(r, now);
  if (!rank.has_pending || (rank.pending == SimFault::kLost && ranks_.size() == 1)) return;
  rank.has_pending = false;
  if (rank.pending == SimFault::kSlow) {
    rank.busy_until = now + rank.pending_duration;
  } else if (rank.pending == SimFault::kLost) {
    lost_next_ = true;
  } else {
    rank.busy_until = kNever;
    rank.wedged = rank.pending == SimFault::kWedge;
    troubles_.push_back({rank.pending, now, r});
  }
}

void SimEngine::Enter(Rank* rank, SimTime now) {
  rank->waiting = true;
  rank->since = now;
  ++rank->progress;
}

void SimEngine::Live(int r, SimTime now, std::vector<Message>* told) {
  Rank& rank = ranks_[static_cast<size_t>(r)];
  if (!rank.alive) {
    if (rank.said_hello && !rank.end_told) {
      told->push_back({.rank = r, .kind = Message::Kind::kEnd, .beat = {}});
    }
    rank.end_told = true;
    return;
  }
  if (now < rank.timing.hello_at || Frozen(rank, now)) return;
  if (!rank.said_hello) {
    rank.said_hello = true;
    rank.next_beat = now;
    told->push_back({.rank = r, .kind = Message::Kind::kHello, .beat = {}});
    if (rank.timing.loaded_at == kNever) troubles_.push_back({SimFault::kStuck, now, r});
  }
  if (rank.epoch < epoch_ && now >= rank.busy_until) HearOfRepair(&rank, now);
  const bool repaired = epoch_ > first_epoch_;
  if (repaired && rank.state == RankActivity::kLoading && now >= rank.timing.loaded_at) {
    rank.waiting = true;  // for all others
  }
  if (!repaired && rank.state == RankActivity::kLoading && now >= rank.timing.loaded_at) {
    UseProcessor(&rank, now);
    rank.state = r == 0 ? RankActivity::kIdle : RankActivity::kStep;
    told->push_back({.rank = r, .kind = Message::Kind::kBeat, .beat = BeatOf(r, now)});
  }
  if (now >= rank.next_beat) {
    told->push_back({.rank = r, .kind = Message::Kind::kBeat, .beat = BeatOf(r, now)});
    rank.next_beat = now + kBeat;
  }
  if (rank.epoch < epoch_) return;
  if (rank.state == RankActivity::kLoading || rank.waiting || now < rank.busy_until) {
    if (rank.waiting && now - rank.since >= kExchangeDeadline) rank.alive = false;  // gives up
    return;
  }
  UseProcessor(&rank, now);
  if (r == 0 && rank.exchange == 1 && !welcomed_) {
    wants_welcome_ = true;  // rank 0 meets the front end between the two exchanges of the start
    return;
  }
  if (r == 0 && first_of_step(rank.exchange)) {
    if (!plan_waits_) return;
    plan_waits_ = false;
    rank.state = RankActivity::kStep;
  }
  Enter(&rank, now);
}

// All have entered the exchange of the hindmost? Then they leave it.
bool SimEngine::Complete(SimTime now) {
  const int64_t exchange = ranks_[0].exchange;
  SimTime last = 0;
  for (const Rank& rank : ranks_) {
    if (!rank.alive || !rank.waiting || rank.exchange != exchange || Frozen(rank, now))
      return false;
    last = std::max(last, rank.since);
  }
  if (lost_next_) {
    lost_next_ = false;
    lost_ = true;
    troubles_.push_back({SimFault::kLost, last, -1});
  }
  if (lost_) return false;
  for (int r = 0; r < static_cast<int>(ranks_.size()); ++r) {
    Rank& rank = ranks_[static_cast<size_t>(r)];
    UseProcessor(&rank, now);
    Leave(r, now);
  }
  return true;
}

void SimEngine::Advance(SimTime now, std::vector<Message>* told) {
  now_ = now;
  if (epoch_ > first_epoch_) BeginTogether(now);
  do {
    for (int r = 0; r < static_cast<int>(ranks_.size()); ++r) Live(r, now, told);
  } while (Complete(now));
}

SimTime SimEngine::next_event() const {
  SimTime next = kNever;
  for (const Rank& rank : ranks_) {
    if (!rank.alive) {
      if (!rank.end_told) next = now_;
      continue;
    }
    if (rank.frozen_until == kNever) continue;
    SimTime own = rank.said_hello ? rank.next_beat : rank.timing.hello_at;
    if (rank.state == RankActivity::kLoading) own = std::min(own, rank.timing.loaded_at);
    if (rank.waiting) own = std::min(own, rank.since + kExchangeDeadline);
    if (!rank.waiting && rank.busy_until > now_) own = std::min(own, rank.busy_until);
    next = std::min(next, std::max(own, rank.frozen_until));
  }
  return next;
}

}  // namespace folkmoot
