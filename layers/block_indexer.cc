// SPDX-License-Identifier: Apache-2.0
#include "layers/block_indexer.h"

#include <algorithm>

#include "layers/norm.h"
#include "runtime/ops/key_selection.h"

namespace folkmoot {

absl::StatusOr<BlockIndexer> BlockIndexer::Load(ThreadPool& pool, WeightLoader& loader,
                                                const ModelConfig& config, int64_t layer,
                                                const AttentionNames& names, int64_t first,
                                                int64_t count) {
  BlockIndexer indexer;
  indexer.dims_ = config.indexer;
  indexer.place_ = config.indexers_before(layer);
  indexer.heads_ = count;
  indexer.norm_eps_ = config.rms_norm_eps;
  const int64_t head_dim = config.indexer.head_dim;
  const TensorRef q = {
      .name = names.index_q + ".weight", .n = config.indexer.heads * head_dim, .k = config.hidden};
  FM_ASSIGN_OR_RETURN(indexer.q_, loader.Pack(pool, q.Rows(first * head_dim, count * head_dim)));
  FM_ASSIGN_OR_RETURN(
      indexer.k_,
      loader.Pack(pool, {.name = names.index_k + ".weight", .n = head_dim, .k = config.hidden}));
  FM_ASSIGN_OR_RETURN(indexer.q_norm_, RmsNormWeights(loader, config.norm,
                                                      names.index_q_norm + ".weight", head_dim));
  FM_ASSIGN_OR_RETURN(indexer.k_norm_, RmsNormWeights(loader, config.norm,
                                                      names.index_k_norm + ".weight", head_dim));
  return indexer;
}

ChosenKeys BlockIndexer::Choose(LayerContext& ctx, const AttentionStep& step, ConstMatrix x) const {
  const RotaryPart part = {.head_dim = dims_.head_dim};
  const auto project = [&](const PackedMatrix& weights, const std::vector<float>& norm) {
    const Matrix heads = ctx.workspace.GetMatrix(x.rows, weights.n());
    Gemm(ctx.pool, x, weights, {}, ctx.workspace, heads);
    HeadRmsNorm(ctx.pool, dims_.head_dim, norm, norm_eps_, heads);
    ApplyRope(ctx.pool, step.rope.cos, step.rope.sin, part, heads);
    return heads;
  };
  const Matrix keys = project(k_, k_norm_);
  StoreKv(ctx.pool, place_, step.sequences, keys, keys.Columns(0, 0), *step.index_keys);
  const auto sees_all = [this](const AttentionSequence& s) {
    return s.start + s.rows <= dims_.top_k;
  };
  if (std::all_of(step.sequences.begin(), step.sequences.end(), sees_all)) return {};
  const int64_t choices = x.rows * heads_;
  const ChosenKeys chosen = {.most = dims_.top_k,
                             .sets = heads_,
                             .counts = ctx.workspace.Get<int32_t>(choices),
                             .positions = ctx.workspace.Get<int32_t>(choices * dims_.top_k)};
  const Workspace::Position mark = ctx.workspace.Mark();
  const Matrix q = project(q_, q_norm_);
  const KeySelectionParams params = {
      .layer = place_, .heads = heads_, .block = dims_.block, .local_blocks = dims_.local_blocks};
  SelectKeys(ctx.pool, params, step.sequences, q, q.Columns(0, 0), *step.index_keys, ctx.workspace,
             chosen);
  ctx.workspace.Release(mark);
  return chosen;
}

}  // namespace folkmoot
