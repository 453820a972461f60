// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/sim_front_end.h"

#include <fmt/format.h>

#include <algorithm>

namespace folkmoot {

SimFrontEnd::SimFrontEnd(const SchedulerOptions& options) : options_(options), scheduler_(options) {
  for (int r = 0; r < options.ranks; ++r) {
    ranks_.emplace_back(options);
  }
}

void SimFrontEnd::Demand(bool condition, const std::string& what) {
  if (!condition && complaint_.empty()) complaint_ = fmt::format("{} ms: {}", now_, what);
}

void SimFrontEnd::Submit(const Request& request, int64_t poison) {
  if (dead_ || draining_) {
    ++counts_.refused;
    return;
  }
  inbox_.emplace_back(request, poison);
}

void SimFrontEnd::Cancel(int64_t nth) {
  if (!dead_) cancels_.push_back(nth);
}

void SimFrontEnd::Add(const Request& request, int64_t poison) {
  const absl::StatusOr<int64_t> id = scheduler_.Add(request);
  if (!id.ok()) {
    ++counts_.refused;
    return;
  }
  ++counts_.accepted;
  Open open;
  open.poison = poison;
  open.left = request.n;
  for (int32_t c = 0; c < request.n; ++c) {
    open.choices.emplace_back().expected =
        Expect(request, c, next_sequence_, options_.output_window);
    for (FakeRank& rank : ranks_) rank.SetLabel(next_sequence_, request.cache_salt);
    request_of_[next_sequence_++] = *id;
  }
  open_.emplace(*id, std::move(open));
}

// Between steps, as the engine's thread does.
void SimFrontEnd::TakeInbox() {
  for (const auto& [request, poison] : inbox_) Add(request, poison);
  inbox_.clear();
  for (const int64_t id : cancels_) {
    const auto found = open_.find(id);
    if (found == open_.end()) continue;
    for (Choice& choice : found->second.choices) choice.cancelled = true;
    scheduler_.Abort(id);
  }
  if (!cancels_.empty()) {
    for (const RequestEvent& event : scheduler_.TakeEvents()) Hear(event);
  }
  cancels_.clear();
}

SimFrontEnd::Planned SimFrontEnd::Plan() {
  const int64_t under_way = scheduler_.steps_under_way();
  Planned planned{.plan = scheduler_.Schedule()};
  planned.answered = planned.plan.step - 1 - under_way;
  return planned;
}

std::set<int64_t> SimFrontEnd::RequestsIn(const StepPlan& plan) const {
  std::set<int64_t> requests;
  for (const RankPlan& part : plan.ranks) {
    for (const SequenceSlice& slice : part.slices) requests.insert(request_of_.at(slice.id));
  }
  return requests;
}

void SimFrontEnd::Compute(const Planned& planned) {
  results_.clear();
  for (size_t r = 0; r < ranks_.size(); ++r) {
    const RankPlan& part = planned.plan.ranks[r];
    results_.push_back(
        ranks_[r].Run(part, planned.plan.gates, planned.plan.step, planned.answered));
    Demand(ranks_[r].complaint().empty(), ranks_[r].complaint());
    for (const SequenceSlice& slice : part.slices) {
      const auto found = open_.find(request_of_.at(slice.id));
      if (found == open_.end() || found->second.poison == kHarmless) continue;
      if (slice.end() > found->second.poison) engine_->KillInStep(static_cast<int>(r));
    }
  }
}

// As Engine::Step: a step that was planned ahead goes first, and the next is planned meanwhile.
void SimFrontEnd::Step(SimTime now) {
  const Planned planned = next_ ? *std::move(next_) : Plan();
  next_.reset();
  plan_ = planned.plan;
  Compute(planned);
  ++counts_.steps;
  engine_->SendPlan();
  under_way_ = true;
  last_step_ = now;
  if (!options_.plan_ahead || planned.plan.tokens() == 0) return;
  next_ = Plan();
  if (next_->plan.tokens() > 0) return;
  scheduler_.TakeBack(next_->plan);
  next_.reset();
}

void SimFrontEnd::Answer() {
  under_way_ = false;
  counts_.answers += plan_.tokens() > 0 ? 1 : 0;
  for (const RequestEvent& event : scheduler_.Update(std::move(results_))) Hear(event);
  results_.clear();
  CheckPools();
}

// The engine is gone: what was not heard of it is lost.
void SimFrontEnd::Lose() {
  ++counts_.restarts;
  if (under_way_) {
    for (const int64_t id : RequestsIn(plan_)) {
      const auto found = open_.find(id);
      if (found != open_.end()) ++found->second.failures;
    }
  }
  under_way_ = met_ = false;
  engine_.reset();
  next_.reset();
  scheduler_.Restart(/*begun=*/true);
  for (const RequestEvent& event : scheduler_.TakeEvents()) Hear(event);
  CheckPools();
  Demand(scheduler_.used_blocks() == 0, "somebody has pages of an engine that is gone");
}

// Ranks that are new since the last life that was met here have no pages.
void SimFrontEnd::Welcome() {
  engine_->Welcome();
  met_ = true;
  for (int r = 0; r < options_.ranks; ++r) {
    FakeRank& rank = ranks_[static_cast<size_t>(r)];
    if (engine_->since()[static_cast<size_t>(r)] <= met_epoch_) {
      rank.KeepPages();
      counts_.pages_kept += scheduler_.cached_blocks(r);
      continue;
    }
    rank.Restart();
    scheduler_.ForgetPages(r);
    Demand(scheduler_.free_blocks(r) == options_.blocks_per_rank, "pages outlive their rank");
  }
  met_epoch_ = engine_->epoch();
}

void SimFrontEnd::Turn(SimTime now) {
  now_ = now;
  if (dead_) return;
  if (under_way_) {
    if (engine_->TakeReply()) {
      Answer();
    } else if (engine_->closed(met_epoch_)) {
      Lose();
    } else {
      return;  // the thread waits for the answer
    }
  }
  TakeInbox();
  if (engine_ == nullptr) engine_ = std::move(arriving_);
  if (engine_ == nullptr) return;
  if (!met_) {
    if (arriving_ != nullptr) engine_ = std::move(arriving_);  // the one before died unseen
    if (!engine_->wants_welcome()) return;
    Welcome();
  }
  if (engine_->closed(met_epoch_)) return Lose();
  if (!scheduler_.idle() || now - last_step_ >= kHeartbeat) Step(now);
}

SimTime SimFrontEnd::next_event() const {
  if (dead_ || (engine_ == nullptr && arriving_ == nullptr)) return kNever;
  return under_way_ ? kNever : now_ + kLook;
}

void SimFrontEnd::GiveUp() {
  counts_.dead += static_cast<int64_t>(open_.size() + inbox_.size());
  counts_.ended += static_cast<int64_t>(open_.size());
  counts_.refused += static_cast<int64_t>(inbox_.size());
  for (const auto& [id, open] : open_) scheduler_.Abort(id);
  (void)scheduler_.TakeEvents();
  open_.clear();
  inbox_.clear();
  cancels_.clear();
  engine_.reset();
  dead_ = true;
}

void SimFrontEnd::Hear(const RequestEvent& event) {
  const auto found = open_.find(event.id);
  if (found == open_.end()) return Demand(false, "an event of a request that has ended");
  Open& open = found->second;
  Choice& choice = open.choices.at(static_cast<size_t>(event.choice));
  Demand(!choice.ended, "an event of a choice that has ended");
  if (event.result != nullptr && event.result->token >= 0) {
    const std::vector<int32_t>& expected = choice.expected.tokens;
    const size_t at = choice.tokens.size();
    Demand(at < expected.size() && event.result->token == expected[at],
           fmt::format("request {}: token {} is not that of a run without faults", event.id, at));
    choice.tokens.push_back(event.result->token);
    ++counts_.tokens;
    open.failures = 0;
  }
  if (event.finish == FinishReason::kNone) return;
  choice.ended = true;
  CheckLast(open, choice, event);
  if (--open.left > 0) return;
  ++counts_.ended;
  open_.erase(found);
}

void SimFrontEnd::CheckLast(const Open& open, const Choice& choice, const RequestEvent& event) {
  if (event.finish == FinishReason::kAborted) {
    ++counts_.cancelled;
    return Demand(choice.cancelled, "ended by nobody");
  }
  if (event.crashed) {
    ++counts_.given_up;
    return Demand(
        open.failures > Scheduler::kSuspectFailures,
        fmt::format("request {} was given up after {} failures", event.id, open.failures));
  }
  Demand(choice.tokens == choice.expected.tokens && event.finish == choice.expected.finish,
         fmt::format("request {} ended with {} of {} tokens, '{}' and not '{}'", event.id,
                     choice.tokens.size(), choice.expected.tokens.size(),
                     FinishReasonName(event.finish), FinishReasonName(choice.expected.finish)));
}

void SimFrontEnd::CheckPools() {
  for (int r = 0; r < options_.ranks; ++r) {
    const KvPool& pool = scheduler_.pool(r);
    Demand(pool.free() + pool.used() + pool.cached() == options_.blocks_per_rank,
           "free + used + cached is not the total");
  }
}

void SimFrontEnd::CheckEnd() {
  Demand(counts_.accepted == counts_.ended, "a request has not ended");
  CheckPools();
  if (dead_) return;
  Demand(scheduler_.idle() && scheduler_.running() == 0 && scheduler_.waiting() == 0,
         "somebody runs or waits at the end");
  Demand(scheduler_.used_blocks() == 0, "a page was lost");
}

}  // namespace folkmoot
