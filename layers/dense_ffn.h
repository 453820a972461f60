// SPDX-License-Identifier: Apache-2.0
// One feed-forward network, down(act(gate x) * up x) or, without a gate, down(act(up x)): dense
// layers and shared experts. Over several ranks of `columns` each has some columns of both
// products.
#pragma once

#include <string>
#include <vector>

#include "layers/column_splits.h"
#include "layers/layer_context.h"
#include "layers/layer_names.h"
#include "layers/weight_loader.h"
#include "parallel/column_exchange.h"
#include "runtime/ops/gemm.h"

namespace folkmoot {

// {gate,up,down}_proj.weight behind "model.layers.3.mlp.".
GatedFfnTensors TensorsOf(const std::string& prefix, int64_t hidden, int64_t intermediate);
// Of two tensors: gate and then up rows, or both in turn, [2I, H], and [H, I].
GatedFfnTensors FusedTensorsOf(const std::string& gate_up, const std::string& down, int64_t hidden,
                               int64_t intermediate, bool taking_turns = false);

// Of a dense layer: by LayerNames::dense_prefix or the names in its place.
GatedFfnTensors TensorsOfDense(const LayerNames& names, int64_t hidden, int64_t intermediate);

// This rank's part of the bias beside a matrix: "x.bias" beside "x.weight", divided as its outputs.
absl::StatusOr<std::vector<float>> LoadBiasOf(WeightLoader& loader, const TensorRef& matrix,
                                              const ColumnSplit& outputs, int rank);

// This rank's part of one network. The bias stays as it is.
absl::Status LoadGatedFfn(ThreadPool& pool, WeightLoader& loader, const GatedFfnTensors& tensors,
                          const ColumnExchange& columns, GatedFfnWeights* weights);

// GatedFfnWeights::limit where a layer has `own`, LayerConfig::expert_limit or dense_limit.
float FfnLimit(const ModelConfig& config, float own);

class DenseFfn {
 public:
  // `limit` is that of GatedFfnWeights. `biased`: each matrix has a bias beside it. `columns` must
  // outlive the network.
  static absl::StatusOr<DenseFfn> Load(ThreadPool& pool, WeightLoader& loader,
                                       const GatedFfnTensors& tensors, Activation activation,
                                       float limit, bool biased, ColumnExchange& columns);

  // x [T, H]. Returns [T, H], which lives as matrices of ColumnExchange do. Collective over its
  // ranks; `layer` is for the names of waits.
  absl::StatusOr<Matrix> Forward(LayerContext& ctx, ConstMatrix x, int layer) const;

  // The same in two halves, with a Gather of the exchange between them: Hidden takes and computes
  // this rank's columns of [T, I], Down this rank's columns of the result.
  Matrix Hidden(LayerContext& ctx, ConstMatrix x) const;
  void Down(LayerContext& ctx, ConstMatrix hidden, Matrix mine) const;

 private:
  explicit DenseFfn(ColumnExchange& columns) : columns_(&columns) {}

  ColumnExchange* columns_;
  ColumnSplit hidden_;
  ColumnSplit output_;
  Activation activation_ = Activation::kSilu;
  GatedFfnWeights weights_;  // its bias spans view the vectors below, whose memory moves along
  std::vector<float> gate_bias_, up_bias_, down_bias_;
};

}  // namespace folkmoot
