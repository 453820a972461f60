// SPDX-License-Identifier: Apache-2.0
// The loop that turns requests into tokens. Rank 0 owns the Engine: it schedules, broadcasts each
// plan, computes its own share and gathers the results. The other ranks run RunWorker: receive,
// compute, answer, repeat. Workers decide nothing. Tensor-parallel ranks all have the same result:
// rank 0 needs no answer but to empty steps, which ask whether they are alive.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "launch/beam_requests.h"
#include "launch/model_runner.h"
#include "parallel/communicator.h"
#include "scheduler/scheduler.h"

namespace folkmoot {

// Where the time of steps goes on rank 0, in seconds.
struct StepSeconds {
  double plan = 0;       // scheduling and encoding, as far as a step waits for them
  double broadcast = 0;  // of the plan
  double model = 0;      // forward passes, exchanges between ranks included
  double sample = 0;     // log-probabilities and sampling
  double gather = 0;     // waiting for the other ranks' results, and decoding them
  double update = 0;     // results to events, and their delivery
  double total = 0;      // of whole steps
};

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
  // On rank 0 only. `world` and `runner` must outlive the engine; `epoch` is the same on all ranks.
  // Where the options do not say which gates may share pages, the model does. With
  // options.plan_ahead a second thread plans a step while the one before it is computed.
  Engine(const SchedulerOptions& options, Communicator& world, ModelRunner& runner, int64_t epoch);
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
  // all ranks are alive. Events are delivered before it returns. After an error the engine is dead.
  absl::Status Step(absl::FunctionRef<void(const RequestEvent&)> on_event);
  // Steps until nothing is left to do.
  absl::Status Drain(absl::FunctionRef<void(const RequestEvent&)> on_event);
  // Tells the workers to leave. The last call.
  absl::Status Shutdown();

  const EngineStats& stats() const { return stats_; }
  // A copy, which is large for large models. From any thread, also during a Step.
  ExpertCounts expert_counts() const;
  const Scheduler& scheduler() const { return scheduler_; }

 private:
  // A plan and its bytes for the other ranks.
  struct Planned {
    StepPlan plan;
    std::string frame;
  };
  class Planner;

  // What of a request this model cannot do.
  absl::Status CheckForModel(const Request& request) const;
  void MakePlan(Planned* planned);
  absl::StatusOr<std::vector<StepResult>> RunStep(Planned* planned, StepSeconds* seconds);
  absl::StatusOr<std::vector<StepResult>> Gather(StepResult mine, const StepPlan& plan);
  void CountStep(const StepPlan& plan, const std::vector<StepResult>& results,
                 const StepSeconds& seconds);

  Communicator& world_;
  ModelRunner& runner_;
  Scheduler scheduler_;
  BeamRequests beams_{scheduler_};
  int64_t epoch_;
  EngineStats stats_;
  mutable std::mutex experts_mutex_;
  ExpertCounts experts_;  // guarded by experts_mutex_
  Planned now_;
  Planned next_;
  bool has_next_ = false;             // next_ was planned ahead
  std::unique_ptr<Planner> planner_;  // null: steps are planned one by one
};

// The loop of ranks 1 and up: returns when rank 0 shuts down, or with the error that ended the
// engine, which the peers have been told.
absl::Status RunWorker(Communicator& world, ModelRunner& runner, int64_t epoch);

}  // namespace folkmoot
