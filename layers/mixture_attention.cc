// SPDX-License-Identifier: Apache-2.0
#include "layers/mixture_attention.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace folkmoot {

MixtureAttention::MixtureAttention(const ModelConfig& config, int64_t layer,
                                   ColumnExchange& columns)
    : layer_(layer),
      columns_(&columns),
      head_dim_(config.head_dim),
      chosen_(config.heads / config.kv_heads),
      kv_(KvHeadSplit(config, columns.size()).Times(config.head_dim)),
      heads_(kv_.Times(chosen_)),
      output_(OutputSplit(config.hidden, columns.size())) {
  params_ = {.layer = layer,
             .heads = heads_.width(columns.rank()) / head_dim_,
             .scale = ScoreScale(config)};
}

absl::StatusOr<std::unique_ptr<Attention>> MixtureAttention::Load(
    ThreadPool& pool, WeightLoader& loader, const ModelConfig& config, int64_t layer,
    const AttentionNames& names, ColumnExchange& columns) {
  std::unique_ptr<MixtureAttention> a(new MixtureAttention(config, layer, columns));
  FM_ASSIGN_OR_RETURN(a->router_, loader.Pack(pool, {.name = names.router,
                                                     .n = config.attention_experts,
                                                     .k = config.hidden,
                                                     .exact = true}));
  FM_RETURN_IF_ERROR(a->LoadKeys(pool, loader, config, names));
  FM_RETURN_IF_ERROR(a->LoadExperts(pool, loader, config, names));
  FM_ASSIGN_OR_RETURN(a->bias_, loader.VectorPart(names.experts_bias, config.hidden,
                                                  a->output_.begin(columns.rank()),
                                                  a->output_.width(columns.rank())));
  return a;
}

absl::Status MixtureAttention::LoadKeys(ThreadPool& pool, WeightLoader& loader,
                                        const ModelConfig& config, const AttentionNames& names) {
  const int64_t begin = kv_.begin(columns_->rank());
  const int64_t width = kv_.width(columns_->rank());
  const TensorRef both = {.name = names.kv, .n = 2 * kv_.cols(), .k = config.hidden};
  const TensorRef refs[] = {both.Rows(begin, width), both.Rows(kv_.cols() + begin, width)};
  FM_ASSIGN_OR_RETURN(kv_weights_, loader.PackStack(pool, refs));
  return absl::OkStatus();
}

absl::Status MixtureAttention::LoadExperts(ThreadPool& pool, WeightLoader& loader,
                                           const ModelConfig& config, const AttentionNames& names) {
  const int rank = columns_->rank();
  for (int64_t expert = 0; expert < config.attention_experts; ++expert) {
    const TensorRef query = {.name = names.experts_q,
                             .n = kv_.cols(),
                             .k = config.hidden,
                             .slices = config.attention_experts,
                             .slice = expert,
                             .slice_rows = kv_.cols(),
                             .everywhere = true};
    FM_ASSIGN_OR_RETURN(queries_.emplace_back().down,
                        loader.Pack(pool, query.Rows(kv_.begin(rank), kv_.width(rank))));
    TensorRef output = query;
    output.name = names.experts_o;
    output.n = output.slice_rows = config.hidden;
    output.k = kv_.cols();
    FM_ASSIGN_OR_RETURN(outputs_.emplace_back().down,
                        loader.Pack(pool, output.Rows(output_.begin(rank), output_.width(rank))));
  }
  for (const GatedFfnWeights& weights : queries_) query_pointers_.push_back(&weights);
  for (const GatedFfnWeights& weights : outputs_) output_pointers_.push_back(&weights);
  return absl::OkStatus();
}

MixtureAttention::Choices MixtureAttention::Choose(LayerContext& ctx, ConstMatrix x) const {
  Choices choices = {.weights = ctx.workspace.Get<float>(x.rows * chosen_),
                     .place = ctx.workspace.Get<int64_t>(x.rows * chosen_),
                     .offsets = ctx.workspace.Get<int64_t>(router_.n() + 1)};
  const Workspace::Position mark = ctx.workspace.Mark();
  const Matrix logits = ctx.workspace.GetMatrix(x.rows, router_.n());
  Gemm(ctx.pool, x, router_, {}, ctx.workspace, logits);
  const std::span<int32_t> experts = ctx.workspace.Get<int32_t>(x.rows * chosen_);
  const std::span<int64_t> next = ctx.workspace.Get<int64_t>(router_.n() + 1);
  std::fill(next.begin(), next.end(), 0);
  for (int64_t t = 0; t < x.rows; ++t) {
    const auto first = static_cast<size_t>(t * chosen_);
    const std::span<int32_t> mine = experts.subspan(first, static_cast<size_t>(chosen_));
    const std::span<float> weights = choices.weights.subspan(first, mine.size());
    if (AllFinite(logits.RowSpan(t))) {
      TopK(logits.RowSpan(t), mine);
      for (size_t j = 0; j < mine.size(); ++j) weights[j] = logits.Row(t)[mine[j]];
      SoftmaxWeights(weights, weights[0], 1.0f, weights);
      const float sum = std::accumulate(weights.begin(), weights.end(), 0.0f);
      for (float& weight : weights) weight /= sum;
    } else {  // the result is not finite either, so that the next router reports it
      std::iota(mine.begin(), mine.end(), 0);
      std::fill(weights.begin(), weights.end(), std::numeric_limits<float>::quiet_NaN());
    }
    for (const int32_t expert : mine) ++next[static_cast<size_t>(expert) + 1];
  }
  std::partial_sum(next.begin(), next.end(), choices.offsets.begin());
  std::copy(choices.offsets.begin(), choices.offsets.end(), next.begin());
  for (size_t i = 0; i < experts.size(); ++i) {
    choices.place[i] = next[static_cast<size_t>(experts[i])]++;
  }
  ctx.workspace.Release(mark);
  return choices;
}

