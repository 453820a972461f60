// SPDX-License-Identifier: Apache-2.0
// The loop of a history, and the supervisor in it, which does with simulated processes what
// launch/supervisor/supervisor.cc does with real ones.
#include "tests/simulation/sim_history.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace folkmoot {
namespace {

constexpr SimTime kTick = 50;
constexpr SimTime kLongest = 30 * 60'000;  // of a history: everything has ended by then
constexpr SimTime kSlack = 2 * (kTick + SimEngine::kBeat);
constexpr SimTime kLongestPause = 1500;

}  // namespace

void SimCounts::operator+=(const SimCounts& other) {
  requests.accepted += other.requests.accepted;
  requests.ended += other.requests.ended;
  requests.refused += other.requests.refused;
  requests.cancelled += other.requests.cancelled;
  requests.given_up += other.requests.given_up;
  requests.dead += other.requests.dead;
  requests.steps += other.requests.steps;
  requests.restarts += other.requests.restarts;
  requests.tokens += other.requests.tokens;
  requests.pages_kept += other.requests.pages_kept;
  repairs += other.repairs;
  failed_repairs += other.failed_repairs;
  lives += other.lives;
  given_up += other.given_up;
  poisons += other.poisons;
  failed_starts += other.failed_starts;
  launchers_killed += other.launchers_killed;
  stood_still += other.stood_still;
  longest = std::max(longest, other.longest);
  for (size_t i = 0; i < faults.size(); ++i) {
    faults[i] += other.faults[i];
    slowest_notice[i] = std::max(slowest_notice[i], other.slowest_notice[i]);
  }
}

EngineLives::Time SimHistory::Clock() const {
  return EngineLives::Time(std::chrono::hours(1)) + std::chrono::milliseconds(now_);
}

void SimHistory::Demand(bool condition, const std::string& what) {
  if (!condition && complaint_.empty()) {
    complaint_ = fmt::format("{} ms, life {}: {}", now_, lives_.epoch(), what);
  }
}

void SimHistory::BeginLife() {
  lives_.Begin(Clock());
  ++counts_.lives;
  life_began_ = now_;
  came_ = 0;
  launcher_runs_ = true;
  launcher_ends_ = kNever;
  told_.clear();
  spares_ = spares_per_job_;
  engine_ = std::make_shared<SimEngine>(DrawTimings(), 2 + 2 * static_cast<int>(Draw(3)),
                                        lives_.epoch(), random_());
  front_end_.Meet(engine_);
}

void SimHistory::CheckFenced(const std::vector<int>& fence, const std::string& reason) {
  const auto& troubles = engine_->troubles();
  for (const int rank : fence) {
    Demand(std::any_of(troubles.begin(), troubles.end(),
                       [&](const auto& t) { return t.rank == rank || t.rank < 0; }),
           fmt::format("rank {} was fenced, and has no fault: {}", rank, reason));
  }
}

// They are noticed.
void SimHistory::CountTroubles() {
  for (const SimEngine::Trouble& trouble : engine_->troubles()) {
    SimTime& slowest = counts_.slowest_notice[static_cast<size_t>(trouble.fault)];
    const SimTime awake = std::max(trouble.since, sleeps_until_);
    slowest = std::max(slowest, now_ - awake);
    ++counts_.faults[static_cast<size_t>(trouble.fault)];
  }
}

