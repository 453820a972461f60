// SPDX-License-Identifier: Apache-2.0
#include "launch/engine_service.h"

#include <algorithm>

namespace folkmoot {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kLook{50};          // between looks at ranks that may be lost
constexpr auto kRateWindow = std::chrono::seconds(30);  // of EngineSnapshot::finished_per_second

OutputEvent LastEvent(int64_t request, int32_t choice, FinishReason reason,
                      const std::string& error) {
  OutputEvent event;
  event.request = request;
  event.choice = choice;
  event.finish = reason;
  event.error = error;
  event.time = Clock::now();
  return event;
}

}  // namespace

EngineSnapshot SnapshotOf(const Engine& engine) {
  const Scheduler& scheduler = engine.scheduler();
  EngineSnapshot snapshot;
  snapshot.running = scheduler.running();
  snapshot.waiting = scheduler.waiting();
  snapshot.waiting_tokens = scheduler.waiting_tokens();
  snapshot.preemptions = scheduler.preemptions();
  snapshot.culprits = scheduler.culprits();
  snapshot.total_blocks = scheduler.total_blocks();
  snapshot.used_blocks = scheduler.used_blocks();
  snapshot.cached_blocks = scheduler.cached_blocks();
  snapshot.prefix_query_tokens = scheduler.prefix_query_tokens();
  snapshot.prefix_hit_tokens = scheduler.prefix_hit_tokens();
  snapshot.speculation = scheduler.speculation();
  snapshot.stats = engine.stats();
  return snapshot;
}

EngineService::EngineService(Engine& engine, const EngineServiceOptions& options,
                             std::chrono::milliseconds heartbeat, Sink sink)
    : engine_(engine), options_(options), heartbeat_(heartbeat), sink_(std::move(sink)) {
  Publish(Clock::now());
}

absl::Status EngineService::Submit(int64_t id, Request request) {
  const auto tokens = static_cast<int64_t>(request.prompt.size());
  const std::lock_guard lock(mutex_);
  if (state_ == State::kDead) return Unavailable("the engine has failed");
  if (state_ != State::kOpen) return Unavailable("the server is shutting down");
  if (queued_requests_ >= options_.max_queued_requests) {
    return ResourceExhausted("{} requests are waiting already, the most that may",
                             queued_requests_);
  }
  // A prompt longer than the whole queue may still come when nothing else waits.
  if (queued_requests_ > 0 && queued_tokens_ + tokens > options_.max_queued_tokens) {
    return ResourceExhausted("prompts of {} tokens are waiting already; {} more are too many",
                             queued_tokens_, tokens);
  }
  ++queued_requests_;
  queued_tokens_ += tokens;
  inbox_.push_back({.id = id, .request = std::move(request)});
  wake_.notify_one();
  return absl::OkStatus();
}

void EngineService::Cancel(int64_t id) {
  const std::lock_guard lock(mutex_);
  if (state_ == State::kDead) return;
  cancels_.push_back({.id = id});
  wake_.notify_one();
}

void EngineService::CancelChoice(int64_t id, int32_t choice) {
  const std::lock_guard lock(mutex_);
  if (state_ == State::kDead || choice < 0) return;
  cancels_.push_back({.id = id, .choice = choice});
  wake_.notify_one();
}

void EngineService::Drain() {
  const std::lock_guard lock(mutex_);
  if (state_ == State::kOpen) state_ = State::kDraining;
  wake_.notify_one();
}

void EngineService::Stop() {
  const std::lock_guard lock(mutex_);
  if (state_ != State::kDead) state_ = State::kStopping;
  wake_.notify_one();
}

EngineSnapshot EngineService::Snapshot() const {
  const std::lock_guard lock(mutex_);
  return snapshot_;
}

