// SPDX-License-Identifier: Apache-2.0
// The routed experts that live on this rank, or this rank's columns of them.
#pragma once

#include <string>
#include <vector>

#include "layers/dense_ffn.h"
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
  bool always_packed = false;  // published only so; dummy weights are one per expert all the same
};

GatedFfnTensors TensorsOfExpert(const ExpertNames& names, bool packed, int expert, int experts,
                                int64_t hidden, int64_t intermediate);

class Experts {
 public:
  // Reads the experts that `placement` gives to `rank`, in slot order, and of each the columns that
  // this rank of `columns` computes. `columns` must outlive the experts.
  static absl::StatusOr<Experts> Load(ThreadPool& pool, WeightLoader& loader,
                                      const ExpertNames& names, const ExpertPlacement& placement,
                                      int rank, int64_t hidden, int64_t intermediate,
                                      Activation activation, ColumnExchange& columns);

  // In two halves, with a Gather of the exchange between them: Hidden takes and computes this
  // rank's columns of [R, I], Down this rank's columns of the result. Rows in the batch's order.
  Matrix Hidden(LayerContext& ctx, const ExpertBatch& batch) const;
  void Down(LayerContext& ctx, const ExpertBatch& batch, ConstMatrix hidden, Matrix mine) const;

 private:
  explicit Experts(ColumnExchange& columns) : columns_(&columns) {}

  ColumnExchange* columns_;
  ColumnSplit hidden_;
  Activation activation_ = Activation::kSilu;
  std::vector<GatedFfnWeights> weights_;          // by local slot
  std::vector<const GatedFfnWeights*> pointers_;  // into weights_
};

}  // namespace folkmoot
