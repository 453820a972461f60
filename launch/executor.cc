// SPDX-License-Identifier: Apache-2.0
#include "launch/executor.h"

#include <chrono>
#include <utility>

#include "launch/plan_codec.h"

namespace folkmoot {
namespace {

// Do the other ranks answer this plan?
bool HasAnswers(const Communicator& world, const ModelRunner& runner, const StepPlan& plan) {
  return world.size() > 1 && (runner.plan_parts() > 1 || plan.tokens() == 0);
}

absl::Status WorkerLoop(Communicator& world, ModelRunner& runner, int64_t epoch, int64_t first) {
  std::string frame;
  for (int64_t step = first;; ++step) {
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

double Stopwatch::Lap() {
  const auto now = std::chrono::steady_clock::now();
  return std::chrono::duration<double>(now - std::exchange(last_, now)).count();
}

absl::StatusOr<std::vector<StepResult>> LocalExecutor::Gather(StepResult mine,
                                                              const StepPlan& plan) {
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

absl::StatusOr<std::vector<StepResult>> LocalExecutor::Compute(PlannedStep& step,
                                                               StepSeconds* seconds) {
  Stopwatch watch;
  if (world_.size() > 1) {
    FM_RETURN_IF_ERROR(BroadcastString(world_, 0, &step.frame,
                                       {.phase = "plan broadcast", .step = step.plan.step}));
  }
  seconds->broadcast += watch.Lap();
  FM_ASSIGN_OR_RETURN(StepResult mine, runner_.Run(step.plan));
  seconds->model += watch.Lap() - runner_.sample_seconds();
  seconds->sample += runner_.sample_seconds();
  FM_ASSIGN_OR_RETURN(std::vector<StepResult> results, Gather(std::move(mine), step.plan));
  seconds->gather += watch.Lap();
  return results;
}

absl::StatusOr<std::vector<StepResult>> LocalExecutor::Run(PlannedStep& step,
                                                           StepSeconds* seconds) {
  absl::StatusOr<std::vector<StepResult>> results = Compute(step, seconds);
  if (!results.ok()) world_.Abandon(results.status());
  return results;
}

absl::Status LocalExecutor::Shutdown(PlannedStep& step) {
  if (world_.size() == 1) return absl::OkStatus();
  return BroadcastString(world_, 0, &step.frame, {.phase = "shutdown", .step = step.plan.step});
}

absl::Status RunWorker(Communicator& world, ModelRunner& runner, int64_t epoch, int64_t first) {
  absl::Status status = WorkerLoop(world, runner, epoch, first);
  if (!status.ok()) world.Abandon(status);
  return status;
}

}  // namespace folkmoot
