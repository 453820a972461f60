// SPDX-License-Identifier: Apache-2.0
#include "layers/stream_gate.h"

#include <algorithm>
#include <array>

#include "runtime/exact_math.h"
#include "runtime/ops/norm.h"

namespace folkmoot {

absl::StatusOr<StreamGate> StreamGate::Load(ThreadPool& pool, WeightLoader& loader,
                                            const ModelConfig& config, const HyperNames& names,
                                            bool injects) {
  StreamGate gate;
  const int64_t n = config.hyper.streams;
  const int64_t width = n * config.hidden;
  const int64_t rank = config.hyper.gate_rank;
  FM_ASSIGN_OR_RETURN(gate.norm_, StreamNorm::Load(loader, config, names.norm, n, config.hidden));
  // All that reads y divides by n, and a mean is a sum of such parts.
  gate.norm_.MultiplyWeights(1.0f / static_cast<float>(n));
  gate.gates_.gated = false;
  FM_ASSIGN_OR_RETURN(gate.gates_.gate_up,
                      loader.Pack(pool, {.name = names.down + ".weight", .n = rank, .k = width}));
  FM_ASSIGN_OR_RETURN(gate.gates_.down,
                      loader.Pack(pool, {.name = names.up + ".weight", .n = width, .k = rank}));
  if (!injects) return gate;
  // Not rounded, as routers are not.
  FM_ASSIGN_OR_RETURN(
      gate.inject_,
      loader.Pack(pool, {.name = names.inject + ".weight", .n = n, .k = width, .exact = true}));
  return gate;
}

ConstMatrix StreamGate::Read(LayerContext& ctx, ConstMatrix streams, Matrix x) const {
  const Matrix weights = ctx.workspace.GetMatrix(streams.rows, inject_.n());
  const Workspace::Position mark = ctx.workspace.Mark();
  const Matrix y = ctx.workspace.GetMatrix(streams.rows, streams.cols);
  norm_.Apply(ctx, streams, y);
  if (weights.cols > 0) Gemm(ctx.pool, y, inject_, {}, ctx.workspace, weights);
  for (int64_t t = 0; t < weights.rows; ++t) {
    std::transform(weights.Row(t), weights.Row(t) + weights.cols, weights.Row(t), [](float w) {
      return static_cast<float>(2 * exact::Sigmoid(static_cast<double>(w)));
    });
  }
  const Matrix hidden = ctx.workspace.GetMatrix(y.rows, gates_.outputs());
  const Matrix gates = ctx.workspace.GetMatrix(y.rows, y.cols);
  const std::array<const GatedFfnWeights*, 1> network = {&gates_};
  const std::array<int64_t, 2> offsets = {0, y.rows};
  GroupedGatedFfn(ctx.pool, network, offsets, Activation::kSilu, y, ctx.workspace, hidden, gates);
  MultiplySigmoid(ctx.pool, gates, y);
  for (int64_t t = 0; t < x.rows; ++t) std::copy_n(y.Row(t), x.cols, x.Row(t));
  for (int64_t first = x.cols; first < y.cols; first += x.cols) {
    Add(ctx.pool, y.Columns(first, x.cols), x);
  }
  ctx.workspace.Release(mark);
  return weights;
}

}  // namespace folkmoot
