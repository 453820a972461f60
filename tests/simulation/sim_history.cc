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
  engine_ =
      std::make_shared<SimEngine>(DrawTimings(), 2 + 2 * static_cast<int>(Draw(3)), random_());
  front_end_.Meet(engine_);
}

// What the supervisor kills is gone at once; the launcher takes a moment.
void SimHistory::FailEngine(const std::string& reason, const std::vector<int>& fence) {
  if (!lives_.Fail(reason)) return;
  const auto& troubles = engine_->troubles();
  Demand(!troubles.empty() || start_fails_ || launcher_ends_ <= now_,
         "an engine without a fault was ended: " + reason);
  for (const int rank : fence) {
    Demand(std::any_of(troubles.begin(), troubles.end(),
                       [&](const auto& t) { return t.rank == rank || t.rank < 0; }),
           fmt::format("rank {} was fenced, and has no fault: {}", rank, reason));
  }
  for (const SimEngine::Trouble& trouble : troubles) {
    SimTime& slowest = counts_.slowest_notice[static_cast<size_t>(trouble.fault)];
    const SimTime awake = std::max(trouble.since, sleeps_until_);
    slowest = std::max(slowest, now_ - awake);
    ++counts_.faults[static_cast<size_t>(trouble.fault)];
  }
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
      FailEngine(fmt::format("rank {} is gone", message.rank), {});
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
  lives_.Tick(Clock());
  if (launcher_runs_ && lives_.failure().empty()) {
    const EngineLives::Finding finding = lives_.Look(Clock(), came_);
    if (!finding.failure.empty()) FailEngine(finding.failure, finding.fence);
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

// What docs/reliability.md says.
SimTime SimHistory::NoticeBound(SimFault fault) {
  switch (fault) {
    case SimFault::kKill:
      return kSlack;
    case SimFault::kStop:
      return 2000 + kSlack;
    case SimFault::kStuck:
      return 30'000 + kSlack;
    case SimFault::kWedge:
      return 2000 + kSlack + kLongestPause;
    case SimFault::kLost:
      return 4000 + kSlack + kLongestPause;
    default:  // mostly the others give up waiting before
      return 120'000 + kSlack + kLongestPause;
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
  if (launcher_ends_ == kNever && engine_->alive() < options_.ranks) {
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
  const bool well = lives_.failure().empty() && ready() && engine_->troubles().empty() &&
                    launcher_ends_ == kNever;
  return served && (given_up_ || (struck && well));
}

bool SimHistory::Run() {
  DrawClients();
  DrawBlows();
  const bool only_poison = blows_.empty() && failing_starts_ == 0;
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
