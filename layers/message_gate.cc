// SPDX-License-Identifier: Apache-2.0
#include "layers/message_gate.h"

#include <algorithm>

#include "runtime/ops/norm.h"

namespace folkmoot {
namespace {

// Queries of the messages of q, k, v and the FFN of one layer of the loop, side by side.
absl::StatusOr<std::vector<float>> LoadMessageQueries(WeightLoader& loader,
                                                      const ModelConfig& config, int64_t layer,
                                                      const LayerNames& names) {
  const int64_t n = config.hidden;
  const int64_t place = layer - config.loop.first;
  const int64_t layers = config.loop.layers();
  if (!loader.Has(names.message_kv_queries)) {
    return loader.Row(names.message_queries, 4 * n, place, layers);
  }
  const auto row = [&](const std::string& name, int64_t index) {
    return loader.Row(name, n, 2 * place + index, 2 * layers);
  };
  FM_ASSIGN_OR_RETURN(std::vector<float> queries, row(names.message_queries, 0));
  FM_ASSIGN_OR_RETURN(const std::vector<float> k, row(names.message_kv_queries, 0));
  FM_ASSIGN_OR_RETURN(const std::vector<float> v, row(names.message_kv_queries, 1));
  FM_ASSIGN_OR_RETURN(const std::vector<float> ffn, row(names.message_queries, 1));
  for (const std::vector<float>* next : {&k, &v, &ffn}) {
    queries.insert(queries.end(), next->begin(), next->end());
  }
  return queries;
}

}  // namespace

absl::StatusOr<MessageGate> MessageGate::Load(ThreadPool& pool, WeightLoader& loader,
                                              const ModelConfig& config,
                                              const MessageGateNames& names) {
  MessageGate gate;
  const int64_t n = config.hidden;
  const int64_t rank = config.loop.gate_rank;
  gate.eps_ = config.rms_norm_eps;
  gate.ones_.assign(static_cast<size_t>(n), 1.0f);
  FM_ASSIGN_OR_RETURN(gate.down_, loader.Pack(pool, {.name = names.down, .n = rank, .k = 2 * n}));
  // Not rounded, as routers are not: they are small and decide much.
  const TensorRef both[] = {{.name = names.forget, .n = n, .k = rank, .exact = true},
                            {.name = names.gain, .n = n, .k = rank, .exact = true}};
  FM_ASSIGN_OR_RETURN(gate.gates_, loader.PackStack(pool, both));
  return gate;
}

void MessageGate::Apply(LayerContext& ctx, ConstMatrix message, Matrix x) const {
  constexpr int64_t kWorthAThread = 32768;  // numbers
  const int64_t n = x.cols;
  const Workspace::Position mark = ctx.workspace.Mark();
  const Matrix both = ctx.workspace.GetMatrix(x.rows, 2 * n);
  RmsNorm(ctx.pool, x, ones_, eps_, both.Columns(0, n));
  RmsNorm(ctx.pool, message, ones_, eps_, both.Columns(n, n));
  const Matrix down = ctx.workspace.GetMatrix(x.rows, down_.n());
  Gemm(ctx.pool, both, down_, {}, ctx.workspace, down);
  const Matrix gates = ctx.workspace.GetMatrix(x.rows, 2 * n);
  GemmStack(ctx.pool, down, gates_, {}, ctx.workspace, gates);
  SoftCap(ctx.pool, 1.0f, gates);  // their tanh
  ctx.pool.ParallelFor(x.rows, kWorthAThread / n + 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      const float* const forget = gates.Row(t);
      const float* const gain = forget + n;
      const float* const taken = message.Row(t);
      float* const row = x.Row(t);
      for (int64_t c = 0; c < n; ++c) row[c] = (1.0f - forget[c]) * row[c] + gain[c] * taken[c];
    }
  });
  ctx.workspace.Release(mark);
}

absl::StatusOr<MessageGates> MessageGates::Load(ThreadPool& pool, WeightLoader& loader,
                                                const ModelConfig& config, int64_t layer,
                                                const LayerNames& names) {
  MessageGates gates;
  FM_ASSIGN_OR_RETURN(gates.q, MessageGate::Load(pool, loader, config, names.q_gate));
  FM_ASSIGN_OR_RETURN(gates.k, MessageGate::Load(pool, loader, config, names.k_gate));
  FM_ASSIGN_OR_RETURN(gates.v, MessageGate::Load(pool, loader, config, names.v_gate));
  FM_ASSIGN_OR_RETURN(gates.ffn, MessageGate::Load(pool, loader, config, names.ffn_gate));
  FM_ASSIGN_OR_RETURN(gates.queries, LoadMessageQueries(loader, config, layer, names));
  return gates;
}

}  // namespace folkmoot
