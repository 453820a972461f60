// SPDX-License-Identifier: Apache-2.0
// CompressedAttention::Attend is the main function.
#include "layers/compressed_attention.h"

#include <algorithm>
#include <cmath>
#include <functional>

namespace folkmoot {
namespace {

// The tracks of a layer, in this order; the last four where it has a compressor, or an indexer.
enum LayerTrack : int64_t { kTokens, kWindows, kEntries, kIndexWindows, kIndexKeys };

int64_t TracksOfLayer(const LayerConfig& layer) {
  if (layer.mixer != Mixer::kCompressed) return 0;
  if (layer.compression == 0) return kTokens + 1;
  return (layer.overlapping ? kIndexKeys : kEntries) + 1;
}

int64_t FirstTrack(const ModelConfig& config, int64_t layer) {
  int64_t first = 0;
  for (int64_t i = 0; i < layer; ++i) first += TracksOfLayer(config.layers[static_cast<size_t>(i)]);
  return first;
}

float InverseRootOf(int64_t x) {
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(x)));
}

}  // namespace

std::vector<RowPages::Track> CompressedAttention::TracksOf(const ModelConfig& config, DType dtype,
                                                           int64_t block_size) {
  std::vector<RowPages::Track> tracks;
  for (const LayerConfig& layer : config.layers) {
    const int64_t index_dim = config.compressed.indexer.head_dim;
    const RowPages::Track all[] = {
        {.width = config.head_dim, .dtype = dtype},
        WindowTrack(config.head_dim, layer.overlapping, block_size),
        {.width = config.head_dim, .rate = layer.compression, .dtype = dtype},
        WindowTrack(index_dim, layer.overlapping, block_size),
        {.width = index_dim, .rate = layer.compression, .dtype = dtype}};
    tracks.insert(tracks.end(), all, all + TracksOfLayer(layer));
  }
  return tracks;
}

CompressedAttention::CompressedAttention(const ModelConfig& config, int64_t layer,
                                         ColumnExchange& columns)
    : UniformAttention(layer, columns),
      kind_(config.layers[static_cast<size_t>(layer)]),
      rotary_{.head_dim = config.head_dim,
              .first = config.head_dim - config.rope.dim,
              .neighbours = true},
      groups_(OutputGroupSplit(config, columns.size())),
      group_width_(config.heads / config.compressed.output_groups * config.head_dim),
      norm_eps_(config.rms_norm_eps),
      ones_(static_cast<size_t>(config.head_dim), 1.0f) {
  heads_ = groups_.Times(config.compressed.output_rank);
  const int64_t first = FirstTrack(config, layer);
  params_ = {.tokens = first + kTokens,
             .entries = kind_.compression > 0 ? first + kEntries : -1,
             .heads = groups_.width(rank()) * group_width_ / config.head_dim,
             .scale = InverseRootOf(config.head_dim),
             .window = kind_.sliding_window};
}

absl::StatusOr<std::unique_ptr<Attention>> CompressedAttention::Load(
    ThreadPool& pool, WeightLoader& loader, const ModelConfig& config, int64_t layer,
    const AttentionNames& names, ColumnExchange& columns) {
  std::unique_ptr<CompressedAttention> a(new CompressedAttention(config, layer, columns));
  FM_RETURN_IF_ERROR(a->LoadQueries(pool, loader, config, names));
  if (a->kind_.compression > 0) {
    FM_RETURN_IF_ERROR(a->LoadCompressor(pool, loader, config, names));
  }
  FM_RETURN_IF_ERROR(a->LoadOutputs(pool, loader, config, names));
  return a;
}

