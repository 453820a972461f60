// SPDX-License-Identifier: Apache-2.0
#include "launch/engine.h"

#include "launch/plan_codec.h"

namespace folkmoot {

Engine::Engine(const SchedulerOptions& options, Communicator& world, ModelRunner& runner,
               int64_t epoch)
    : world_(world), runner_(runner), scheduler_(options), epoch_(epoch) {}

absl::StatusOr<std::vector<StepResult>> Engine::RunStep(const StepPlan& plan) {
  std::vector<StepResult> results;
  if (world_.size() == 1) {  // nobody to talk to
    FM_ASSIGN_OR_RETURN(results.emplace_back(), runner_.Run(plan));
    return results;
  }
  EncodePlan(plan, &frame_);
  FM_RETURN_IF_ERROR(
      BroadcastString(world_, 0, &frame_, {.phase = "plan broadcast", .step = plan.step}));
  FM_ASSIGN_OR_RETURN(StepResult mine, runner_.Run(plan));
  FM_ASSIGN_OR_RETURN(
      const std::vector<std::string> gathered,
      GatherStrings(world_, 0, std::string(), {.phase = "result gather", .step = plan.step}));
  results.push_back(std::move(mine));
  for (size_t r = 1; r < gathered.size(); ++r) {
    absl::StatusOr<StepResult> theirs = DecodeResult(gathered[r]);
    if (!theirs.ok()) return Annotate(theirs.status(), fmt::format("rank {}", r));
    results.push_back(*std::move(theirs));
  }
  return results;
}

absl::Status Engine::Step(absl::FunctionRef<void(const RequestEvent&)> on_event) {
  StepPlan plan = scheduler_.Schedule();
  plan.epoch = epoch_;
  absl::StatusOr<std::vector<StepResult>> results = RunStep(plan);
  if (!results.ok()) {
    world_.Abandon(results.status());
    return results.status();
  }
  ++stats_.steps;
  stats_.tokens += plan.tokens();
  for (const StepResult& result : *results) {
    stats_.expert_tokens.resize(result.expert_tokens.size());
    for (size_t i = 0; i < result.expert_tokens.size(); ++i) {
      stats_.expert_tokens[i] += result.expert_tokens[i];
    }
  }
  for (const RequestEvent& event : scheduler_.Update(*std::move(results))) on_event(event);
  return absl::OkStatus();
}

absl::Status Engine::Drain(absl::FunctionRef<void(const RequestEvent&)> on_event) {
  while (!idle()) FM_RETURN_IF_ERROR(Step(on_event));
  return absl::OkStatus();
}

absl::Status Engine::Shutdown() {
  if (world_.size() == 1) return absl::OkStatus();
  StepPlan plan = scheduler_.Schedule();
  plan.epoch = epoch_;
  plan.shutdown = true;
  plan.ranks.clear();
  EncodePlan(plan, &frame_);
  return BroadcastString(world_, 0, &frame_, {.phase = "shutdown", .step = plan.step});
}

namespace {

absl::Status WorkerLoop(Communicator& world, ModelRunner& runner, int64_t epoch) {
  std::string frame;
  for (int64_t step = 0;; ++step) {
    FM_RETURN_IF_ERROR(
        BroadcastString(world, 0, &frame, {.phase = "plan broadcast", .step = step}));
    absl::StatusOr<StepPlan> plan = DecodePlan(frame, epoch, step, world.size());
    if (!plan.ok()) return Annotate(plan.status(), fmt::format("rank {}", world.rank()));
    if (plan->shutdown) return absl::OkStatus();
    FM_ASSIGN_OR_RETURN(const StepResult result, runner.Run(*plan));
    FM_RETURN_IF_ERROR(
        GatherStrings(world, 0, EncodeResult(result), {.phase = "result gather", .step = step})
            .status());
  }
}

}  // namespace

absl::Status RunWorker(Communicator& world, ModelRunner& runner, int64_t epoch) {
  const absl::Status status = WorkerLoop(world, runner, epoch);
  if (!status.ok()) world.Abandon(status);
  return status;
}

}  // namespace folkmoot
