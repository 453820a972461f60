// SPDX-License-Identifier: Apache-2.0
// A small model that guesses what the large one will write (SpeculationMethod::kDraftModel). Each
// rank has a whole copy, experts included, and asks it about its own sequences (tensor-parallel
// ranks all about all): no rank waits for another. It draws with the random numbers that the large
// model will draw with, so that two models of one mind choose the same token also when they sample.
//
// Its keys and values lie in pages of the same numbers as the large model's. Where the large model
// has computed a full page, this one has too, so pages of a shared prefix serve both.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "launch/sequence_state.h"
#include "launch/weight_source.h"
#include "layers/models/model.h"
#include "runtime/sampler.h"

namespace folkmoot {

struct DraftModelOptions {
  std::string directory;
  DType cache_dtype = DType::kF32;  // of keys and values
  WeightOptions weights;
  std::optional<uint64_t> dummy_seed;
  int64_t context = 0;  // tokens that a sequence may have
};

// One sequence in a step of the large model.
struct DraftTask {
  SequenceState* state = nullptr;
  int64_t end = 0;     // behind the rows of the step that are no guesses
  int64_t drafts = 0;  // guesses wanted, into state->draft
};

class DraftModel {
 public:
  // Nothing of it is collective. `target`, in directory `target_directory`, is the large model:
  // InvalidArgument when the two do not speak the same tokens, or the small one's context is
  // shorter. `pool` must outlive the result.
  static absl::StatusOr<std::unique_ptr<DraftModel>> Load(const DraftModelOptions& options,
                                                          const ModelConfig& target,
                                                          const std::string& target_directory,
                                                          ThreadPool& pool);

  // For ranks to compare.
  const WeightSource& weights() const { return *weights_; }
  int64_t CacheBytesPerBlock(int64_t block_size) const {
    return model_->CacheBytesPerBlock(block_size);
  }
  absl::Status MakeCache(const CachePages& pages) { return model_->MakeCache(pages); }

  // Before the large model computes the step: every sequence of the rank has a task. Updates
  // state->drafted, how far this model has come.
  absl::Status Draft(std::span<const DraftTask> tasks);

 private:
  DraftModel() = default;
  // Adds rows of the sequence up to position `end`; with `guess`, the next token is wanted.
  void AddRows(const DraftTask& task, int64_t end, bool guess);
  absl::Status Forward();
  int32_t Choose(const SequenceState& state, std::span<const float> logits);

  // Destroyed from the bottom up.
  ThreadPool* pool_ = nullptr;
  std::unique_ptr<Communicator> alone_;
  ExpertPlacement placement_ = ExpertPlacement::Contiguous(0, 1);
  std::optional<WeightSource> weights_;
  std::unique_ptr<WeightLoader> loader_;
  std::unique_ptr<Model> model_;
  Workspace workspace_;
  Sampler sampler_;
  SamplingParams params_;

  // Of the round under way.
  ForwardBatch batch_;
  std::vector<SequenceState*> guessing_;  // whose rows are batch_.logit_rows
};

}  // namespace folkmoot
