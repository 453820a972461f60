// SPDX-License-Identifier: Apache-2.0
#include "layers/router_network.h"

#include <algorithm>
#include <array>

namespace folkmoot {

absl::StatusOr<RouterNetwork> RouterNetwork::Load(ThreadPool& pool, WeightLoader& loader,
                                                  const ModelConfig& config,
                                                  const LayerConfig& kind,
                                                  const RouterNames& names) {
  RouterNetwork network;
  const int64_t width = config.moe.router_hidden;
  FM_ASSIGN_OR_RETURN(
      network.in_,
      loader.Pack(pool,
                  {.name = names.in + ".weight", .n = width, .k = config.hidden, .exact = true}));
  FM_ASSIGN_OR_RETURN(network.in_bias_, loader.Vector(names.in + ".bias", width));
  if (kind.carried_router) {
    FM_ASSIGN_OR_RETURN(network.carried_scale_, loader.Vector(names.carried, width));
  }
  FM_ASSIGN_OR_RETURN(network.norm_, Norm::Load(loader, config, names.norm, width));
  FM_ASSIGN_OR_RETURN(network.first_, LoadHidden(pool, loader, width, names.first));
  FM_ASSIGN_OR_RETURN(network.second_, LoadHidden(pool, loader, width, names.second));
  FM_ASSIGN_OR_RETURN(network.out_, loader.Pack(pool, {.name = names.out + ".weight",
                                                       .n = config.moe.outputs(),
                                                       .k = width,
                                                       .exact = true}));
  return network;
}

absl::StatusOr<RouterNetwork::Hidden> RouterNetwork::LoadHidden(ThreadPool& pool,
                                                                WeightLoader& loader, int64_t width,
                                                                const std::string& module) {
  Hidden hidden;
  hidden.weights.gated = false;
  FM_ASSIGN_OR_RETURN(
      hidden.weights.gate_up,
      loader.Pack(pool, {.name = module + ".weight", .n = width, .k = width, .exact = true}));
  FM_ASSIGN_OR_RETURN(hidden.bias, loader.Vector(module + ".bias", width));
  hidden.weights.gate_bias = hidden.bias;
  return hidden;
}

void RouterNetwork::Route(LayerContext& ctx, ConstMatrix x, Matrix carried, Matrix logits) const {
  const Workspace::Position mark = ctx.workspace.Mark();
  const Matrix own = ctx.workspace.GetMatrix(x.rows, carried.cols);
  Gemm(ctx.pool, x, in_, in_bias_, ctx.workspace, own);
  if (!carried_scale_.empty()) {
    ShiftScale(ctx.pool, carried, {}, carried_scale_, carried);
    Add(ctx.pool, carried, own);
  }
  for (int64_t t = 0; t < own.rows; ++t) std::copy_n(own.Row(t), own.cols, carried.Row(t));
  const Matrix normed = ctx.workspace.GetMatrix(x.rows, carried.cols);
  norm_.Apply(ctx, own, normed);
  const std::array<int64_t, 2> all = {0, x.rows};
  const auto apply = [&](const Hidden& hidden, ConstMatrix from, Matrix to) {
    const GatedFfnWeights* const weights = &hidden.weights;
    GroupedGateUp(ctx.pool, {&weights, 1}, all, Activation::kGelu, from, ctx.workspace, to);
  };
  apply(first_, normed, own);
  apply(second_, own, normed);
  Gemm(ctx.pool, normed, out_, {}, ctx.workspace, logits);
  ctx.workspace.Release(mark);
}

}  // namespace folkmoot