bool EngineService::Wait() {
  std::unique_lock lock(mutex_);
  const auto something = [&] {
    return !inbox_.empty() || !cancels_.empty() || state_ != State::kOpen;
  };
  if (engine_.idle()) {
    const auto pause = engine_.renewable() ? std::min(heartbeat_, kLook) : heartbeat_;
    if (pause.count() > 0) {
      wake_.wait_for(lock, pause, something);
    } else {
      wake_.wait(lock, something);
    }
  }
  if (state_ == State::kStopping || recovering_) return false;  // Recover has given up
  return state_ == State::kOpen || !engine_.idle() || !inbox_.empty();
}

void EngineService::TakeInbox() {
  std::vector<Submission> submissions;
  std::vector<Cancellation> cancels;
  {
    const std::lock_guard lock(mutex_);
    submissions.swap(inbox_);
    cancels.swap(cancels_);
  }
  for (Submission& submission : submissions) Admit(std::move(submission));
  for (const Cancellation& cancel : cancels) {
    if (cancel.choice == kAllChoices) {
      CancelNow(cancel.id);
    } else {
      CancelNow(cancel.id, cancel.choice);
    }
  }
}

void EngineService::Admit(Submission submission) {
  const auto choices = static_cast<size_t>(std::max(1, submission.request.n));
  Live live;
  live.prompt_tokens = static_cast<int64_t>(submission.request.prompt.size());
  live.started.resize(choices);
  live.ended.resize(choices);
  const std::vector<ChoiceSoFar>& so_far = submission.request.so_far;
  for (size_t c = 0; c < so_far.size() && c < choices; ++c) live.ended[c] = so_far[c].ended;
  const absl::StatusOr<int64_t> engine_id = engine_.Submit(std::move(submission.request));
  if (engine_id.ok()) {
    live.engine_id = *engine_id;
    caller_of_[*engine_id] = submission.id;
    live_.emplace(submission.id, std::move(live));
    return;
  }
  Leave(live);
  for (size_t c = 0; c < choices; ++c) {
    if (live.ended[c]) continue;
    OutputEvent event = LastEvent(submission.id, static_cast<int32_t>(c), FinishReason::kError,
                                  std::string(Message(engine_id.status())));
    event.rejected = true;
    events_.push_back(std::move(event));
  }
}

// The request waits no more.
void EngineService::Leave(Live& live) {
  if (live.admitted) return;
  live.admitted = true;
  const std::lock_guard lock(mutex_);
  --queued_requests_;
  queued_tokens_ -= live.prompt_tokens;
}

void EngineService::EndChoices(int64_t id, Live& live, FinishReason reason,
                               const std::string& error) {
  Leave(live);
  for (size_t c = 0; c < live.ended.size(); ++c) {
    if (live.ended[c]) continue;
    events_.push_back(LastEvent(id, static_cast<int32_t>(c), reason, error));
    events_.back().admitted = live.started[c];
  }
}

void EngineService::CancelNow(int64_t id) {
  const auto found = live_.find(id);
  if (found == live_.end()) return;
  engine_.Abort(found->second.engine_id);
  EndChoices(id, found->second, FinishReason::kAborted, "");
  caller_of_.erase(found->second.engine_id);
  live_.erase(found);
}

void EngineService::CancelNow(int64_t id, int32_t choice) {
  const auto found = live_.find(id);
  if (found == live_.end()) return;
  Live& live = found->second;
  const auto at = static_cast<size_t>(choice);
  if (at >= live.ended.size() || live.ended[at]) return;
  if (std::count(live.ended.begin(), live.ended.end(), false) == 1) return CancelNow(id);
  engine_.Abort(live.engine_id, choice);
  live.ended[at] = true;
  events_.push_back(LastEvent(id, choice, FinishReason::kAborted, ""));
  events_.back().admitted = live.started[at];
}

