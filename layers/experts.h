// SPDX-License-Identifier: Apache-2.0
// The routed experts that live on this rank.
#pragma once

#include <string>
#include <vector>

#include "layers/layer_context.h"
#include "layers/weight_loader.h"
#include "parallel/dispatcher.h"
#include "parallel/expert_placement.h"
#include "runtime/ops/gemm.h"

namespace folkmoot {

// Where a family keeps its experts on disk. The packed layout is used when its tensors exist.
struct ExpertNames {
  // One tensor per expert: prefix + "experts.5." + gate etc.
  std::string prefix;  // "model.layers.3.mlp."
  std::string gate;    // "gate_proj.weight"
  std::string up;
  std::string down;
  // All experts in one tensor: [E, 2I, H], gate rows first, and [E, H, I].
  std::string packed_gate_up;  // full name
  std::string packed_down;
};

// Where the three matrices of one expert are stored.
struct ExpertTensors {
  TensorRef gate, up, down;
};
ExpertTensors TensorsOfExpert(const ExpertNames& names, bool packed, int expert, int experts,
                              int64_t hidden, int64_t intermediate);

class Experts {
 public:
  // Reads the experts that `placement` gives to `rank`, in slot order.
  static absl::StatusOr<Experts> Load(ThreadPool& pool, WeightLoader& loader,
                                      const ExpertNames& names, const ExpertPlacement& placement,
                                      int rank, int64_t hidden, int64_t intermediate,
                                      Activation activation);

  // out [R, H] in the batch's order.
  void Forward(LayerContext& ctx, const ExpertBatch& batch, Matrix out) const;

 private:
  Experts() = default;

  int64_t intermediate_ = 0;
  Activation activation_ = Activation::kSilu;
  std::vector<GatedFfnWeights> weights_;          // by local slot
  std::vector<const GatedFfnWeights*> pointers_;  // into weights_
};

}  // namespace folkmoot
