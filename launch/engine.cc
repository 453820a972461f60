// SPDX-License-Identifier: Apache-2.0
#include "launch/engine.h"

#include <chrono>
#include <semaphore>
#include <thread>

#include "launch/plan_codec.h"

namespace folkmoot {
namespace {

// Seconds since it was made or last read.
class Stopwatch {
 public:
  double Lap() {
    const auto now = std::chrono::steady_clock::now();
    return std::chrono::duration<double>(now - std::exchange(last_, now)).count();
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

SchedulerOptions WithGates(SchedulerOptions options, const ModelRunner& runner) {
  if (!options.gate_is_cacheable) {
    options.gate_is_cacheable = [&runner](const std::string& gate) {
      return runner.GateIsCacheable(gate);
    };
  }
  if (!options.gate_can_speculate) {
    options.gate_can_speculate = [&runner](const std::string& gate) {
      return runner.GateCanSpeculate(gate);
    };
  }
  return options;
}

// Do the other ranks answer this plan?
bool HasAnswers(const Communicator& world, const ModelRunner& runner, const StepPlan& plan) {
  return world.size() > 1 && (runner.plan_parts() > 1 || plan.tokens() == 0);
}

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

Engine::Engine(const SchedulerOptions& options, Communicator& world, ModelRunner& runner,
               int64_t epoch)
    : world_(world), runner_(runner), scheduler_(WithGates(options, runner)), epoch_(epoch) {
  if (options.plan_ahead) planner_ = std::make_unique<Planner>(*this);
}

Engine::~Engine() = default;

absl::Status Engine::CheckForModel(const Request& request) const {
  FM_RETURN_IF_ERROR(runner_.CheckGate(request.gate));
  const bool encodes = runner_.has_encoder();
  if (request.pooling != Pooling::kNone && encodes) {
    return InvalidArgument(
        "embeddings are hidden states of a decoder's prompt, and this model has an encoder");
  }
  if (request.pooling != Pooling::kNone && !runner_.GivesEmbeddings()) {
    return InvalidArgument(
        "embeddings need the last hidden states, which models on GPUs do not keep: serve the model "
        "with --device cpu");
  }
  if (encodes && request.source == 0) {
    return InvalidArgument(
        "this model has an encoder: a request needs a source, and tokens with which the output "
        "begins");
  }
  if (!encodes && request.source > 0) {
    return InvalidArgument("a request has a source of {} tokens, but this model has no encoder",
                           request.source);
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> Engine::Submit(Request request) {
  FM_RETURN_IF_ERROR(CheckForModel(request));
  if (request.beams.width > 0) return beams_.Add(std::move(request));
  return scheduler_.Add(std::move(request));
}

void Engine::MakePlan(Planned* planned) {
  planned->plan = scheduler_.Schedule();
  planned->plan.epoch = epoch_;
  planned->plan.placement_version = runner_.placement_version();
  if (world_.size() > 1) EncodePlan(planned->plan, &planned->frame);
}

absl::StatusOr<std::vector<StepResult>> Engine::Gather(StepResult mine, const StepPlan& plan) {
  std::vector<StepResult> results;
  results.push_back(std::move(mine));
  if (!HasAnswers(world_, runner_, plan)) return results;
  FM_ASSIGN_OR_RETURN(
      const std::vector<std::string> gathered,
      GatherStrings(world_, 0, std::string(), {.phase = "result gather", .step = plan.step}));
  if (runner_.plan_parts() == 1) return results;
  for (size_t r = 1; r < gathered.size(); ++r) {
    absl::StatusOr<StepResult> theirs = DecodeResult(gathered[r]);
    if (!theirs.ok()) return Annotate(theirs.status(), fmt::format("rank {}", r));
    results.push_back(*std::move(theirs));
  }
  return results;
}

absl::StatusOr<std::vector<StepResult>> Engine::RunStep(Planned* planned, StepSeconds* seconds) {
  const int64_t step = planned->plan.step;
  Stopwatch watch;
  if (world_.size() > 1) {
    FM_RETURN_IF_ERROR(
        BroadcastString(world_, 0, &planned->frame, {.phase = "plan broadcast", .step = step}));
  }
  seconds->broadcast = watch.Lap();
  const bool ahead = planner_ != nullptr && planned->plan.tokens() > 0;
  if (ahead) planner_->Start();
  absl::StatusOr<StepResult> mine = runner_.Run(planned->plan);
  seconds->model = watch.Lap() - runner_.sample_seconds();
  seconds->sample = runner_.sample_seconds();
  if (ahead) {
    planner_->Finish();
    has_next_ = next_.plan.tokens() > 0;
    if (!has_next_) scheduler_.TakeBack(next_.plan);
  }
  seconds->plan += watch.Lap();
  FM_RETURN_IF_ERROR(mine.status());
  absl::StatusOr<std::vector<StepResult>> results = Gather(*std::move(mine), planned->plan);
  seconds->gather = watch.Lap();
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
  if (!results.ok()) {
    world_.Abandon(results.status());
    return results.status();
  }
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

absl::Status Engine::Shutdown() {
  if (world_.size() == 1) return absl::OkStatus();
  // The step that the workers wait for; one that was planned ahead is never made.
  StepPlan plan;
  plan.epoch = epoch_;
  plan.step = has_next_ ? next_.plan.step : scheduler_.next_step();
  plan.shutdown = true;
  EncodePlan(plan, &now_.frame);
  return BroadcastString(world_, 0, &now_.frame, {.phase = "shutdown", .step = plan.step});
}

namespace {

absl::Status WorkerLoop(Communicator& world, ModelRunner& runner, int64_t epoch) {
  std::string frame;
  for (int64_t step = 0;; ++step) {
    FM_RETURN_IF_ERROR(
        BroadcastString(world, 0, &frame, {.phase = "plan broadcast", .step = step}));
    const absl::StatusOr<StepPlan> plan =
        DecodePlan(frame, {.epoch = epoch,
                           .step = step,
                           .ranks = runner.plan_parts(),
                           .placement_version = runner.placement_version()});
    if (!plan.ok()) return Annotate(plan.status(), fmt::format("rank {}", world.rank()));
    if (plan->shutdown) return absl::OkStatus();
    FM_ASSIGN_OR_RETURN(const StepResult result, runner.Run(*plan));
    if (!HasAnswers(world, runner, *plan)) continue;
    FM_RETURN_IF_ERROR(
        GatherStrings(world, 0, EncodeResult(result), {.phase = "result gather", .step = step})
            .status());
  }
}

}  // namespace

absl::Status RunWorker(Communicator& world, ModelRunner& runner, int64_t epoch) {
  absl::Status status = WorkerLoop(world, runner, epoch);
  if (!status.ok()) world.Abandon(status);
  return status;
}

}  // namespace folkmoot
