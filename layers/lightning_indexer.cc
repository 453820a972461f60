// SPDX-License-Identifier: Apache-2.0
#include "layers/lightning_indexer.h"

#include <cmath>

#include "runtime/ops/key_selection.h"

namespace folkmoot {
namespace {

float InverseRoot(int64_t x) { return static_cast<float>(1.0 / std::sqrt(static_cast<double>(x))); }

}  // namespace

absl::StatusOr<LightningIndexer> LightningIndexer::Load(ThreadPool& pool, WeightLoader& loader,
                                                        const ModelConfig& config, int64_t layer,
                                                        const AttentionNames& names) {
  LightningIndexer indexer;
  indexer.dims_ = config.indexer;
  indexer.place_ = config.indexers_before(layer);
  const IndexerConfig& dims = config.indexer;
  FM_ASSIGN_OR_RETURN(indexer.q_, loader.Pack(pool, {.name = names.index_q + ".weight",
                                                     .n = dims.heads * dims.head_dim,
                                                     .k = config.latent.q_rank}));
  FM_ASSIGN_OR_RETURN(indexer.k_, loader.Pack(pool, {.name = names.index_k + ".weight",
                                                     .n = dims.head_dim,
                                                     .k = config.hidden}));
  FM_ASSIGN_OR_RETURN(indexer.k_norm_,
                      loader.Vector(names.index_k_norm + ".weight", dims.head_dim));
  FM_ASSIGN_OR_RETURN(indexer.k_norm_bias_,
                      loader.Vector(names.index_k_norm + ".bias", dims.head_dim));
  // Not rounded, as routers are not.
  FM_ASSIGN_OR_RETURN(indexer.weights_, loader.Pack(pool, {.name = names.index_weights + ".weight",
                                                           .n = dims.heads,
                                                           .k = config.hidden,
                                                           .exact = true}));
  return indexer;
}

void LightningIndexer::Choose(LayerContext& ctx, const AttentionStep& step, ConstMatrix x,
                              ConstMatrix low) const {
  const Workspace::Position mark = ctx.workspace.Mark();
  const int64_t turning = 2 * step.rope.cos.cols;
  const RotaryPart part = {.head_dim = dims_.head_dim,
                           .first = dims_.turns_last ? dims_.head_dim - turning : 0,
                           .neighbours = dims_.neighbours};
  const Matrix keys = ctx.workspace.GetMatrix(x.rows, dims_.head_dim);
  Gemm(ctx.pool, x, k_, {}, ctx.workspace, keys);
  LayerNorm(ctx.pool, keys, k_norm_, k_norm_bias_, dims_.norm_eps, keys);
  ApplyRope(ctx.pool, step.rope.cos, step.rope.sin, part, keys);
  StoreKv(ctx.pool, place_, step.sequences, keys, keys.Columns(0, 0), *step.index_keys);
  if (step.chosen != nullptr) {
    const Matrix q = ctx.workspace.GetMatrix(x.rows, q_.n());
    Gemm(ctx.pool, low, q_, {}, ctx.workspace, q);
    ApplyRope(ctx.pool, step.rope.cos, step.rope.sin, part, q);
    const Matrix weights = ctx.workspace.GetMatrix(x.rows, dims_.heads);
    Gemm(ctx.pool, x, weights_, {}, ctx.workspace, weights);
    Scale(ctx.pool, InverseRoot(dims_.heads), weights);
    const KeySelectionParams params = {
        .layer = place_, .heads = dims_.heads, .scale = InverseRoot(dims_.head_dim)};
    SelectKeys(ctx.pool, params, step.sequences, q, weights, *step.index_keys, ctx.workspace,
               *step.chosen);
  }
  ctx.workspace.Release(mark);
}

}  // namespace folkmoot
