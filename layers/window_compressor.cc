// SPDX-License-Identifier: Apache-2.0
#include "layers/window_compressor.h"

#include <algorithm>
#include <array>

#include "layers/norm.h"

namespace folkmoot {

absl::StatusOr<WindowCompressor> WindowCompressor::Load(ThreadPool& pool, WeightLoader& loader,
                                                        const ModelConfig& config,
                                                        const LayerConfig& layer,
                                                        const CompressorNames& names, int64_t width,
                                                        const Tracks& tracks) {
  WindowCompressor compressor;
  compressor.rate_ = layer.compression;
  compressor.width_ = width;
  compressor.overlapping_ = layer.overlapping;
  compressor.tracks_ = tracks;
  compressor.norm_eps_ = config.rms_norm_eps;
  compressor.rope_.emplace(config.rope, config.rope_dim(), config.max_positions);
  compressor.rotary_ = {
      .head_dim = width, .first = width - compressor.rope_->rotary_dim(), .neighbours = true};
  const int64_t columns = layer.overlapping ? 2 * width : width;
  // Not rounded: gates decide what an entry is made of, and the authors keep both as they are.
  const auto matrix = [&](const std::string& module) {
    return TensorRef{.name = module + ".weight", .n = columns, .k = config.hidden, .exact = true};
  };
  const std::array<TensorRef, 2> refs = {matrix(names.values), matrix(names.gates)};
  FM_ASSIGN_OR_RETURN(compressor.projections_, loader.PackStack(pool, refs));
  FM_ASSIGN_OR_RETURN(compressor.bias_,
                      loader.Vector(names.bias, layer.compression * columns, columns));
  FM_ASSIGN_OR_RETURN(compressor.norm_, loader.Vector(names.norm + ".weight", width));
  return compressor;
}

absl::StatusOr<WindowCompressor> WindowCompressor::LoadMeans(ThreadPool& pool, WeightLoader& loader,
                                                             const ModelConfig& config,
                                                             const TensorRef& values,
                                                             const std::string& norm,
                                                             const Tracks& tracks) {
  WindowCompressor compressor;
  compressor.rate_ = config.indexer.pool;
  compressor.width_ = values.n;
  compressor.tracks_ = tracks;
  compressor.norm_eps_ = config.rms_norm_eps;
  compressor.rope_.emplace(config.rope, config.rope_dim(), config.max_positions);
  compressor.rotary_ = {.head_dim = values.n, .neighbours = config.rope.neighbours};
  compressor.gated_ = false;
  FM_ASSIGN_OR_RETURN(compressor.projections_.emplace_back(), loader.Pack(pool, values));
  compressor.bias_.assign(static_cast<size_t>(compressor.rate_ * values.n), 0.0f);
  FM_ASSIGN_OR_RETURN(compressor.norm_,
                      RmsNormWeights(loader, config.norm, norm + ".weight", values.n));
  return compressor;
}

RopeRows WindowCompressor::Angles(LayerContext& ctx, std::span<const AttentionSequence> sequences,
                                  int64_t entries) const {
  const std::span<int32_t> positions = ctx.workspace.Get<int32_t>(entries);
  size_t filled = 0;
  for (const AttentionSequence& s : sequences) {
    for (int64_t entry = s.start / rate_; entry < (s.start + s.rows) / rate_; ++entry) {
      positions[filled++] = static_cast<int32_t>(entry * rate_);
    }
  }
  const Matrix cos = ctx.workspace.GetMatrix(entries, rope_->rotary_dim() / 2);
  const Matrix sin = ctx.workspace.GetMatrix(entries, rope_->rotary_dim() / 2);
  rope_->Fill(positions, positions, cos, sin);  // no rotation here depends on lengths
  return {cos, sin};
}

void WindowCompressor::Take(LayerContext& ctx, const AttentionStep& step, ConstMatrix x) const {
  const Workspace::Position mark = ctx.workspace.Mark();
  const WindowPooling pooling = {.track = tracks_.windows,
                                 .rate = rate_,
                                 .width = width_,
                                 .overlapping = overlapping_,
                                 .bias = bias_};
  const Matrix projected = ctx.workspace.GetMatrix(x.rows, 2 * pooling.columns());
  if (!gated_) std::fill_n(projected.data, projected.rows * projected.cols, 0.0f);
  GemmStack(ctx.pool, x, projections_, {}, ctx.workspace,
            projected.Columns(0, (gated_ ? 2 : 1) * pooling.columns()));
  const Matrix entries = ctx.workspace.GetMatrix(CompletedRows(step.sequences, rate_), width_);
  PoolWindows(ctx.pool, pooling, step.sequences, projected.Columns(0, pooling.columns()),
              projected.Columns(pooling.columns(), pooling.columns()), *step.rows, ctx.workspace,
              entries);
  if (entries.rows > 0) {
    RmsNorm(ctx.pool, entries, norm_, norm_eps_, entries);
    const RopeRows rope = Angles(ctx, step.sequences, entries.rows);
    ApplyRope(ctx.pool, rope.cos, rope.sin, rotary_, entries);
    StoreRows(ctx.pool, tracks_.entries, step.sequences, entries, *step.rows);
  }
  ctx.workspace.Release(mark);
}

}  // namespace folkmoot
