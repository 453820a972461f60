// SPDX-License-Identifier: Apache-2.0
// Carries out steps on one rank: the only place that knows both the scheduler's plan and the
// layers' batch. Keeps what a rank must remember of its sequences from step to step.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "launch/draft_model.h"
#include "launch/sequence_state.h"
#include "launch/step_recorder.h"
#include "layers/models/model.h"
#include "runtime/sampler.h"
#include "scheduler/step_plan.h"

namespace folkmoot {

class ModelRunner {
 public:
  // All arguments must outlive the runner. The model has its cache. `draft`, which has its cache
  // too, makes the guesses that plans leave to the ranks; null: there are none.
  ModelRunner(Model& model, ThreadPool& pool, Communicator& experts, DraftModel* draft = nullptr);

  // Computes plan.ranks[rank of `experts`], which tensor-parallel ranks all do: one result per
  // slice, in their order; of a slice with guesses one for each token that it gives. Collective
  // over the experts' communicator unless no rank has a slice. An error ends the engine: DataLoss
  // when the plan does not fit what this rank holds, with the sequence and the reason. What is
  // wrong with one sequence only is in its result; later slices of it are answered with the same
  // error.
  // ResourceExhausted: memory for the step cannot be had.
  absl::StatusOr<StepResult> Run(const StepPlan& plan);

  // A step has failed, and the communicator works again: sequences are as if they had never begun.
  // What earlier steps have written to pages stays, for sequences that begin with cached pages.
  void Forget();

  // Into how many parts a plan is divided: one per rank, or one for all tensor-parallel ranks.
  int plan_parts() const { return experts_.size(); }
  uint64_t placement_version() const { return model_.placement_version(); }
  const Workspace& workspace() const { return workspace_; }
  // Slots of recurrent state that no sequence has.
  int64_t free_slots() const { return std::ssize(free_slots_); }
  // Of the last Run.
  double model_seconds() const { return model_seconds_; }
  double sample_seconds() const { return sample_seconds_; }

 private:
  absl::StatusOr<StepResult> Compute(const StepPlan& plan);
  absl::Status SelectGates(const std::vector<std::string>& gates);
  absl::Status CheckStart(const SequenceStart& start) const;
  absl::Status Begin(const SequenceStart& start);
  void FreeSlots();
  // Copies of the state behind slices that a plan asks for.
  void WriteSnapshots();
  absl::Status TakeSlot(SequenceState* state);
  void Forget(int64_t id);
  absl::Status BindGate(SequenceState* state);
  absl::Status CheckSlice(const SequenceSlice& slice, int64_t step,
                          const SequenceState& state) const;
  absl::Status CheckGuesses(const SequenceSlice& slice, const SequenceState& state) const;
  absl::Status Activate(const StepPlan& plan, const RankPlan& mine, StepResult* result);
  absl::Status Draft();
  static void BeginGuesses(SequenceState* state);
  absl::Status Prepare(const StepPlan& plan);
  absl::Status AddSequence(const StepPlan& plan, const ActiveSlice& active);
  void AddRows(const ActiveSlice& active);
  void SetPageEnds();
  bool WantsTarget(const SequenceState& state, int64_t position) const;

  // model_runner_read.cc
  void ReadAll(ConstMatrix logits, StepRecorder& recorder, StepResult* result);
  void Verify(ConstMatrix logits, Sampler& sampler, StepRecorder& recorder,
              std::span<SequenceResult> results, ActiveSlice* active);
  void ReadLogits(const ActiveSlice& active, int64_t row, int64_t at, ConstMatrix logits,
                  Sampler& sampler, SequenceResult* result);
  void Read(const ActiveSlice& active, ConstMatrix logits, Sampler& sampler,
            SequenceResult* result);
  // Adds the slice's rows to the prompt's embedding, which is in the result of its last row.
  void Pool(const ActiveSlice& active, SequenceResult* result);
  // Row `row` of the slice; whether its logits were finite numbers.
  bool ReadRow(const ActiveSlice& active, int64_t row, std::span<const float> logits,
               Sampler& sampler, SequenceResult* result);
  static bool TakeChosen(const ChosenToken& chosen, SequenceState* state, SequenceResult* result);
  void Sample(const ActiveSlice& active, std::span<const float> logits, double log_sum_exp,
              Sampler& sampler, SequenceResult* result);
  static void Append(int32_t token, SequenceState* state, SequenceResult* result);

  Model& model_;
  DraftModel* draft_;
  ThreadPool& pool_;
  Communicator& experts_;
  Workspace workspace_;
  Workspace guessed_memory_;  // of the step's recorder
  PageLedger pages_;
  absl::flat_hash_map<int64_t, std::unique_ptr<SequenceState>> states_;
  std::vector<int32_t> free_slots_;
  std::vector<Sampler> samplers_;  // by thread

  // Of the step under way.
  ForwardBatch batch_;
  std::vector<ActiveSlice> active_;
  std::vector<DraftTask> draft_tasks_;
  std::vector<std::shared_ptr<const Gate>> gates_;
  std::vector<int32_t*> page_ends_;
  std::vector<size_t> page_ends_begin_;  // by active slice, and the end
  double model_seconds_ = 0;
  double sample_seconds_ = 0;
};

}  // namespace folkmoot