absl::Status CompressedAttention::LoadQueries(ThreadPool& pool, WeightLoader& loader,
                                              const ModelConfig& config,
                                              const AttentionNames& names) {
  const int64_t low = config.compressed.q_rank;
  const ColumnSplit outputs = groups_.Times(group_width_);
  const TensorRef q_b = {.name = names.q_b + ".weight", .n = outputs.cols(), .k = low};
  FM_ASSIGN_OR_RETURN(
      q_a_, loader.Pack(pool, {.name = names.q_a + ".weight", .n = low, .k = config.hidden}));
  FM_ASSIGN_OR_RETURN(q_a_norm_, loader.Vector(names.q_a_norm + ".weight", low));
  FM_ASSIGN_OR_RETURN(q_b_,
                      loader.Pack(pool, q_b.Rows(outputs.begin(rank()), outputs.width(rank()))));
  FM_ASSIGN_OR_RETURN(
      rows_, loader.Pack(
                 pool, {.name = names.rows + ".weight", .n = config.head_dim, .k = config.hidden}));
  FM_ASSIGN_OR_RETURN(rows_norm_, loader.Vector(names.rows_norm + ".weight", config.head_dim));
  const ColumnSplit heads = groups_.Times(group_width_ / config.head_dim);
  FM_ASSIGN_OR_RETURN(sinks_, loader.VectorPart(names.sinks, config.heads, heads.begin(rank()),
                                                heads.width(rank())));
  params_.sinks = sinks_;
  return absl::OkStatus();
}

absl::Status CompressedAttention::LoadCompressor(ThreadPool& pool, WeightLoader& loader,
                                                 const ModelConfig& config,
                                                 const AttentionNames& names) {
  const int64_t first = params_.tokens;
  FM_ASSIGN_OR_RETURN(
      compressor_, WindowCompressor::Load(pool, loader, config, kind_, names.compressor,
                                          config.head_dim, {first + kWindows, first + kEntries}));
  if (!kind_.overlapping) return absl::OkStatus();
  const IndexerConfig& dims = config.compressed.indexer;
  Indexer indexer = {.dims = dims, .keys = first + kIndexKeys};
  index_rotary_ = {
      .head_dim = dims.head_dim, .first = dims.head_dim - config.rope.dim, .neighbours = true};
  FM_ASSIGN_OR_RETURN(
      indexer.compressor,
      WindowCompressor::Load(pool, loader, config, kind_, names.index_compressor, dims.head_dim,
                             {first + kIndexWindows, first + kIndexKeys}));
  FM_ASSIGN_OR_RETURN(indexer.q, loader.Pack(pool, {.name = names.index_q + ".weight",
                                                    .n = dims.heads * dims.head_dim,
                                                    .k = config.compressed.q_rank}));
  // Not rounded, as routers are not.
  FM_ASSIGN_OR_RETURN(indexer.weights, loader.Pack(pool, {.name = names.index_weights + ".weight",
                                                          .n = dims.heads,
                                                          .k = config.hidden,
                                                          .exact = true}));
  indexer_ = std::move(indexer);
  return absl::OkStatus();
}

absl::Status CompressedAttention::LoadOutputs(ThreadPool& pool, WeightLoader& loader,
                                              const ModelConfig& config,
                                              const AttentionNames& names) {
  const int64_t outputs = config.compressed.output_rank;
  const TensorRef o_a = {
      .name = names.o_a + ".weight", .n = groups_.cols() * outputs, .k = group_width_};
  const int64_t begin = groups_.begin(rank());
  for (int64_t group = begin; group < begin + groups_.width(rank()); ++group) {
    FM_ASSIGN_OR_RETURN(o_a_.emplace_back(), loader.Pack(pool, o_a.Rows(group * outputs, outputs)));
  }
  return LoadOutput(pool, loader, config.hidden, false, names.o);
}

void CompressedAttention::KeepRows(LayerContext& ctx, const AttentionStep& step,
                                   const RopeRows& rope, ConstMatrix x) const {
  const Workspace::Position mark = ctx.workspace.Mark();
  const Matrix rows = ctx.workspace.GetMatrix(x.rows, rows_.n());
  Gemm(ctx.pool, x, rows_, {}, ctx.workspace, rows);
  RmsNorm(ctx.pool, rows, rows_norm_, norm_eps_, rows);
  ApplyRope(ctx.pool, rope.cos, rope.sin, rotary_, rows);
  StoreRows(ctx.pool, params_.tokens, step.sequences, rows, *step.rows);
  ctx.workspace.Release(mark);
  if (compressor_) compressor_->Take(ctx, step, x);
  if (indexer_) indexer_->compressor.Take(ctx, step, x);
}