void MixtureAttention::Queries(LayerContext& ctx, ConstMatrix x, const Choices& choices,
                               Matrix q) const {
  const int64_t count = x.rows * chosen_;
  const Matrix sorted = ctx.workspace.GetMatrix(count, x.cols);
  for (int64_t i = 0; i < count; ++i) {
    std::copy_n(x.Row(i / chosen_), x.cols, sorted.Row(choices.place[static_cast<size_t>(i)]));
  }
  const Matrix queries = ctx.workspace.GetMatrix(count, q.cols / chosen_);
  GroupedDown(ctx.pool, query_pointers_, choices.offsets, sorted, ctx.workspace, queries);
  for (int64_t i = 0; i < count; ++i) {
    const float* from = queries.Row(choices.place[static_cast<size_t>(i)]);
    float* to = q.Row(i / chosen_) + i % chosen_ * head_dim_;
    for (int64_t head = 0; head < queries.cols / head_dim_; ++head) {
      std::copy_n(from + head * head_dim_, head_dim_, to + head * chosen_ * head_dim_);
    }
  }
}

void MixtureAttention::Attend(LayerContext& ctx, const AttentionStep& step, KvCache& cache,
                              ConstMatrix x, const Choices& choices, Matrix attended) const {
  const Matrix q = ctx.workspace.GetMatrix(x.rows, attended.cols);
  Queries(ctx, x, choices, q);
  const int64_t width = attended.cols / chosen_;
  const Matrix kv = ctx.workspace.GetMatrix(x.rows, 2 * width);
  GemmStack(ctx.pool, x, kv_weights_, {}, ctx.workspace, kv);
  const Matrix k = kv.Columns(0, width);
  ApplyRope(ctx.pool, step.rope.cos, step.rope.sin, {.head_dim = head_dim_}, q);
  ApplyRope(ctx.pool, step.rope.cos, step.rope.sin, {.head_dim = head_dim_}, k);
  StoreKv(ctx.pool, layer_, step.sequences, k, kv.Columns(width, width), cache);
  PagedAttention(ctx.pool, params_, step.sequences, q, cache, ctx.workspace, attended);
}

void MixtureAttention::Combine(LayerContext& ctx, ConstMatrix attended, const Choices& choices,
                               Matrix out) const {
  const int64_t count = attended.rows * chosen_;
  const Matrix sorted = ctx.workspace.GetMatrix(count, kv_.cols());
  for (int64_t i = 0; i < count; ++i) {
    const float* from = attended.Row(i / chosen_) + i % chosen_ * head_dim_;
    float* to = sorted.Row(choices.place[static_cast<size_t>(i)]);
    for (int64_t head = 0; head < kv_.cols() / head_dim_; ++head) {
      std::copy_n(from + head * chosen_ * head_dim_, head_dim_, to + head * head_dim_);
    }
  }
  const Matrix outputs = ctx.workspace.GetMatrix(count, out.cols);
  GroupedDown(ctx.pool, output_pointers_, choices.offsets, sorted, ctx.workspace, outputs);
  for (int64_t t = 0; t < out.rows; ++t) {
    float* sum = out.Row(t);
    std::fill_n(sum, out.cols, 0.0f);
    for (int64_t i = t * chosen_; i < (t + 1) * chosen_; ++i) {  // in slot order
      const float weight = choices.weights[static_cast<size_t>(i)];
      const float* row = outputs.Row(choices.place[static_cast<size_t>(i)]);
      for (int64_t c = 0; c < out.cols; ++c) sum[c] += weight * row[c];
    }
    for (int64_t c = 0; c < out.cols; ++c) sum[c] += bias_[static_cast<size_t>(c)];
  }
}

absl::StatusOr<Matrix> MixtureAttention::Forward(LayerContext& ctx, const AttentionStep& step,
                                                 KvCache& cache, ConstMatrix x) const {
  const int rank = columns_->rank();
  WaitLabel label = {
      .phase = "attention gather", .layer = static_cast<int>(layer_), .step = ctx.step};
  const Workspace::Position mark = ctx.workspace.Mark();
  const Choices choices = Choose(ctx, x);
  const Matrix attended = columns_->Take(x.rows, heads_);
  if (heads_.width(rank) > 0) {
    Attend(ctx, step, cache, x, choices, columns_->Mine(attended, heads_));
  }
  FM_RETURN_IF_ERROR(columns_->Gather(label));
  const Matrix out = columns_->Take(x.rows, output_);
  Combine(ctx, attended, choices, columns_->Mine(out, output_));
  label.phase = "attention output gather";
  FM_RETURN_IF_ERROR(columns_->Gather(label));
  ctx.workspace.Release(mark);
  return out;
}

}  // namespace folkmoot
