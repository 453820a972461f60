// SPDX-License-Identifier: Apache-2.0
// Who computes the steps that an Engine plans: the ranks of its own job (LocalExecutor), or an
// engine process behind a socket (launch/supervisor/remote_executor.h).
//
// On the other ranks of a job RunWorker receives, computes, answers, repeats. Workers decide
// nothing. Tensor-parallel ranks all have the same result: rank 0 needs no answer but to empty
// steps, which ask whether they are alive.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launch/model_rules.h"
#include "launch/model_runner.h"
#include "parallel/communicator.h"
#include "scheduler/step_plan.h"

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

// A plan, and its bytes for other ranks (EncodePlan) where the executor wants them.
struct PlannedStep {
  StepPlan plan;
  std::string frame;
};

// Used by one thread.
class Executor {
 public:
  virtual ~Executor() = default;

  // Life of the ranks: plans of another one are refused.
  virtual int64_t epoch() const = 0;
  virtual uint64_t placement_version() const = 0;
  virtual const ModelRules& rules() const = 0;
  virtual bool wants_frame() const = 0;

  // Computes a step on all ranks: one result per part of the plan. Adds to broadcast, model, sample
  // and gather. After an error the ranks are lost.
  virtual absl::StatusOr<std::vector<StepResult>> Run(PlannedStep& step, StepSeconds* seconds) = 0;
  // The last step: no rank waits for another one. `step.plan.shutdown` is set.
  virtual absl::Status Shutdown(PlannedStep& step) = 0;

  // Can ranks that are lost be followed by others?
  virtual bool renewable() const { return false; }
  // Are the ranks known to be lost, though no step has failed?
  virtual bool lost() const { return false; }
  // After an error of Run: may ranks have begun the step? If not, its requests are not at fault.
  virtual bool begun() const { return true; }
  // After an error of Run: waits at most `patience` for ranks that know no sequence, whose first
  // step is `first_step`. Returns the parts of the plan whose pages are empty; the others have what
  // answered steps have written to theirs. DeadlineExceeded: not yet; any other error: there will
  // be none.
  virtual absl::StatusOr<std::vector<int>> Renew(int64_t /*first_step*/,
                                                 std::chrono::milliseconds /*patience*/) {
    return FailedPrecondition("these ranks cannot be replaced");
  }
};

// Seconds since it was made or last read.
class Stopwatch {
 public:
  double Lap();

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

// On rank 0 of a job.
class LocalExecutor : public Executor {
 public:
  // All arguments must outlive the executor; `epoch` is the same on all ranks.
  LocalExecutor(Communicator& world, ModelRunner& runner, const ModelRules& rules, int64_t epoch)
      : world_(world), runner_(runner), rules_(rules), epoch_(epoch) {}

  int64_t epoch() const override { return epoch_; }
  uint64_t placement_version() const override { return runner_.placement_version(); }
  const ModelRules& rules() const override { return rules_; }
  bool wants_frame() const override { return world_.size() > 1; }
  absl::StatusOr<std::vector<StepResult>> Run(PlannedStep& step, StepSeconds* seconds) override;
  absl::Status Shutdown(PlannedStep& step) override;

 private:
  absl::StatusOr<std::vector<StepResult>> Compute(PlannedStep& step, StepSeconds* seconds);
  absl::StatusOr<std::vector<StepResult>> Gather(StepResult mine, const StepPlan& plan);

  Communicator& world_;
  ModelRunner& runner_;
  const ModelRules& rules_;
  int64_t epoch_;
};

// The loop of ranks 1 and up, from step `first`: returns when rank 0 shuts down, or with the error
// that ended the engine, which the peers have been told.
absl::Status RunWorker(Communicator& world, ModelRunner& runner, int64_t epoch, int64_t first = 0);

}  // namespace folkmoot
