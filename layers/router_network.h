// SPDX-License-Identifier: Apache-2.0
// The router of ZAYA1 (Zyphra 2025, arXiv 2511.17127), in place of one matrix: a short vector of
// the token, to which the one of the layer before is added with a weight for each number
// ("exponential depth averaging"), is handed on to the next layer, and a network of two hidden
// layers makes the experts' logits of it.
//
//   r = W_in x + b (+ scale * r of the layer before)
//   logits = W_out gelu(W_2 gelu(W_1 norm(r) + b_1) + b_2)
//
// Small beside the rest: every rank that shares matrices has all of it, so nothing travels. As
// other routers, its matrices are not rounded.
#pragma once

#include <vector>

#include "layers/layer_context.h"
#include "layers/layer_names.h"
#include "layers/norm.h"
#include "layers/weight_loader.h"
#include "runtime/model_config.h"

namespace folkmoot {

class RouterNetwork {
 public:
  static absl::StatusOr<RouterNetwork> Load(ThreadPool& pool, WeightLoader& loader,
                                            const ModelConfig& config, const LayerConfig& kind,
                                            const RouterNames& names);

  // x [T, H]; `carried` [T, R] has the vectors r of the layer before, unless
  // LayerConfig::carried_router says that there is none, and those of this one afterwards. logits
  // [T, outputs].
  void Route(LayerContext& ctx, ConstMatrix x, Matrix carried, Matrix logits) const;

 private:
  // act(W x + b).
  struct Hidden {
    GatedFfnWeights weights;  // a network without a gate, of which the first half is used
    std::vector<float> bias;
  };
  static absl::StatusOr<Hidden> LoadHidden(ThreadPool& pool, WeightLoader& loader, int64_t width,
                                           const std::string& module);

  PackedMatrix in_;  // [R, H]
  std::vector<float> in_bias_;
  std::vector<float> carried_scale_;  // [R] or empty
  Norm norm_;
  Hidden first_, second_;  // [R, R]
  PackedMatrix out_;       // [outputs, R]
};

}  // namespace folkmoot
