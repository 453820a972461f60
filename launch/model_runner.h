// SPDX-License-Identifier: Apache-2.0
// Carries out a step on one rank: the only place that knows both the scheduler's plan and the
// layers' batch.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "layers/models/model.h"
#include "runtime/sampler.h"
#include "scheduler/step_plan.h"

namespace folkmoot {

class ModelRunner {
 public:
  // All arguments must outlive the runner.
  ModelRunner(Model& model, KvCache& cache, ThreadPool& pool, Communicator& experts);

  // Computes plan.ranks[rank of `experts`]. Collective over the experts' communicator. An error
  // ends the engine; what is wrong with one sequence only is in its result.
  absl::StatusOr<StepResult> Run(const StepPlan& plan);

  const Workspace& workspace() const { return workspace_; }

 private:
  // What a rank keeps of a sequence between steps, besides keys and values.
  struct SequenceState {
    uint64_t stream = 0;                 // hash of the tokens so far
    std::vector<int32_t> expert_places;  // [MoE layers, E], sequence_chunk capacity
    std::vector<uint64_t> digests;       // [layers]
  };
  class Recorder;

  absl::Status Prepare(const std::vector<SequenceSlice>& slices);
  void Read(const SequenceSlice& slice, ConstMatrix logits, int64_t* row, SequenceResult* result);

  Model& model_;
  KvCache& cache_;
  ThreadPool& pool_;
  Communicator& experts_;
  Workspace workspace_;
  ForwardBatch batch_;
  Sampler sampler_;
  std::map<int64_t, SequenceState> states_;
};

}  // namespace folkmoot
