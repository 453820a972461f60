// SPDX-License-Identifier: Apache-2.0
// Watches one forward pass on one rank and keeps, for each sequence: choices lost, routing traces,
// digests, and whether its router logits were numbers. What it saw of slices with guesses counts
// row by row, when it is known that a row does.
#pragma once

#include <cstdint>
#include <vector>

#include "launch/sequence_state.h"
#include "layers/forward_batch.h"
#include "layers/layer_context.h"
#include "runtime/model_config.h"
#include "scheduler/step_plan.h"

namespace folkmoot {

// A slice that is computed: rows of the batch, with all that belongs to them.
struct ActiveSlice {
  const SequenceSlice* slice = nullptr;
  SequenceState* state = nullptr;
  size_t result = 0;      // index in StepResult::sequences
  int64_t first_row = 0;  // in the batch
  int64_t first_logit = 0;
  int64_t first_guessed = 0;  // with guesses: among the rows of such slices
  int64_t given = 1;          // results so far; with guesses
};

class StepRecorder : public ForwardObserver {
 public:
  // `slices`, `pages`, `memory` and `result` must outlive the recorder; result->sequences has its
  // final size. `memory` is for the rows of slices with guesses.
  StepRecorder(const std::vector<ActiveSlice>& slices, int64_t moe_layers,
               const ModelConfig& config, PageLedger& pages, Workspace& memory, StepResult& result);

  void OnRouting(int layer, const Routing& routing) override;
  void OnNoRouting(int layer) override;
  bool WantsLayerOutput() const override { return digests_wanted_; }
  void OnLayerOutput(int layer, ConstMatrix hidden) override;

  // After the forward pass: row `row` of a slice with guesses counts, and those before it do.
  // Brings its sequence up to date. Slices may be accepted by several threads, each by one.
  void Accept(const ActiveSlice& active, int64_t row, SequenceResult* result);
  // Adds the experts of the rows that were accepted to the step's result.
  void CountAccepted();

 private:
  // Rows first .. first + count of a routing that belong to a sequence from `position` on.
  struct Rows {
    const Routing& routing;
    int64_t first = 0;
    int64_t count = 0;
    int64_t position = 0;
  };
  // The routing of all rows of slices with guesses in one MoE layer.
  struct Kept {
    int layer = 0;
    Routing routing;
  };
  // Does the layer compute this position? Encoders compute sources, decoders the rest.
  bool Computes(int layer, const ActiveSlice& active, int64_t position) const {
    return (layer < encoder_layers_) == (position < active.state->start.source);
  }
  void Keep(int layer, const Routing& routing);
  void CheckFinite(const ActiveSlice& active, int layer, const Rows& rows) const;
  // One token of a sequence in one MoE layer.
  void CountLost(const ActiveSlice& active, size_t moe_layer, int64_t row, int64_t position,
                 const Routing& routing);
  void CountNothing(const ActiveSlice& active, int64_t position);
  void CountExperts(size_t moe_layer, int64_t row, const Routing& routing);
  RoutingTrace Trace(const ActiveSlice& active, int layer, const Rows& rows) const;

  const std::vector<ActiveSlice>& slices_;
  PageLedger& pages_;
  StepResult& result_;
  int encoder_layers_;
  size_t experts_;
  size_t outputs_;        // of the router: with the experts that do nothing
  size_t moe_layer_ = 0;  // of the next OnRouting
  // Layers that run again (LoopConfig) do so before others that stand before them: there all layers
  // have experts, and their numbers say which of these it is.
  bool loops_ = false;
  bool digests_wanted_ = false;
  Workspace& memory_;
  int64_t guessed_rows_ = 0;
  std::vector<Kept> kept_;                         // by MoE layer
  std::vector<std::span<uint64_t>> kept_digests_;  // by layer, [guessed rows]
};

}  // namespace folkmoot
