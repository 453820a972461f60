// SPDX-License-Identifier: Apache-2.0
#include "layers/latent_attention.h"

#include <algorithm>
#include <cmath>

namespace folkmoot {

LatentAttention::LatentAttention(const ModelConfig& config, int64_t layer, ColumnExchange& columns)
    : UniformAttention(layer, columns),
      kind_(config.layers[static_cast<size_t>(layer)]),
      dims_(config.latent_of(kind_)),
      neighbours_(config.rope.neighbours),
      caches_(ModelConfig::caches(kind_)),
      head_split_(KvHeadSplit(config, kind_, columns.size())) {
  FM_CHECK(config.kv_heads_of(kind_) == config.heads_of(kind_));
  heads_ = head_split_.Times(dims_.value_dim);
  params_ = {.layer = config.place_in_kind(layer),
             .heads = head_split_.width(rank()),
             .scale = kind_.score_scale > 0 ? kind_.score_scale : config.attention_multiplier,
             .window = kind_.sliding_window};
}

absl::StatusOr<std::unique_ptr<Attention>> LatentAttention::Load(
    ThreadPool& pool, WeightLoader& loader, const ModelConfig& config, int64_t layer,
    const AttentionNames& names, ColumnExchange& columns) {
  std::unique_ptr<LatentAttention> a(new LatentAttention(config, layer, columns));
  FM_RETURN_IF_ERROR(a->LoadQueries(pool, loader, config, names));
  FM_RETURN_IF_ERROR(a->LoadKeys(pool, loader, config, names));
  FM_RETURN_IF_ERROR(a->LoadGateAndSinks(pool, loader, config, names));
  if (config.query_scales) {
    const ColumnSplit& heads = a->head_split_;
    FM_ASSIGN_OR_RETURN(a->query_scale_,
                        QueryScale::Load(loader, names.q_scale, heads.cols(),
                                         heads.begin(a->rank()), heads.width(a->rank())));
  }
  if (a->kind_.indexer) {
    FM_ASSIGN_OR_RETURN(a->indexer_, LightningIndexer::Load(pool, loader, config, layer, names));
  }
  FM_RETURN_IF_ERROR(a->LoadOutput(pool, loader, config.hidden, config.output_bias, names.o));
  return a;
}

absl::Status LatentAttention::LoadQueries(ThreadPool& pool, WeightLoader& loader,
                                          const ModelConfig& config, const AttentionNames& names) {
  const ColumnSplit outputs = head_split_.Times(query_width());
  TensorRef q_b = {.name = names.q + ".weight", .n = outputs.cols(), .k = config.hidden};
  if (dims_.q_rank > 0) {
    FM_ASSIGN_OR_RETURN(
        q_a_, loader.Pack(pool, {.name = names.q_a + ".weight", .n = dims_.q_rank, .k = q_b.k}));
    if (config.qkv_bias) {
      FM_ASSIGN_OR_RETURN(q_a_bias_, loader.Vector(names.q_a + ".bias", dims_.q_rank));
    }
    FM_ASSIGN_OR_RETURN(q_a_norm_, loader.Vector(names.q_a_norm + ".weight", dims_.q_rank));
    q_b.name = names.q_b + ".weight";
    q_b.k = dims_.q_rank * (dims_.gated ? 2 : 1);
  }
  FM_ASSIGN_OR_RETURN(q_b_,
                      loader.Pack(pool, q_b.Rows(outputs.begin(rank()), outputs.width(rank()))));
  return absl::OkStatus();
}

absl::Status LatentAttention::LoadKeys(ThreadPool& pool, WeightLoader& loader,
                                       const ModelConfig& config, const AttentionNames& names) {
  if (caches_) FM_RETURN_IF_ERROR(LoadLatents(pool, loader, config, names));
  const int64_t rows = dims_.nope_dim + dims_.value_dim;  // of a head in kv_b
  const TensorRef kv_b = {
      .name = names.kv_b + ".weight", .n = head_split_.cols() * rows, .k = dims_.kv_rank};
  const int64_t end = head_split_.begin(rank()) + head_split_.width(rank());
  for (int64_t head = head_split_.begin(rank()); head < end; ++head) {
    FM_ASSIGN_OR_RETURN(key_.emplace_back(),
                        loader.Pack(pool, kv_b.Rows(head * rows, dims_.nope_dim).Transposed()));
    FM_ASSIGN_OR_RETURN(
        value_.emplace_back(),
        loader.Pack(pool, kv_b.Rows(head * rows + dims_.nope_dim, dims_.value_dim)));
  }
  return absl::OkStatus();
}

absl::Status LatentAttention::LoadLatents(ThreadPool& pool, WeightLoader& loader,
                                          const ModelConfig& config, const AttentionNames& names) {
  const int64_t latent = dims_.kv_rank + dims_.rope_dim;
  FM_ASSIGN_OR_RETURN(
      kv_a_, loader.Pack(pool, {.name = names.kv_a + ".weight", .n = latent, .k = config.hidden}));
  if (config.qkv_bias) {
    FM_ASSIGN_OR_RETURN(kv_a_bias_, loader.Vector(names.kv_a + ".bias", latent));
  }
  FM_ASSIGN_OR_RETURN(kv_a_norm_, loader.Vector(names.kv_a_norm + ".weight", dims_.kv_rank));
  if (dims_.key_norm) {
    FM_ASSIGN_OR_RETURN(key_norm_, loader.Vector(names.k_norm + ".weight", dims_.rope_dim));
  }
  return absl::OkStatus();
}

absl::Status LatentAttention::LoadGateAndSinks(ThreadPool& pool, WeightLoader& loader,
                                               const ModelConfig& config,
                                               const AttentionNames& names) {
  if (config.attention_gate == AttentionGate::kOwn) {
    const ColumnSplit& outputs = config.gate_per_head ? head_split_ : heads_;
    const TensorRef gate = {
        .name = names.gate + ".weight", .n = outputs.cols(), .k = config.hidden};
    FM_ASSIGN_OR_RETURN(gate_,
                        loader.Pack(pool, gate.Rows(outputs.begin(rank()), outputs.width(rank()))));
  }
  if (!kind_.sinks) return absl::OkStatus();
  FM_ASSIGN_OR_RETURN(sinks_,
                      loader.VectorPart(names.sinks, head_split_.cols(), head_split_.begin(rank()),
                                        head_split_.width(rank())));
  params_.sinks = sinks_;
  return absl::OkStatus();
}

ConstMatrix LatentAttention::LowQueries(LayerContext& ctx, ConstMatrix x) const {
  if (dims_.q_rank == 0) return x;
  const Matrix all = ctx.workspace.GetMatrix(x.rows, q_b_.k());
  const Matrix low = all.Columns(0, dims_.q_rank);
  Gemm(ctx.pool, x, q_a_, q_a_bias_, ctx.workspace, low);
  for (int64_t t = 0; dims_.gated && t < x.rows; ++t) {
    std::copy_n(low.Row(t), low.cols, low.Row(t) + low.cols);
  }
  RmsNorm(ctx.pool, low, q_a_norm_, dims_.norm_eps, low);
  return all;
}

Matrix LatentAttention::Queries(LayerContext& ctx, const RopeRows& rope, ConstMatrix low) const {
  const Matrix q = ctx.workspace.GetMatrix(low.rows, q_b_.n());
  const RotaryPart part = {
      .head_dim = query_width(), .first = dims_.nope_dim, .neighbours = neighbours_};
  Gemm(ctx.pool, low, q_b_, {}, ctx.workspace, q);
  if (dims_.q_scale != 1.0f) Scale(ctx.pool, dims_.q_scale, q);
  if (kind_.rope) ApplyRope(ctx.pool, rope.cos, rope.sin, part, q);
  return q;
}

Matrix LatentAttention::Latents(LayerContext& ctx, const RopeRows& rope, ConstMatrix x) const {
  const Matrix latents = ctx.workspace.GetMatrix(x.rows, kv_a_.n());
  Gemm(ctx.pool, x, kv_a_, kv_a_bias_, ctx.workspace, latents);
  const Matrix low = latents.Columns(0, dims_.kv_rank);
  RmsNorm(ctx.pool, low, kv_a_norm_, dims_.norm_eps, low);
  if (dims_.kv_scale != 1.0f) Scale(ctx.pool, dims_.kv_scale, low);
  const Matrix key = latents.Columns(dims_.kv_rank, dims_.rope_dim);
  if (dims_.key_norm) RmsNorm(ctx.pool, key, key_norm_, dims_.norm_eps, key);
  if (!kind_.rope) return latents;
  ApplyRope(ctx.pool, rope.cos, rope.sin, {.head_dim = dims_.rope_dim, .neighbours = neighbours_},
            key);
  return latents;
}

Matrix LatentAttention::Absorbed(LayerContext& ctx, ConstMatrix q) const {
  const int64_t width = dims_.kv_rank + dims_.rope_dim;
  const Matrix absorbed = ctx.workspace.GetMatrix(q.rows, params_.heads * width);
  for (int64_t h = 0; h < params_.heads; ++h) {
    const ConstMatrix head = q.Columns(h * query_width(), query_width());
    Gemm(ctx.pool, head.Columns(0, dims_.nope_dim), key_[static_cast<size_t>(h)], {}, ctx.workspace,
         absorbed.Columns(h * width, dims_.kv_rank));
    for (int64_t t = 0; t < q.rows; ++t) {
      std::copy_n(head.Row(t) + dims_.nope_dim, dims_.rope_dim,
                  absorbed.Row(t) + h * width + dims_.kv_rank);
    }
  }
  return absorbed;
}

void LatentAttention::Attend(LayerContext& ctx, const AttentionStep& step, KvCache& cache,
                             ConstMatrix x, Matrix attended) const {
  const RopeRows& rope = kind_.local_rope ? step.local_rope : step.rope;
  if (caches_) {
    const Matrix latents = Latents(ctx, rope, x);
    StoreKv(ctx.pool, params_.layer, step.sequences, latents, latents.Columns(0, dims_.kv_rank),
            cache);
  }
  const ConstMatrix low = LowQueries(ctx, x);
  if (indexer_) indexer_->Choose(ctx, step, x, low.Columns(0, dims_.q_rank));
  AttentionParams params = params_;
  if (kind_.sliding_window == 0) params.chosen = step.chosen;
  const Matrix q = Queries(ctx, rope, low);
  if (!step.temperature.empty()) ScaleRows(ctx.pool, step.temperature, q);
  if (query_scale_) query_scale_->Apply(ctx, step.log_positions, q);
  const Matrix absorbed = Absorbed(ctx, q);
  const Matrix sums = ctx.workspace.GetMatrix(x.rows, params_.heads * dims_.kv_rank);
  PagedAttention(ctx.pool, params, step.sequences, absorbed, cache, ctx.workspace, sums);
  for (int64_t h = 0; h < params_.heads; ++h) {
    Gemm(ctx.pool, sums.Columns(h * dims_.kv_rank, dims_.kv_rank), value_[static_cast<size_t>(h)],
         {}, ctx.workspace, attended.Columns(h * dims_.value_dim, dims_.value_dim));
    if (!dims_.gated) continue;
    MultiplySigmoid(ctx.pool,
                    q.Columns(h * query_width() + dims_.nope_dim + dims_.rope_dim, dims_.value_dim),
                    attended.Columns(h * dims_.value_dim, dims_.value_dim));
  }
  if (gate_.empty()) return;
  const Matrix gate = ctx.workspace.GetMatrix(x.rows, gate_.n());
  Gemm(ctx.pool, x, gate_, {}, ctx.workspace, gate);
  MultiplyGates(ctx.pool, GateFunction::kSigmoid, gate, attended);
}

}  // namespace folkmoot
