// SPDX-License-Identifier: Apache-2.0
#include "layers/dense_ffn.h"

#include <array>

namespace folkmoot {

absl::StatusOr<DenseFfn> DenseFfn::Load(ThreadPool& pool, WeightLoader& loader,
                                        const std::string& prefix, int64_t hidden,
                                        int64_t intermediate, Activation activation, bool bias) {
  DenseFfn ffn;
  ffn.intermediate_ = intermediate;
  ffn.activation_ = activation;
  const TensorRef gate = {.name = prefix + "gate_proj.weight", .n = intermediate, .k = hidden};
  const TensorRef up = {.name = prefix + "up_proj.weight", .n = intermediate, .k = hidden};
  const TensorRef down = {.name = prefix + "down_proj.weight", .n = hidden, .k = intermediate};
  FM_ASSIGN_OR_RETURN(ffn.weights_.gate_up, loader.PackGateUp(pool, gate, up));
  FM_ASSIGN_OR_RETURN(ffn.weights_.down, loader.Pack(pool, down));
  if (bias) {
    FM_ASSIGN_OR_RETURN(ffn.gate_bias_, loader.Vector(prefix + "gate_proj.bias", intermediate));
    FM_ASSIGN_OR_RETURN(ffn.up_bias_, loader.Vector(prefix + "up_proj.bias", intermediate));
    FM_ASSIGN_OR_RETURN(ffn.down_bias_, loader.Vector(prefix + "down_proj.bias", hidden));
    ffn.weights_.gate_bias = ffn.gate_bias_;
    ffn.weights_.up_bias = ffn.up_bias_;
    ffn.weights_.down_bias = ffn.down_bias_;
  }
  return ffn;
}

void DenseFfn::Forward(LayerContext& ctx, ConstMatrix x, Matrix out) const {
  const Workspace::Position mark = ctx.workspace.Mark();
  const Matrix hidden = ctx.workspace.GetMatrix(x.rows, intermediate_);
  const std::array<const GatedFfnWeights*, 1> experts = {&weights_};
  const std::array<int64_t, 2> offsets = {0, x.rows};
  GroupedGatedFfn(ctx.pool, experts, offsets, activation_, x, ctx.workspace, hidden, out);
  ctx.workspace.Release(mark);
}

}  // namespace folkmoot
