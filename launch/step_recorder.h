// SPDX-License-Identifier: Apache-2.0
// Watches one forward pass on one rank and keeps, for each sequence: choices lost, routing traces,
// digests, and whether its router logits were numbers.
#pragma once

#include <cstdint>
#include <vector>

#include "launch/sequence_state.h"
#include "layers/forward_batch.h"
#include "layers/layer_context.h"
#include "scheduler/step_plan.h"

namespace folkmoot {

// A slice that is computed: rows of the batch, with all that belongs to them.
struct ActiveSlice {
  const SequenceSlice* slice = nullptr;
  SequenceState* state = nullptr;
  size_t result = 0;      // index in StepResult::sequences
  int64_t first_row = 0;  // in the batch
  int64_t first_logit = 0;
};

class StepRecorder : public ForwardObserver {
 public:
  // `slices`, `pages` and `result` must outlive the recorder; result->sequences has its final size.
  StepRecorder(const std::vector<ActiveSlice>& slices, int64_t moe_layers, int64_t experts,
               PageLedger& pages, StepResult& result);

  void OnRouting(int layer, const Routing& routing) override;
  bool WantsLayerOutput() const override { return digests_wanted_; }
  void OnLayerOutput(int layer, ConstMatrix hidden) override;

 private:
  // One token of a sequence in one MoE layer.
  void Count(const ActiveSlice& active, int64_t row, int64_t position, const Routing& routing);
  RoutingTrace Trace(const ActiveSlice& active, int layer, const Routing& routing) const;

  const std::vector<ActiveSlice>& slices_;
  PageLedger& pages_;
  StepResult& result_;
  size_t experts_;
  size_t moe_layer_ = 0;  // of the next OnRouting
  bool digests_wanted_ = false;
};

}  // namespace folkmoot