void EngineService::OnEvent(const RequestEvent& event, SteadyTime planned) {
  const auto caller = caller_of_.find(event.id);
  if (caller == caller_of_.end()) return;  // cancelled: its last events are out
  Live& live = live_.at(caller->second);
  const auto choice = static_cast<size_t>(event.choice);
  if (live.ended[choice]) return;  // likewise
  Leave(live);
  if (live.started[choice] == SteadyTime()) live.started[choice] = planned;

  OutputEvent& out = events_.emplace_back();
  out.request = caller->second;
  out.choice = event.choice;
  if (event.result != nullptr) {
    out.result = *event.result;
    out.error = event.result->error;
  }
  if (event.crashed) out.error = kCrashedError;
  out.cached_tokens = event.cached_tokens;
  out.finish = event.finish;
  out.drafted = event.drafted;
  out.accepted = event.accepted;
  out.admitted = live.started[choice];
  out.time = Clock::now();
  if (event.finish == FinishReason::kNone) return;
  live.ended[choice] = true;
  if (!live.all_ended()) return;
  finish_times_.push_back(out.time);
  live_.erase(caller->second);
  caller_of_.erase(caller);
}

void EngineService::Deliver() {
  if (!events_.empty()) sink_(std::move(events_));
  events_.clear();
}

absl::Status EngineService::Step() {
  const SteadyTime planned = Clock::now();
  FM_RETURN_IF_ERROR(engine_.Step([&](const RequestEvent& event) { OnEvent(event, planned); }));
  last_step_ = Clock::now();
  Publish(last_step_);
  return absl::OkStatus();
}

// An idle engine makes a step only to hear whether the ranks are alive.
absl::Status EngineService::StepIfDue() {
  if (!engine_.idle()) return Step();
  if (engine_.lost()) return Unavailable("the ranks are gone");
  const bool due = heartbeat_.count() > 0 && Clock::now() - last_step_ >= heartbeat_;
  return due ? Step() : absl::OkStatus();
}

// The ranks are lost. Requests wait until there are others; what clients want is heard meanwhile.
// OK also, with recovering_ set, when nobody is left to wait for them.
absl::Status EngineService::Recover(const absl::Status& failure) {
  if (!engine_.renewable()) return failure;
  engine_.Restart();
  recovering_ = true;
  while (true) {
    Publish(last_step_);
    TakeInbox();
    Deliver();
    {
      const std::lock_guard lock(mutex_);
      const bool done = state_ == State::kDraining && live_.empty() && inbox_.empty();
      if (done || state_ == State::kStopping) return absl::OkStatus();
    }
    const absl::Status renewed = engine_.Renew(kLook);
    if (!renewed.ok() && renewed.code() == absl::StatusCode::kDeadlineExceeded) continue;
    recovering_ = false;
    Publish(Clock::now());
    return renewed;
  }
}

void EngineService::Publish(SteadyTime now) {
  while (!finish_times_.empty() && now - finish_times_.front() > kRateWindow) {
    finish_times_.pop_front();
  }
  EngineSnapshot snapshot = SnapshotOf(engine_);
  snapshot.finished_per_second = static_cast<double>(finish_times_.size()) /
                                 std::chrono::duration<double>(kRateWindow).count();
  snapshot.recovering = recovering_;
  snapshot.last_step = now;
  const std::lock_guard lock(mutex_);
  snapshot_ = snapshot;
}

void EngineService::EndAll(FinishReason reason, const std::string& error) {
  std::vector<Submission> unseen;
  {
    const std::lock_guard lock(mutex_);
    state_ = State::kDead;
    unseen.swap(inbox_);
  }
  for (const Submission& submission : unseen) {
    for (int32_t c = 0; c < std::max(1, submission.request.n); ++c) {
      events_.push_back(LastEvent(submission.id, c, reason, error));
    }
  }
  for (auto& [id, live] : live_) {
    if (reason == FinishReason::kAborted) engine_.Abort(live.engine_id);
    EndChoices(id, live, reason, error);
  }
  live_.clear();
  caller_of_.clear();
  Deliver();
}

absl::Status EngineService::Run() {
  while (Wait()) {
    TakeInbox();
    absl::Status status = StepIfDue();
    Deliver();
    if (!status.ok()) status = Recover(status);
    if (status.ok()) continue;
    EndAll(FinishReason::kError, std::string(Message(status)));
    return status;
  }
  EndAll(FinishReason::kAborted, "");
  return absl::OkStatus();
}

}  // namespace folkmoot