void SimHistory::LoseRanks(const std::vector<int>& dead, const std::string& reason, bool fenced) {
  const bool repaired = lives_.Repair(dead, static_cast<size_t>(spares_), reason, Clock());
  if (!repaired) return FailEngine(reason, fenced ? dead : std::vector<int>());
  if (fenced) CheckFenced(dead, reason);
  CountTroubles();
  ++counts_.repairs;
  spares_ -= static_cast<int>(dead.size());
  life_began_ = now_;
  engine_->Repair(dead, lives_.epoch(), now_,
                  now_ + (Chance(90) ? Between(10, 900) : Between(900, 20'000)));
  front_end_.Meet(engine_);
}

// What the supervisor kills is gone at once; the launcher takes a moment.
void SimHistory::FailEngine(const std::string& reason, const std::vector<int>& fence) {
  const bool repairing = lives_.news().state == EngineState::kRepairing;
  if (!lives_.Fail(reason)) return;
  counts_.failed_repairs += repairing ? 1 : 0;
  Demand(!engine_->troubles().empty() || start_fails_ || launcher_ends_ <= now_ || repairing,
         "an engine without a fault was ended: " + reason);
  CheckFenced(fence, reason);
  CountTroubles();
  engine_->KillAll();
  if (launcher_ends_ == kNever) launcher_ends_ = now_ + Between(0, 60);
  if (!Chance(5)) return;
  // One of them stands in the kernel.
  ++counts_.faults[static_cast<size_t>(SimFault::kUndying)];
  undying_until_ = now_ + Between(500, 60'000);
}

void SimHistory::Hear(const SimEngine::Message& message) {
  switch (message.kind) {
    case SimEngine::Message::Kind::kHello:
      ++came_;
      return lives_.OnHello(message.rank, Clock());
    case SimEngine::Message::Kind::kBeat:
      life_steps_ = std::max(life_steps_, message.beat.steps);
      if (message.beat.state != RankActivity::kLoading) loaded_.insert(message.rank);
      return lives_.OnBeat(message.rank, message.beat, Clock());
    case SimEngine::Message::Kind::kEnd:
      LoseRanks({message.rank}, fmt::format("rank {} is gone", message.rank), /*fenced=*/false);
  }
}

// What the front end has had of the engine. Requests that bring it down do not count against it, up
// to a number.
void SimHistory::CountCulprits() {
  const int64_t culprits = front_end_.culprits();
  const int64_t answers = front_end_.counts().answers;
  if (answers > answers_) {
    useless_ = 0;
    culprits_in_a_row_ = 0;
  }
  answers_ = answers;
  lives_.OnFrontEnd(answers, culprits);
  for (; culprits_ < culprits; ++culprits_) {
    if (++culprits_in_a_row_ <= RestartPolicy::kMostCulprits) useless_ = 0;
  }
}

// One turn of the supervisor's loop.
void SimHistory::Supervise() {
  next_tick_ = now_ + kTick;
  for (const SimEngine::Message& message : std::exchange(told_, {})) Hear(message);
  if (launcher_runs_ && launcher_ends_ <= now_) {
    launcher_runs_ = false;
    FailEngine("the launcher ended", {});
    engine_->KillAll();
  }
  // A launcher that leaves the others alone does not tell, but the rank had called.
  if (launcher_runs_ && spares_per_job_ > 0 && engine_->ended_early()) {
    start_fails_ = true;
    FailEngine("a rank ended early", {});
  }
  lives_.Tick(Clock());
  if (launcher_runs_ && lives_.failure().empty()) {
    const EngineLives::Finding finding = lives_.Look(Clock(), came_);
    if (!finding.fence.empty()) {
      LoseRanks(finding.fence, finding.failure, /*fenced=*/true);
    } else if (!finding.failure.empty()) {
      FailEngine(finding.failure, {});
    }
  }
  CountCulprits();
  const bool gone = !launcher_runs_ && engine_->gone() && undying_until_ <= now_;
  switch (lives_.Decide(Clock(), gone)) {
    case EngineLives::Next::kWait:
      break;
    case EngineLives::Next::kAbandon:
      Demand(undying_until_ > now_, "processes that end are not waited for");
      undying_until_ = 0;
      launcher_runs_ = false;
      break;
    case EngineLives::Next::kStart:
      BeginLife();
      break;
    case EngineLives::Next::kPause:
    case EngineLives::Next::kGiveUp:
      if (life_steps_ > 0) culprits_in_a_row_ = 0;
      useless_ = life_steps_ > 0 ? 0 : useless_ + 1;
      ever_ready_ = ever_ready_ || ready();
      given_up_ = lives_.news().state == EngineState::kFailed;
      Demand(given_up_ == (!ever_ready_ || useless_ >= RestartPolicy::kMostFailures),
             "the engine is given up too early, or too late");
      life_steps_ = 0;
      loaded_.clear();
      if (given_up_) front_end_.GiveUp();
  }
}

// What docs/reliability.md says. A repair that something prevents ends first.
SimTime SimHistory::NoticeBound(SimFault fault) const {
  const SimTime repair = spares_per_job_ > 0 ? EngineLives::kRepair.count() + kSlack : 0;
  switch (fault) {
    case SimFault::kKill:
      return kSlack;
    case SimFault::kStop:
      return 2000 + kSlack + repair;
    case SimFault::kStuck:
      return 30'000 + kSlack;
    case SimFault::kWedge:
      return 2000 + kSlack + kLongestPause + repair;
    case SimFault::kLost:
      return 4000 + kSlack + kLongestPause;
    default:  // mostly the others give up waiting before
      return 120'000 + kSlack + kLongestPause + repair;
  }
}

void SimHistory::CheckNoticed() {
  if (!lives_.failure().empty()) return;
  for (const SimEngine::Trouble& trouble : engine_->troubles()) {
    const SimTime since = std::max(trouble.since, sleeps_until_);
    Demand(now_ - since <= NoticeBound(trouble.fault),
           fmt::format("fault {} of rank {} at {} ms is not noticed",
                       static_cast<int>(trouble.fault), trouble.rank, trouble.since));
  }
}

void SimHistory::Strike() {
  for (size_t i = 0; i < blows_.size();) {
    const Blow blow = blows_[i];
    const bool now = blow.life == lives_.epoch() && life_began_ + blow.after <= now_;
    if (!now && blow.life >= lives_.epoch()) {
      ++i;
      continue;
    }
    blows_.erase(blows_.begin() + static_cast<std::ptrdiff_t>(i));
    if (!now || !lives_.failure().empty()) continue;
    if (blow.supervisor) {
      ++counts_.stood_still;
      sleeps_until_ = now_ + blow.duration;
    } else if (blow.launcher) {
      ++counts_.launchers_killed;
      launcher_ends_ = now_;
    } else {
      if (blow.fault == SimFault::kStop && !engine_->has_greeted(blow.rank)) start_fails_ = true;
      engine_->Break(blow.rank, blow.fault, now_, blow.duration);
      if (blow.fault == SimFault::kPause || blow.fault == SimFault::kSlow) {
        ++counts_.faults[static_cast<size_t>(blow.fault)];
      }
    }
  }
  // The launcher sees the end of a rank that the supervisor does not know yet, and ends all.
  if (launcher_ends_ == kNever && spares_per_job_ == 0 && engine_->alive() < options_.ranks) {
    start_fails_ = true;
    launcher_ends_ = now_ + Between(20, 1100);
  }
}

void SimHistory::Clients() {
  for (; next_arrival_ < arrivals_.size() && arrivals_[next_arrival_].at <= now_; ++next_arrival_) {
    front_end_.Submit(arrivals_[next_arrival_].request, arrivals_[next_arrival_].poison);
  }
  for (auto& [at, request] : cancels_) {
    if (at > now_) continue;
    front_end_.Cancel(request);
    at = kNever;
  }
  if (drain_at_ && *drain_at_ <= now_) {
    front_end_.Drain();
    drain_at_.reset();
  }
}

SimTime SimHistory::NextEvent() const {
  SimTime next = std::min(engine_->next_event(), front_end_.next_event());
  next = std::min(next, std::max(next_tick_, sleeps_until_));
  if (next_arrival_ < arrivals_.size()) next = std::min(next, arrivals_[next_arrival_].at);
  for (const auto& [at, request] : cancels_) next = std::min(next, at);
  if (drain_at_) next = std::min(next, *drain_at_);
  for (const Blow& blow : blows_) {
    if (blow.life == lives_.epoch()) next = std::min(next, life_began_ + blow.after);
  }
  return std::max(next, now_ + 1);
}

bool SimHistory::Finished() const {
  const bool served = next_arrival_ == arrivals_.size() && front_end_.quiet() && !drain_at_;
  // Blows that are left hit an idle engine, until it lives well or is given up.
  const bool struck = std::none_of(blows_.begin(), blows_.end(),
                                   [&](const Blow& blow) { return blow.life == lives_.epoch(); });
  const bool well = lives_.failure().empty() && lives_.news().state == EngineState::kUp &&
                    engine_->troubles().empty() && launcher_ends_ == kNever;
  return served && (given_up_ || (struck && well));
}

bool SimHistory::Run() {
  DrawClients();
  DrawBlows();
  const bool only_poison = blows_.empty() && failing_starts_ == 0;
  if (Chance(50)) spares_per_job_ = static_cast<int>(1 + Draw(3));
  BeginLife();
  while (complaint_.empty() && !Finished()) {
    Strike();
    engine_->Advance(now_, &told_);
    Clients();
    front_end_.Turn(now_);
    engine_->Advance(now_, &told_);
    if (now_ >= sleeps_until_ && (!told_.empty() || now_ >= next_tick_)) Supervise();
    if (now_ >= sleeps_until_) CheckNoticed();
    Demand(front_end_.complaint().empty(), front_end_.complaint());
    Demand(now_ < kLongest, "it does not end");
    now_ = NextEvent();
  }
  if (complaint_.empty()) {
    front_end_.CheckEnd();
    // However many requests bring the engine down, each is found out.
    Demand(!only_poison || !given_up_, "the engine was given up for what requests did");
    Demand(front_end_.complaint().empty(), front_end_.complaint());
  }
  counts_.requests = front_end_.counts();
  counts_.given_up = given_up_ ? 1 : 0;
  counts_.longest = now_;
  return complaint_.empty();
}

}  // namespace folkmoot
