// SPDX-License-Identifier: Apache-2.0
#include "launch/engine.h"

#include <spdlog/spdlog.h>

#include <chrono>
#include <semaphore>
#include <thread>

#include "launch/plan_codec.h"

namespace folkmoot {
namespace {

void Add(const std::vector<int64_t>& counts, std::vector<int64_t>* sums) {
  if (sums->size() < counts.size()) sums->resize(counts.size());
  for (size_t i = 0; i < counts.size(); ++i) (*sums)[i] += counts[i];
}

}  // namespace

// A thread that makes the next plan while the caller computes. Between Start and Finish the
// scheduler is the thread's, else the caller's.
class Engine::Planner {
 public:
  explicit Planner(Engine& engine) : engine_(engine), thread_([this] { Loop(); }) {}
  ~Planner() {
    leaving_ = true;
    start_.release();
    thread_.join();
  }
  Planner(const Planner&) = delete;
  Planner& operator=(const Planner&) = delete;
  void Start() { start_.release(); }
  void Finish() { done_.acquire(); }

 private:
  void Loop() {
    for (start_.acquire(); !leaving_; start_.acquire()) {
      engine_.MakePlan(&engine_.next_);
      done_.release();
    }
  }

  Engine& engine_;
  std::binary_semaphore start_{0};
  std::binary_semaphore done_{0};
  bool leaving_ = false;
  std::thread thread_;
};

Engine::Engine(const SchedulerOptions& options, Executor& executor)
    : executor_(executor), scheduler_(executor.rules().WithGates(options)) {
  if (options.plan_ahead) planner_ = std::make_unique<Planner>(*this);
}

Engine::~Engine() = default;

absl::StatusOr<int64_t> Engine::Submit(Request request) {
  FM_RETURN_IF_ERROR(executor_.rules().Check(request));
  if (request.beams.width > 0) return beams_.Add(std::move(request));
  return scheduler_.Add(std::move(request));
}

void Engine::Finish(PlannedStep* step) {
  step->plan.epoch = executor_.epoch();
  step->plan.placement_version = executor_.placement_version();
  if (executor_.wants_frame()) EncodePlan(step->plan, &step->frame);
}

void Engine::MakePlan(PlannedStep* step) {
  step->plan = scheduler_.Schedule();
  Finish(step);
}

absl::StatusOr<std::vector<StepResult>> Engine::RunStep(PlannedStep* step, StepSeconds* seconds) {
  const bool ahead = planner_ != nullptr && step->plan.tokens() > 0;
  if (ahead) planner_->Start();
  absl::StatusOr<std::vector<StepResult>> results = executor_.Run(*step, seconds);
  if (!ahead) return results;
  Stopwatch watch;
  planner_->Finish();
  has_next_ = next_.plan.tokens() > 0;
  if (!has_next_) scheduler_.TakeBack(next_.plan);
  seconds->plan += watch.Lap();
  return results;
}

ExpertCounts Engine::expert_counts() const {
  const std::lock_guard lock(experts_mutex_);
  return experts_;
}

void Engine::CountStep(const StepPlan& plan, const std::vector<StepResult>& results,
                       const StepSeconds& seconds) {
  if (plan.tokens() == 0) return;
  ++stats_.steps;
  stats_.tokens += plan.tokens();
  {
    const std::lock_guard lock(experts_mutex_);
    for (const StepResult& result : results) {
      Add(result.expert_tokens, &experts_.tokens);
      Add(result.expert_overflow, &experts_.overflow);
    }
  }
  StepSeconds& sum = stats_.seconds;
  sum.plan += seconds.plan;
  sum.broadcast += seconds.broadcast;
  sum.model += seconds.model;
  sum.sample += seconds.sample;
  sum.gather += seconds.gather;
}

absl::Status Engine::Step(absl::FunctionRef<void(const RequestEvent&)> on_event) {
  Stopwatch whole;
  Stopwatch watch;
  StepSeconds seconds;
  if (has_next_) {
    std::swap(now_, next_);
    has_next_ = false;
  } else {
    MakePlan(&now_);
  }
  seconds.plan = watch.Lap();
  absl::StatusOr<std::vector<StepResult>> results = RunStep(&now_, &seconds);
  if (!results.ok()) return results.status();
  watch.Lap();
  CountStep(now_.plan, *results, seconds);
  for (const RequestEvent& event : scheduler_.Update(*std::move(results))) {
    if (!beams_.Take(event)) on_event(event);
  }
  beams_.Advance(on_event);
  if (now_.plan.tokens() > 0) {
    stats_.seconds.update += watch.Lap();
    stats_.seconds.total += whole.Lap();
  }
  return absl::OkStatus();
}

absl::Status Engine::Drain(absl::FunctionRef<void(const RequestEvent&)> on_event) {
  while (!idle()) FM_RETURN_IF_ERROR(Step(on_event));
  return absl::OkStatus();
}

void Engine::Restart() {
  has_next_ = false;
  scheduler_.Restart(executor_.begun());
}

absl::Status Engine::Renew(std::chrono::milliseconds patience) {
  FM_ASSIGN_OR_RETURN(const std::vector<int> empty,
                      executor_.Renew(scheduler_.next_step(), patience));
  for (const int part : empty) scheduler_.ForgetPages(part);
  spdlog::info("requests go on: {} of {} ranks kept {} pages of keys and values",
               static_cast<size_t>(scheduler_.ranks()) - empty.size(), scheduler_.ranks(),
               scheduler_.cached_blocks());
  return absl::OkStatus();
}

absl::Status Engine::Shutdown() {
  // The step that the workers wait for; one that was planned ahead is never made.
  const int64_t number = has_next_ ? next_.plan.step : scheduler_.next_step();
  now_.plan = {.step = number, .shutdown = true};
  Finish(&now_);
  return executor_.Shutdown(now_);
}

}  // namespace folkmoot
