// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/engine_lives.h"

#include <fmt/format.h>

#include <algorithm>

namespace folkmoot {

void EngineLives::SetNews(EngineState state, const std::string& reason) {
  news_ = {.state = state,
           .reason = reason,
           .restarts = std::max<int64_t>(0, starts_ - 1),
           .repairs = repairs_};
}

int64_t EngineLives::Begin(Time now) {
  start_at_.reset();
  dying_since_.reset();
  failure_.clear();
  up_ = was_up_ = has_computed_ = false;
  repair_began_.reset();
  started_ = now;
  ++epoch_;
  ++starts_;
  watch_.Reset(ranks_, epoch_);
  SetNews(EngineState::kStarting, std::string(news_.reason));
  return epoch_;
}

bool EngineLives::Repair(const std::vector<int>& dead, size_t spares, const std::string& reason,
                         Time now) {
  const bool some_live = dead.size() < static_cast<size_t>(ranks_);
  if (!failure_.empty() || !up_ || !some_live || dead.size() > spares) return false;
  was_up_ = true;
  has_computed_ = has_computed_ || watch_.steps() > 0;
  up_ = false;
  repair_began_ = now;
  ++epoch_;
  ++repairs_;
  watch_.Continue(epoch_, now);
  SetNews(EngineState::kRepairing, reason);
  return true;
}

bool EngineLives::Fail(const std::string& reason) {
  if (!failure_.empty()) return false;
  failure_ = reason;
  SetNews(EngineState::kStarting, reason);
  return true;
}

void EngineLives::OnFrontEnd(int64_t steps, int64_t culprits) {
  if (steps > steps_) policy_.OnComputed();
  steps_ = steps;
  for (; culprits_ < culprits; ++culprits_) policy_.OnCulprit();
}

void EngineLives::Tick(Time now) {
  if (last_tick_ && now - *last_tick_ > kStoodStill) watch_.Forgive(now);
  last_tick_ = now;
}

EngineLives::Finding EngineLives::Look(Time now, int came) {
  Finding finding;
  if (!up_ && watch_.up()) {
    up_ = finding.came_up = finding.news = true;
    repair_began_.reset();
    SetNews(EngineState::kUp, std::string(news_.reason));
  }
  if (came < ranks_ && !up_ && now - started_ > kFirstHello) {
    finding.failure =
        fmt::format("{} of {} ranks came within {} s", came, ranks_, kFirstHello.count() / 1000);
    return finding;
  }
  if (repair_began_ &&
      now - std::max(*repair_began_, watch_.loading().value_or(Time())) > kRepair) {
    finding.failure = fmt::format("it was not repaired within {} s", kRepair.count() / 1000);
    return finding;
  }
  RankWatch::Verdict verdict = watch_.Check(now);
  if (!verdict.fence.empty()) {
    finding.fence = std::move(verdict.fence);
    finding.failure = std::move(verdict.reason);
    return finding;
  }
  const EngineState state = verdict.stall.empty() ? EngineState::kUp : EngineState::kStalled;
  if (!up_ || state == news_.state) return finding;
  SetNews(state, verdict.stall);
  finding.news = true;
  return finding;
}

EngineLives::Next EngineLives::Decide(Time now, bool gone) {
  if (start_at_) return now >= *start_at_ ? Next::kStart : Next::kWait;
  if (failure_.empty() || news_.state == EngineState::kFailed) return Next::kWait;
  if (!gone) {
    if (!dying_since_) dying_since_ = now;
    return now - *dying_since_ < kDying ? Next::kWait : Next::kAbandon;
  }
  const EngineLife life = watch_.steps() > 0 || has_computed_ ? EngineLife::kComputed
                          : up_ || watch_.up() || was_up_     ? EngineLife::kReady
                                                              : EngineLife::kNeverReady;
  watch_.Reset(ranks_, epoch_);
  const std::optional<Milliseconds> pause = policy_.OnFailure(life);
  if (!pause) {
    SetNews(EngineState::kFailed, failure_);
    return Next::kGiveUp;
  }
  pause_ = *pause;
  start_at_ = now + pause_;
  return Next::kPause;
}

}  // namespace folkmoot
