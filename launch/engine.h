// SPDX-License-Identifier: Apache-2.0
// The loop that turns requests into tokens: it schedules, has its executor compute each plan, and
// makes events of the results.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "launch/beam_requests.h"
#include "launch/executor.h"
#include "scheduler/scheduler.h"

namespace folkmoot {

// Sums over all steps so far.
struct EngineStats {
  int64_t steps = 0;    // that computed something
  int64_t tokens = 0;   // computed, prompt and output
  StepSeconds seconds;  // of the steps that computed something
};

// The same for experts, over all ranks; [MoE layers, E] each, or empty before the first step.
struct ExpertCounts {
  std::vector<int64_t> tokens;    // kept choices
  std::vector<int64_t> overflow;  // choices that found no place
};

class Engine {
 public:
  // `executor` must outlive the engine. Where the options do not say which gates may share pages,
  // the model does. With options.plan_ahead a second thread plans a step while the one before it is
  // computed.
  Engine(const SchedulerOptions& options, Executor& executor);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Not during a Step.
  absl::StatusOr<int64_t> Submit(Request request);
  void Abort(int64_t id) {
    if (!beams_.Abort(id)) scheduler_.Abort(id);
  }
  // The n outputs of a beam search end together.
  void Abort(int64_t id, int32_t choice) {
    if (!beams_.Has(id)) scheduler_.Abort(id, choice);
  }
  bool idle() const { return scheduler_.idle() && beams_.idle(); }

  // One step over all ranks; when there is nothing to compute, an empty one that only tells whether
  // all ranks are alive. Events are delivered before it returns. After an error the engine is dead,
  // unless its ranks can be renewed.
  absl::Status Step(absl::FunctionRef<void(const RequestEvent&)> on_event);
  // Steps until nothing is left to do.
  absl::Status Drain(absl::FunctionRef<void(const RequestEvent&)> on_event);
  // Ranks that are lost, and others in their place: Executor's.
  bool renewable() const { return executor_.renewable(); }
  bool lost() const { return executor_.lost(); }
  // The step under way is given up. Requests go on as Scheduler::Restart says.
  void Restart();
  // After Restart, until it is OK. Pages of ranks that have lost them are forgotten.
  absl::Status Renew(std::chrono::milliseconds patience);
  // Tells the workers to leave. The last call.
  absl::Status Shutdown();

  const EngineStats& stats() const { return stats_; }
  // A copy, which is large for large models. From any thread, also during a Step.
  ExpertCounts expert_counts() const;
  const Scheduler& scheduler() const { return scheduler_; }

 private:
  class Planner;

  void Finish(PlannedStep* step);
  void MakePlan(PlannedStep* step);
  absl::StatusOr<std::vector<StepResult>> RunStep(PlannedStep* step, StepSeconds* seconds);
  void CountStep(const StepPlan& plan, const std::vector<StepResult>& results,
                 const StepSeconds& seconds);

  Executor& executor_;
  Scheduler scheduler_;
  BeamRequests beams_{scheduler_};
  EngineStats stats_;
  mutable std::mutex experts_mutex_;
  ExpertCounts experts_;  // guarded by experts_mutex_
  PlannedStep now_;
  PlannedStep next_;
  bool has_next_ = false;             // next_ was planned ahead
  std::unique_ptr<Planner> planner_;  // null: steps are planned one by one
};

}  // namespace folkmoot
