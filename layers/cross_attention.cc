// SPDX-License-Identifier: Apache-2.0
#include "layers/cross_attention.h"

#include "layers/attention.h"

namespace folkmoot {

absl::StatusOr<CrossAttention::Linear> CrossAttention::LoadLinear(ThreadPool& pool,
                                                                  WeightLoader& loader,
                                                                  const std::string& module,
                                                                  int64_t n, int64_t k,
                                                                  bool biased) {
  Linear linear;
  FM_ASSIGN_OR_RETURN(linear.weights,
                      loader.Pack(pool, {.name = module + ".weight", .n = n, .k = k}));
  if (biased) {
    FM_ASSIGN_OR_RETURN(linear.bias, loader.Vector(module + ".bias", n));
  }
  return linear;
}

absl::StatusOr<CrossAttention> CrossAttention::Load(ThreadPool& pool, WeightLoader& loader,
                                                    const ModelConfig& config, int64_t layer,
                                                    const AttentionNames& names) {
  const int64_t inner = config.heads * config.head_dim;
  CrossAttention attention;
  attention.params_ = {.layer = layer, .heads = config.heads, .scale = ScoreScale(config)};
  const auto load = [&](const std::string& module, int64_t n, int64_t k, bool biased) {
    return LoadLinear(pool, loader, module, n, k, biased);
  };
  FM_ASSIGN_OR_RETURN(attention.q_, load(names.q, inner, config.hidden, config.qkv_bias));
  FM_ASSIGN_OR_RETURN(attention.k_, load(names.k, inner, config.hidden, config.qkv_bias));
  FM_ASSIGN_OR_RETURN(attention.v_, load(names.v, inner, config.hidden, config.qkv_bias));
  FM_ASSIGN_OR_RETURN(attention.o_, load(names.o, config.hidden, inner, config.output_bias));
  return attention;
}

void CrossAttention::Store(LayerContext& ctx, std::span<const AttentionSequence> sources,
                           ConstMatrix encoded, KvCache& cache) const {
  const Workspace::Position mark = ctx.workspace.Mark();
  const Matrix k = ctx.workspace.GetMatrix(encoded.rows, k_.weights.n());
  const Matrix v = ctx.workspace.GetMatrix(encoded.rows, v_.weights.n());
  Gemm(ctx.pool, encoded, k_.weights, k_.bias, ctx.workspace, k);
  Gemm(ctx.pool, encoded, v_.weights, v_.bias, ctx.workspace, v);
  StoreKv(ctx.pool, params_.layer, sources, k, v, cache);
  ctx.workspace.Release(mark);
}

void CrossAttention::Forward(LayerContext& ctx, std::span<const AttentionSequence> targets,
                             const KvCache& cache, ConstMatrix x, Matrix out) const {
  const Workspace::Position mark = ctx.workspace.Mark();
  const Matrix q = ctx.workspace.GetMatrix(x.rows, q_.weights.n());
  const Matrix attended = ctx.workspace.GetMatrix(x.rows, q_.weights.n());
  Gemm(ctx.pool, x, q_.weights, q_.bias, ctx.workspace, q);
  PagedAttention(ctx.pool, params_, targets, q, cache, ctx.workspace, attended);
  Gemm(ctx.pool, attended, o_.weights, o_.bias, ctx.workspace, out);
  ctx.workspace.Release(mark);
}

}  // namespace folkmoot
