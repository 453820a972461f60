// SPDX-License-Identifier: Apache-2.0
// The loop that turns requests into tokens. Rank 0 owns the Engine: it schedules, broadcasts each
// plan, computes its own share and gathers the results. The other ranks run RunWorker: receive,
// compute, answer, repeat. Workers decide nothing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "launch/model_runner.h"
#include "parallel/communicator.h"
#include "scheduler/scheduler.h"

namespace folkmoot {

// Sums over all steps so far.
struct EngineStats {
  int64_t steps = 0;
  int64_t tokens = 0;                  // computed, prompt and output
  std::vector<int64_t> expert_tokens;  // [MoE layers, E] kept choices over all ranks
};

class Engine {
 public:
  // On rank 0 only. `world` and `runner` must outlive the engine; `epoch` is the same on all ranks.
  Engine(const SchedulerOptions& options, Communicator& world, ModelRunner& runner, int64_t epoch);

  absl::StatusOr<int64_t> Submit(Request request) { return scheduler_.Add(std::move(request)); }
  void Abort(int64_t id) { scheduler_.Abort(id); }
  bool idle() const { return scheduler_.idle(); }

  // One step over all ranks. Events are delivered before it returns. After an error the engine is
  // dead.
  absl::Status Step(absl::FunctionRef<void(const RequestEvent&)> on_event);
  // Steps until nothing is left to do.
  absl::Status Drain(absl::FunctionRef<void(const RequestEvent&)> on_event);
  // Tells the workers to leave. The last call.
  absl::Status Shutdown();

  const EngineStats& stats() const { return stats_; }

 private:
  absl::StatusOr<std::vector<StepResult>> RunStep(const StepPlan& plan);

  Communicator& world_;
  ModelRunner& runner_;
  Scheduler scheduler_;
  int64_t epoch_;
  EngineStats stats_;
  std::string frame_;
};

// The loop of ranks 1 and up: returns when rank 0 shuts down, or with the error that ended the
// engine, which the peers have been told.
absl::Status RunWorker(Communicator& world, ModelRunner& runner, int64_t epoch);

}  // namespace folkmoot
