// SPDX-License-Identifier: Apache-2.0
#include "layers/attention.h"

#include <array>
#include <cmath>

#include "runtime/ops/norm.h"

namespace folkmoot {

absl::StatusOr<Attention> Attention::Load(ThreadPool& pool, WeightLoader& loader,
                                          const ModelConfig& config, int64_t layer,
                                          const std::string& prefix, ColumnExchange& columns) {
  Attention a(columns);
  const int rank = columns.rank();
  const ColumnSplit kv_heads = KvHeadSplit(config, columns.size());
  const ColumnSplit kv = kv_heads.Times(config.head_dim);
  const int64_t queries = config.heads / config.kv_heads;  // heads that share keys and values
  a.heads_ = kv.Times(queries);
  a.output_ = OutputSplit(config.hidden, columns.size());
  a.head_dim_ = config.head_dim;
  a.kv_heads_ = kv_heads.width(rank);
  a.norm_eps_ = config.rms_norm_eps;
  a.params_ = {
      .layer = layer,
      .heads = a.kv_heads_ * queries,
      .scale = config.attention_multiplier > 0
                   ? config.attention_multiplier
                   : static_cast<float>(1.0 / std::sqrt(static_cast<double>(config.head_dim))),
      .window = config.layers[static_cast<size_t>(layer)].sliding_window};
  const auto part = [&](const char* name, const ColumnSplit& outputs, int64_t k) {
    return TensorRef{.name = prefix + name + ".weight", .n = outputs.cols(), .k = k}.Rows(
        outputs.begin(rank), outputs.width(rank));
  };
  const auto add_bias = [&](const char* name, const ColumnSplit& outputs,
                            std::vector<float>* bias) -> absl::Status {
    FM_ASSIGN_OR_RETURN(const std::vector<float> more,
                        loader.VectorPart(prefix + name + ".bias", outputs.cols(),
                                          outputs.begin(rank), outputs.width(rank)));
    bias->insert(bias->end(), more.begin(), more.end());
    return absl::OkStatus();
  };
  const std::array<TensorRef, 3> qkv = {part("q_proj", a.heads_, config.hidden),
                                        part("k_proj", kv, config.hidden),
                                        part("v_proj", kv, config.hidden)};
  FM_ASSIGN_OR_RETURN(a.qkv_, loader.PackStack(pool, qkv));
  FM_ASSIGN_OR_RETURN(a.o_, loader.Pack(pool, part("o_proj", a.output_, a.heads_.cols())));
  if (config.qkv_bias) {
    FM_RETURN_IF_ERROR(add_bias("q_proj", a.heads_, &a.qkv_bias_));
    FM_RETURN_IF_ERROR(add_bias("k_proj", kv, &a.qkv_bias_));
    FM_RETURN_IF_ERROR(add_bias("v_proj", kv, &a.qkv_bias_));
  }
  if (config.output_bias) FM_RETURN_IF_ERROR(add_bias("o_proj", a.output_, &a.o_bias_));
  a.clip_ = config.clip_qkv;
  if (config.qk_norm != QkNormKind::kNone) {
    const bool rows = config.qk_norm == QkNormKind::kRows;
    FM_CHECK(!rows || columns.size() == 1);  // WhyNotTensorParallel
    FM_ASSIGN_OR_RETURN(a.q_norm_, loader.Vector(prefix + "q_norm.weight",
                                                 rows ? a.heads_.cols() : config.head_dim));
    FM_ASSIGN_OR_RETURN(
        a.k_norm_, loader.Vector(prefix + "k_norm.weight", rows ? kv.cols() : config.head_dim));
  }
  return a;
}

void Attention::Attend(LayerContext& ctx, std::span<const AttentionSequence> sequences,
                       const RopeRows& rope, KvCache& cache, ConstMatrix x, Matrix attended) const {
  if (kv_heads_ == 0) return;
  const Workspace::Position mark = ctx.workspace.Mark();
  const int64_t q_width = params_.heads * head_dim_;
  const int64_t kv_width = kv_heads_ * head_dim_;
  const Matrix qkv = ctx.workspace.GetMatrix(x.rows, q_width + 2 * kv_width);
  int64_t column = 0;
  for (const PackedMatrix& weights : qkv_) {
    std::span<const float> bias = qkv_bias_;
    if (!bias.empty()) {
      bias = bias.subspan(static_cast<size_t>(column), static_cast<size_t>(weights.n()));
    }
    Gemm(ctx.pool, x, weights, bias, ctx.workspace, qkv.Columns(column, weights.n()));
    column += weights.n();
  }
  const Matrix q = qkv.Columns(0, q_width);
  const Matrix k = qkv.Columns(q_width, kv_width);
  const Matrix v = qkv.Columns(q_width + kv_width, kv_width);
  if (!q_norm_.empty()) {
    HeadRmsNorm(ctx.pool, std::ssize(q_norm_), q_norm_, norm_eps_, q);
    HeadRmsNorm(ctx.pool, std::ssize(k_norm_), k_norm_, norm_eps_, k);
  }
  if (clip_ > 0) Clamp(ctx.pool, clip_, qkv);
  ApplyRope(ctx.pool, rope.cos, rope.sin, head_dim_, q);
  ApplyRope(ctx.pool, rope.cos, rope.sin, head_dim_, k);
  StoreKv(ctx.pool, params_.layer, sequences, k, v, cache);
  PagedAttention(ctx.pool, params_, sequences, q, cache, ctx.workspace, attended);
  ctx.workspace.Release(mark);
}

absl::StatusOr<Matrix> Attention::Forward(LayerContext& ctx,
                                          std::span<const AttentionSequence> sequences,
                                          const RopeRows& rope, KvCache& cache,
                                          ConstMatrix x) const {
  WaitLabel label = {.layer = static_cast<int>(params_.layer), .step = ctx.step};
  const Matrix attended = columns_->Take(x.rows, heads_);
  Attend(ctx, sequences, rope, cache, x, columns_->Mine(attended, heads_));
  label.phase = "attention gather";
  FM_RETURN_IF_ERROR(columns_->Gather(label));
  const Matrix out = columns_->Take(x.rows, output_);
  Gemm(ctx.pool, attended, o_, o_bias_, ctx.workspace, columns_->Mine(out, output_));
  label.phase = "attention output gather";
  FM_RETURN_IF_ERROR(columns_->Gather(label));
  return out;
}

}  // namespace folkmoot
