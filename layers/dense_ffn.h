// SPDX-License-Identifier: Apache-2.0
// One gated feed-forward network, down(act(gate x) * up x): dense layers and shared experts.
#pragma once

#include <string>
#include <vector>

#include "layers/layer_context.h"
#include "layers/weight_loader.h"
#include "runtime/ops/gemm.h"

namespace folkmoot {

class DenseFfn {
 public:
  // `prefix` is "model.layers.3.mlp." and holds {gate,up,down}_proj.
  static absl::StatusOr<DenseFfn> Load(ThreadPool& pool, WeightLoader& loader,
                                       const std::string& prefix, int64_t hidden,
                                       int64_t intermediate, Activation activation, bool bias);

  // x, out [T, H], not overlapping.
  void Forward(LayerContext& ctx, ConstMatrix x, Matrix out) const;

 private:
  DenseFfn() = default;

  int64_t intermediate_ = 0;
  Activation activation_ = Activation::kSilu;
  GatedFfnWeights weights_;  // its bias spans view the vectors below, whose memory moves along
  std::vector<float> gate_bias_, up_bias_, down_bias_;
};

}  // namespace folkmoot
