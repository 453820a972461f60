// SPDX-License-Identifier: Apache-2.0
#include "layers/lightning_indexer.h"

#include <cmath>

#include "runtime/ops/key_selection.h"
#include "runtime/ops/row_attention.h"
#include "runtime/ops/window_pooling.h"

namespace folkmoot {
namespace {

float InverseRoot(int64_t x) { return static_cast<float>(1.0 / std::sqrt(static_cast<double>(x))); }

}  // namespace

absl::StatusOr<LightningIndexer> LightningIndexer::Load(ThreadPool& pool, WeightLoader& loader,
                                                        const ModelConfig& config, int64_t layer,
                                                        const AttentionNames& names) {
  LightningIndexer indexer;
  indexer.dims_ = config.indexer;
  indexer.turns_ = config.layers[static_cast<size_t>(layer)].rope;
  indexer.place_ = config.indexers_before(layer);
  indexer.tracks_ = PoolTracks(config, layer);
  const IndexerConfig& dims = config.indexer;
  FM_RETURN_IF_ERROR(indexer.LoadQueries(pool, loader, config, names));
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
  if (dims.pool > 0) FM_RETURN_IF_ERROR(indexer.LoadPools(pool, loader, config.hidden, names));
  return indexer;
}

absl::Status LightningIndexer::LoadQueries(ThreadPool& pool, WeightLoader& loader,
                                           const ModelConfig& config, const AttentionNames& names) {
  const int64_t inputs = dims_.of_hidden ? config.hidden : config.latent.q_rank;
  FM_ASSIGN_OR_RETURN(q_, loader.Pack(pool, {.name = names.index_q + ".weight",
                                             .n = dims_.heads * dims_.head_dim,
                                             .k = inputs}));
  if (dims_.of_hidden) {
    FM_ASSIGN_OR_RETURN(q_norm_, loader.Vector(names.index_q_norm + ".weight", inputs));
    FM_ASSIGN_OR_RETURN(q_norm_bias_, loader.Vector(names.index_q_norm + ".bias", inputs));
  }
  if (config.query_scales) {
    FM_ASSIGN_OR_RETURN(query_scale_,
                        QueryScale::Load(loader, names.index_q_scale, dims_.heads, 0, dims_.heads));
  }
  return absl::OkStatus();
}

absl::Status LightningIndexer::LoadPools(ThreadPool& pool, WeightLoader& loader, int64_t hidden,
                                         const AttentionNames& names) {
  FM_ASSIGN_OR_RETURN(
      pool_gates_,
      loader.Pack(
          pool, {.name = names.index_pool_gates, .n = dims_.head_dim, .k = hidden, .exact = true}));
  FM_ASSIGN_OR_RETURN(pool_bias_, loader.Vector(names.index_pool_bias, dims_.pool * dims_.head_dim,
                                                dims_.head_dim));
  return absl::OkStatus();
}

std::vector<RowPages::Track> LightningIndexer::TracksOf(const ModelConfig& config, DType dtype,
                                                        int64_t block_size) {
  const IndexerConfig& dims = config.indexer;
  std::vector<RowPages::Track> tracks;
  for (int64_t i = config.token_indexers(); i < config.indexers(); ++i) {
    tracks.push_back(WindowTrack(dims.head_dim, false, block_size));
    tracks.push_back({.width = dims.head_dim, .rate = dims.pool, .dtype = dtype});
  }
  return tracks;
}

WindowCompressor::Tracks LightningIndexer::PoolTracks(const ModelConfig& config, int64_t index) {
  const int64_t first = 2 * config.indexers_before(index);
  return {.windows = first, .entries = first + 1};
}

void LightningIndexer::Turn(LayerContext& ctx, const RopeRows& rope, Matrix heads) const {
  const int64_t turning = 2 * rope.cos.cols;
  if (!turns_ || turning == 0) return;
  const RotaryPart part = {.head_dim = dims_.head_dim,
                           .first = dims_.turns_last ? dims_.head_dim - turning : 0,
                           .neighbours = dims_.neighbours};
  ApplyRope(ctx.pool, rope.cos, rope.sin, part, heads);
}

Matrix LightningIndexer::Queries(LayerContext& ctx, const AttentionStep& step, ConstMatrix x,
                                 ConstMatrix low) const {
  const Matrix q = ctx.workspace.GetMatrix(x.rows, q_.n());
  if (dims_.of_hidden) {
    const Matrix normed = ctx.workspace.GetMatrix(x.rows, x.cols);
    LayerNorm(ctx.pool, x, q_norm_, q_norm_bias_, dims_.norm_eps, normed);
    low = normed;
  }
  Gemm(ctx.pool, low, q_, {}, ctx.workspace, q);
  if (query_scale_) query_scale_->Apply(ctx, step.log_positions, q);
  Turn(ctx, step.rope, q);
  return q;
}

void LightningIndexer::KeepPools(LayerContext& ctx, const AttentionStep& step, ConstMatrix x,
                                 ConstMatrix keys) const {
  const Matrix gates = ctx.workspace.GetMatrix(x.rows, dims_.head_dim);
  Gemm(ctx.pool, x, pool_gates_, {}, ctx.workspace, gates);
  const Matrix full =
      ctx.workspace.GetMatrix(CompletedRows(step.sequences, dims_.pool), dims_.head_dim);
  PoolWindows(
      ctx.pool,
      {.track = tracks_.windows, .rate = dims_.pool, .width = dims_.head_dim, .bias = pool_bias_},
      step.sequences, keys, gates, *step.rows, ctx.workspace, full);
  StoreRows(ctx.pool, tracks_.entries, step.sequences, full, *step.rows);
}

void LightningIndexer::SelectPools(LayerContext& ctx, const AttentionStep& step, ConstMatrix q,
                                   ConstMatrix weights) const {
  const int64_t most = dims_.top_k / dims_.pool;
  const ChosenKeys pools = {.most = most,
                            .counts = ctx.workspace.Get<int32_t>(q.rows),
                            .positions = ctx.workspace.Get<int32_t>(q.rows * most)};
  const RowSelectionParams params = {
      .track = tracks_.entries, .heads = dims_.heads, .scale = InverseRoot(dims_.head_dim)};
  SelectRows(ctx.pool, params, step.sequences, q, weights, *step.rows, ctx.workspace, pools);
  ExpandPools(ctx.pool, dims_.pool, step.sequences, pools, *step.chosen);
}

void LightningIndexer::Choose(LayerContext& ctx, const AttentionStep& step, ConstMatrix x,
                              ConstMatrix low) const {
  const Workspace::Position mark = ctx.workspace.Mark();
  const Matrix keys = ctx.workspace.GetMatrix(x.rows, dims_.head_dim);
  Gemm(ctx.pool, x, k_, {}, ctx.workspace, keys);
  LayerNorm(ctx.pool, keys, k_norm_, k_norm_bias_, dims_.norm_eps, keys);
  Turn(ctx, step.rope, keys);
  if (dims_.pool > 0) {
    KeepPools(ctx, step, x, keys);
  } else {
    StoreKv(ctx.pool, place_, step.sequences, keys, keys.Columns(0, 0), *step.index_keys);
  }
  if (step.chosen != nullptr) {
    const Matrix q = Queries(ctx, step, x, low);
    const Matrix weights = ctx.workspace.GetMatrix(x.rows, dims_.heads);
    Gemm(ctx.pool, x, weights_, {}, ctx.workspace, weights);
    Scale(ctx.pool, InverseRoot(dims_.heads), weights);
    if (dims_.pool > 0) {
      SelectPools(ctx, step, q, weights);
    } else {
      const KeySelectionParams params = {
          .layer = place_, .heads = dims_.heads, .scale = InverseRoot(dims_.head_dim)};
      SelectKeys(ctx.pool, params, step.sequences, q, weights, *step.index_keys, ctx.workspace,
                 *step.chosen);
    }
  }
  ctx.workspace.Release(mark);
}

}  // namespace folkmoot