Matrix CompressedAttention::Queries(LayerContext& ctx, const RopeRows& rope,
                                    ConstMatrix low) const {
  const Matrix q = ctx.workspace.GetMatrix(low.rows, q_b_.n());
  Gemm(ctx.pool, low, q_b_, {}, ctx.workspace, q);
  HeadRmsNorm(ctx.pool, rotary_.head_dim, ones_, norm_eps_, q);
  ApplyRope(ctx.pool, rope.cos, rope.sin, rotary_, q);
  return q;
}

bool CompressedAttention::Choose(LayerContext& ctx, const AttentionStep& step, ConstMatrix x,
                                 ConstMatrix low, ChosenKeys* chosen) const {
  const int64_t most = indexer_->dims.top_k;
  const auto sees_all = [&](const AttentionSequence& s) {
    return (s.start + s.rows) / kind_.compression <= most;
  };
  if (std::all_of(step.sequences.begin(), step.sequences.end(), sees_all)) return false;
  *chosen = {.most = most,
             .counts = ctx.workspace.Get<int32_t>(x.rows),
             .positions = ctx.workspace.Get<int32_t>(x.rows * most)};
  const Workspace::Position mark = ctx.workspace.Mark();
  const Matrix q = ctx.workspace.GetMatrix(x.rows, indexer_->q.n());
  Gemm(ctx.pool, low, indexer_->q, {}, ctx.workspace, q);
  ApplyRope(ctx.pool, step.rope.cos, step.rope.sin, index_rotary_, q);
  const Matrix weights = ctx.workspace.GetMatrix(x.rows, indexer_->dims.heads);
  Gemm(ctx.pool, x, indexer_->weights, {}, ctx.workspace, weights);
  Scale(ctx.pool, InverseRootOf(indexer_->dims.heads), weights);
  SelectRows(ctx.pool,
             {.track = indexer_->keys,
              .heads = indexer_->dims.heads,
              .scale = InverseRootOf(indexer_->dims.head_dim)},
             step.sequences, q, weights, *step.rows, ctx.workspace, *chosen);
  ctx.workspace.Release(mark);
  return true;
}

void CompressedAttention::Attend(LayerContext& ctx, const AttentionStep& step, KvCache& /*cache*/,
                                 ConstMatrix x, Matrix attended) const {
  const RopeRows& rope = kind_.local_rope ? step.local_rope : step.rope;
  KeepRows(ctx, step, rope, x);
  const Matrix low = ctx.workspace.GetMatrix(x.rows, q_a_.n());
  Gemm(ctx.pool, x, q_a_, {}, ctx.workspace, low);
  RmsNorm(ctx.pool, low, q_a_norm_, norm_eps_, low);
  RowAttentionParams params = params_;
  ChosenKeys chosen;
  if (indexer_ && Choose(ctx, step, x, low, &chosen)) params.chosen = &chosen;
  const Matrix q = Queries(ctx, rope, low);
  const Matrix given = ctx.workspace.GetMatrix(q.rows, q.cols);
  RowAttention(ctx.pool, params, step.sequences, q, *step.rows, ctx.workspace, given);
  const Matrix back = ctx.workspace.GetMatrix(rope.sin.rows, rope.sin.cols);
  for (int64_t t = 0; t < back.rows; ++t) {
    std::transform(rope.sin.Row(t), rope.sin.Row(t) + back.cols, back.Row(t), std::negate<>());
  }
  ApplyRope(ctx.pool, rope.cos, back, rotary_, given);
  for (size_t g = 0; g < o_a_.size(); ++g) {
    const auto group = static_cast<int64_t>(g);
    const int64_t outputs = o_a_[g].n();
    Gemm(ctx.pool, given.Columns(group * group_width_, group_width_), o_a_[g], {}, ctx.workspace,
         attended.Columns(group * outputs, outputs));
  }
}

}  // namespace folkmoot
