// SPDX-License-Identifier: Apache-2.0
// The routed experts that live on this rank, or this rank's columns of them.
#pragma once

#include <string>
#include <vector>

#include "layers/dense_ffn.h"
#include "layers/layer_context.h"
#include "layers/layer_names.h"
#include "layers/weight_loader.h"
#include "parallel/dispatcher.h"
#include "parallel/expert_placement.h"
#include "runtime/ops/gemm.h"

namespace folkmoot {

// How one checkpoint stores its experts: packed as their names say, or packed but not transposed,
// whatever they say, as codes are.
enum class ExpertLayout : uint8_t { kOneByOne, kPacked, kPackedRows };
ExpertLayout LayoutOf(const ExpertNames& names, const WeightLoader& loader);

GatedFfnTensors TensorsOfExpert(const ExpertNames& names, ExpertLayout layout, int expert,
                                int experts, int64_t hidden, int64_t intermediate);

class Experts {
 public:
  // Reads the experts that `placement` gives to `rank`, in slot order, and of each the columns that
  // this rank of `columns` computes. `columns` must outlive the experts.
  static absl::StatusOr<Experts> Load(ThreadPool& pool, WeightLoader& loader,
                                      const ModelConfig& config, const LayerConfig& kind,
                                      const ExpertNames& names, const ExpertPlacement& placement,
                                      int rank, ColumnExchange& columns);

  // In two halves, with a Gather of the exchange between them: Hidden takes and computes this
  // rank's columns of [R, I], Down this rank's columns of the result. Rows in the batch's order.
  Matrix Hidden(LayerContext& ctx, const ExpertBatch& batch) const;
  void Down(LayerContext& ctx, const ExpertBatch& batch, ConstMatrix hidden, Matrix mine) const;

 private:
  explicit Experts(ColumnExchange& columns) : columns_(&columns) {}
  absl::Status LoadBiases(WeightLoader& loader, const ModelConfig& config, const ExpertNames& names,
                          int expert);
  // Of networks without a gate, one by one.
  absl::Status LoadOwnBiases(WeightLoader& loader, const GatedFfnTensors& tensors);

  ColumnExchange* columns_;
  ColumnSplit hidden_;
  Activation activation_ = Activation::kSilu;
  ColumnSplit output_;
  std::vector<GatedFfnWeights> weights_;  // by local slot; its bias spans view biases_
  std::vector<std::vector<float>> biases_;
  std::vector<const GatedFfnWeights*> pointers_;  // into weights_
};

}  // namespace folkmoot
