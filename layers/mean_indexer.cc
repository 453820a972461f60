// SPDX-License-Identifier: Apache-2.0
#include "layers/mean_indexer.h"

#include <algorithm>
#include <cmath>

#include "layers/lightning_indexer.h"
#include "layers/norm.h"
#include "runtime/ops/key_selection.h"
#include "runtime/ops/row_attention.h"

namespace folkmoot {

absl::StatusOr<MeanIndexer> MeanIndexer::Load(ThreadPool& pool, WeightLoader& loader,
                                              const ModelConfig& config, int64_t layer,
                                              const AttentionNames& names) {
  MeanIndexer indexer;
  const IndexerConfig& dims = config.indexer;
  indexer.dims_ = dims;
  indexer.rotary_ = {.head_dim = dims.head_dim, .neighbours = config.rope.neighbours};
  indexer.norm_eps_ = config.rms_norm_eps;
  indexer.tracks_ = LightningIndexer::PoolTracks(config, layer);
  const int64_t queries = dims.heads * dims.head_dim;
  const TensorRef both = {
      .name = names.index_qk + ".weight", .n = queries + dims.head_dim, .k = config.hidden};
  FM_ASSIGN_OR_RETURN(indexer.q_, loader.Pack(pool, both.Rows(0, queries)));
  FM_ASSIGN_OR_RETURN(
      indexer.q_norm_,
      RmsNormWeights(loader, config.norm, names.index_q_norm + ".weight", dims.head_dim));
  TensorRef key = both.Rows(queries, dims.head_dim);
  key.exact = true;
  FM_ASSIGN_OR_RETURN(
      indexer.keys_,
      WindowCompressor::LoadMeans(pool, loader, config, key, names.index_k_norm, indexer.tracks_));
  return indexer;
}

void MeanIndexer::Choose(LayerContext& ctx, const AttentionStep& step, ConstMatrix x) const {
  keys_.Take(ctx, step, x);
  if (step.chosen == nullptr) return;
  const Workspace::Position mark = ctx.workspace.Mark();
  const Matrix q = ctx.workspace.GetMatrix(x.rows, q_.n());
  Gemm(ctx.pool, x, q_, {}, ctx.workspace, q);
  HeadRmsNorm(ctx.pool, dims_.head_dim, q_norm_, norm_eps_, q);
  ApplyRope(ctx.pool, step.rope.cos, step.rope.sin, rotary_, q);
  const Matrix weights = ctx.workspace.GetMatrix(x.rows, dims_.heads);  // all heads count alike
  std::fill_n(weights.data, weights.rows * weights.cols, 1.0f);
  const int64_t most = dims_.top_k / dims_.pool;
  const ChosenKeys pools = {.most = most,
                            .counts = ctx.workspace.Get<int32_t>(x.rows),
                            .positions = ctx.workspace.Get<int32_t>(x.rows * most)};
  const RowSelectionParams params = {
      .track = tracks_.entries,
      .heads = dims_.heads,
      .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(dims_.head_dim)))};
  SelectRows(ctx.pool, params, step.sequences, q, weights, *step.rows, ctx.workspace, pools);
  ExpandPools(ctx.pool, dims_.pool, step.sequences, pools, *step.chosen);
  ctx.workspace.Release(mark);
}

}  // namespace folkmoot
