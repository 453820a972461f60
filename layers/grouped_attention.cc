// SPDX-License-Identifier: Apache-2.0
#include "layers/grouped_attention.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "layers/norm.h"

namespace folkmoot {

GroupedAttention::GroupedAttention(const ModelConfig& config, int64_t layer,
                                   ColumnExchange& columns)
    : UniformAttention(layer, columns),
      kind_(config.layers[static_cast<size_t>(layer)]),
      rotary_{.head_dim = config.head_dim_of(kind_), .neighbours = config.rope.neighbours},
      norm_eps_(config.rms_norm_eps),
      gate_function_(config.gate_softplus ? GateFunction::kSoftplus : GateFunction::kSigmoid),
      value_scale_(config.value_multiplier),
      clip_(config.clip_qkv),
      gated_queries_(config.attention_gate == AttentionGate::kBehindQueries),
      tempered_(!kind_.rope &&
                (kind_.sliding_window == 0 || config.temperature.rule == TemperatureRule::kPower)),
      beside_prompt_(kind_.sliding_window > 0 && config.windows_keep_prompt) {
  const ColumnSplit kv_heads = KvHeadSplit(config, kind_, columns.size());
  // Heads that share keys and values.
  const int64_t queries = config.heads_of(kind_) / config.kv_heads_of(kind_);
  head_split_ = kv_heads.Times(queries);
  const int64_t value_dim = config.value_dim(kind_);
  queries_ = head_split_.Times(rotary_.head_dim);
  keys_ = kv_heads.Times(rotary_.head_dim);
  values_ = kv_heads.Times(value_dim);
  heads_ = head_split_.Times(value_dim);
  kv_heads_ = kv_heads.width(rank());
  params_ = {.layer = config.place_in_kind(layer),
             .heads = kv_heads_ * queries,
             .scale = kind_.score_scale > 0 ? kind_.score_scale : ScoreScale(config),
             .window = config.windows_keep_prompt ? 0 : kind_.sliding_window,
             .chunk = kind_.chunk,
             .softcap = config.attention_softcap};
}

absl::StatusOr<std::unique_ptr<Attention>> GroupedAttention::Load(
    ThreadPool& pool, WeightLoader& loader, const ModelConfig& config, int64_t layer,
    const AttentionNames& names, ColumnExchange& columns) {
  std::unique_ptr<GroupedAttention> a(new GroupedAttention(config, layer, columns));
  if (config.convolved()) {
    FM_ASSIGN_OR_RETURN(
        a->convolved_,
        ConvolvedProjection::Load(pool, loader, config, layer, names,
                                  KvHeadSplit(config, a->kind_, columns.size()), a->rank()));
  } else {
    FM_RETURN_IF_ERROR(a->LoadProjections(pool, loader, config, names));
  }
  if (config.relative.profiles > 0) {
    FM_RETURN_IF_ERROR(a->LoadProfiles(loader, config, names));
  }
  if (config.residual_convolutions()) {
    FM_RETURN_IF_ERROR(a->LoadConvolution(loader, config, names));
  }
  FM_RETURN_IF_ERROR(a->LoadOutput(pool, loader, config.hidden, config.output_bias, names.o));
  FM_RETURN_IF_ERROR(a->LoadNorms(loader, config, names));
  if (config.attention_gate == AttentionGate::kOwn) {
    FM_RETURN_IF_ERROR(a->LoadGate(pool, loader, config, names));
  }
  if (a->kind_.indexer && config.indexer.pool > 0) {
    FM_ASSIGN_OR_RETURN(a->pools_, MeanIndexer::Load(pool, loader, config, layer, names));
  } else if (a->kind_.indexer) {
    const ColumnSplit kv_heads = KvHeadSplit(config, a->kind_, columns.size());
    FM_ASSIGN_OR_RETURN(a->indexer_,
                        BlockIndexer::Load(pool, loader, config, layer, names,
                                           kv_heads.begin(a->rank()), kv_heads.width(a->rank())));
  }
  if (!a->kind_.sinks) return a;
  const ColumnSplit& heads = a->head_split_;
  FM_ASSIGN_OR_RETURN(a->sinks_, loader.VectorPart(names.sinks, heads.cols(),
                                                   heads.begin(a->rank()), heads.width(a->rank())));
  a->params_.sinks = a->sinks_;
  return a;
}

absl::Status GroupedAttention::LoadGate(ThreadPool& pool, WeightLoader& loader,
                                        const ModelConfig& config, const AttentionNames& names) {
  const ColumnSplit& outputs = config.gate_per_head ? head_split_ : heads_;
  const TensorRef gate = {.name = names.gate + ".weight", .n = outputs.cols(), .k = config.hidden};
  FM_ASSIGN_OR_RETURN(gate_,
                      loader.Pack(pool, gate.Rows(outputs.begin(rank()), outputs.width(rank()))));
  if (!config.gate_bias) return absl::OkStatus();
  FM_ASSIGN_OR_RETURN(const std::vector<float> biases,
                      loader.VectorPart(names.gate_bias, head_split_.cols(),
                                        head_split_.begin(rank()), head_split_.width(rank())));
  const auto gates = static_cast<size_t>(outputs.cols() / head_split_.cols());  // of a head
  for (const float bias : biases) gate_bias_.insert(gate_bias_.end(), gates, bias);
  return absl::OkStatus();
}

absl::Status GroupedAttention::LoadProjections(ThreadPool& pool, WeightLoader& loader,
                                               const ModelConfig& config,
                                               const AttentionNames& names) {
  struct Part {
    const std::string& module;
    const ColumnSplit& outputs;
    int64_t fused_row;  // where it begins in names.qkv
  };
  const ColumnSplit queries = queries_.Times(gated_queries_ ? 2 : 1);
  std::vector<Part> parts = {{names.q, queries, 0}};
  if (kind_.kv_layer < 0) parts.push_back({names.k, keys_, queries.cols()});
  if (kind_.kv_layer < 0 && !kind_.keys_are_values) {
    parts.push_back({names.v, values_, queries.cols() + keys_.cols()});
  }
  const ColumnSplit mixes = head_split_.Times(config.relative.profiles);
  if (config.relative.profiles > 0) parts.push_back({names.mixes, mixes, 0});
  const int64_t fused_rows = queries.cols() + keys_.cols() + values_.cols();
  std::vector<TensorRef> refs;
  for (const Part& part : parts) {
    const int64_t begin = part.outputs.begin(rank());
    const int64_t width = part.outputs.width(rank());
    const bool fused = !names.qkv.empty();
    const std::string& module = fused ? names.qkv : part.module;
    const int64_t rows = fused ? fused_rows : part.outputs.cols();
    const int64_t first = begin + (fused ? part.fused_row : 0);
    refs.push_back(
        TensorRef{.name = module + ".weight", .n = rows, .k = config.hidden}.Rows(first, width));
    if (!config.qkv_bias) continue;
    FM_ASSIGN_OR_RETURN(const std::vector<float> bias,
                        loader.VectorPart(module + ".bias", rows, first, width));
    qkv_bias_.insert(qkv_bias_.end(), bias.begin(), bias.end());
  }
  FM_ASSIGN_OR_RETURN(qkv_, loader.PackStack(pool, refs));
  return absl::OkStatus();
}

absl::Status GroupedAttention::LoadProfiles(WeightLoader& loader, const ModelConfig& config,
                                            const AttentionNames& names) {
  const int64_t count = config.relative.profiles;
  const int64_t extent = kind_.sliding_window > 0 ? kind_.sliding_window : config.relative.extent;
  FM_ASSIGN_OR_RETURN(const std::vector<float> profiles,
                      loader.Vector(names.profiles, count * extent, extent));
  profiles_ = DistanceProfiles(profiles, count);
  return absl::OkStatus();
}

absl::Status GroupedAttention::LoadConvolution(WeightLoader& loader, const ModelConfig& config,
                                               const AttentionNames& names) {
  using Convolution = ResidualConvolution;
  const auto kernels = [&](const std::string& module, const ColumnSplit& outputs) {
    return Convolution::Kernels{.module = module,
                                .channels = outputs.cols(),
                                .first = outputs.begin(rank()),
                                .width = outputs.width(rank())};
  };
  const Convolution::Kernels both[] = {kernels(names.k_convolution, keys_),
                                       kernels(names.v_convolution, values_)};
  FM_ASSIGN_OR_RETURN(convolution_, Convolution::Load(loader, config, layer(),
                                                      Convolution::Place::kKeysAndValues, both));
  return absl::OkStatus();
}

absl::Status GroupedAttention::LoadNorms(WeightLoader& loader, const ModelConfig& config,
                                         const AttentionNames& names) {
  norm_after_rope_ =
      config.qk_norm == QkNormKind::kHeadsAfterRope || config.qk_norm == QkNormKind::kUnitAfterRope;
  if (config.value_norm) {
    v_norm_.assign(static_cast<size_t>(config.value_dim(kind_)), 1.0f);
  }
  if (config.attended_norm) {
    attended_norm_.assign(static_cast<size_t>(config.value_dim(kind_)), 1.0f);
  }
  int64_t q_width = rotary_.head_dim;
  int64_t k_width = rotary_.head_dim;
  switch (config.qk_norm) {
    case QkNormKind::kNone:
      return absl::OkStatus();
    case QkNormKind::kUnit:
      q_norm_.assign(static_cast<size_t>(q_width), 1.0f);
      k_norm_ = q_norm_;
      return absl::OkStatus();
    case QkNormKind::kUnitAfterRope:
      if (kind_.rope) q_norm_.assign(static_cast<size_t>(q_width), 1.0f);
      k_norm_ = q_norm_;
      return absl::OkStatus();
    case QkNormKind::kUnitScaledKeys:
      return LoadKeyScales(loader, names);
    case QkNormKind::kRows:
      q_width = queries_.cols();
      k_width = keys_.cols();
      FM_CHECK(queries_.width(rank()) == q_width);  // WhyNotTensorParallel
      break;
    case QkNormKind::kHeads:
    case QkNormKind::kHeadsAfterRope:
      break;
  }
  FM_ASSIGN_OR_RETURN(q_norm_,
                      RmsNormWeights(loader, config.norm, names.q_norm + ".weight", q_width));
  if (kind_.kv_layer >= 0) return absl::OkStatus();
  FM_ASSIGN_OR_RETURN(k_norm_,
                      RmsNormWeights(loader, config.norm, names.k_norm + ".weight", k_width));
  return absl::OkStatus();
}

absl::Status GroupedAttention::LoadKeyScales(WeightLoader& loader, const AttentionNames& names) {
  const int64_t dim = rotary_.head_dim;
  q_norm_.assign(static_cast<size_t>(dim), 1.0f);
  k_norm_ = q_norm_;
  // The authors divide by a length of at least 2^-23, which no vector but zeros falls short of.
  constexpr float kShortest = std::numeric_limits<float>::epsilon();
  norm_eps_ = kShortest * kShortest / static_cast<float>(dim);
  FM_ASSIGN_OR_RETURN(const std::vector<float> scales,
                      loader.Vector(names.key_scales, keys_.cols() / dim));
  const int64_t first = keys_.begin(rank()) / dim;
  for (int64_t head = first; head < first + kv_heads_; ++head) {
    key_scales_.insert(key_scales_.end(), static_cast<size_t>(dim),
                       scales[static_cast<size_t>(head)]);
  }
  return absl::OkStatus();
}

void GroupedAttention::NormaliseHeads(LayerContext& ctx, Matrix q, Matrix k) const {
  if (!q_norm_.empty()) HeadRmsNorm(ctx.pool, std::ssize(q_norm_), q_norm_, norm_eps_, q);
  if (!k_norm_.empty()) HeadRmsNorm(ctx.pool, std::ssize(k_norm_), k_norm_, norm_eps_, k);
  if (!key_scales_.empty()) ShiftScale(ctx.pool, k, {}, key_scales_, k);
}

Matrix GroupedAttention::Values(LayerContext& ctx, ConstMatrix k, Matrix v) const {
  if (kind_.keys_are_values && kind_.kv_layer < 0) {
    v = ctx.workspace.GetMatrix(k.rows, k.cols);
    for (int64_t t = 0; t < k.rows; ++t) std::copy_n(k.Row(t), k.cols, v.Row(t));
  }
  if (value_scale_ != 1.0f) Scale(ctx.pool, value_scale_, v);
  if (!v_norm_.empty()) HeadRmsNorm(ctx.pool, std::ssize(v_norm_), v_norm_, norm_eps_, v);
  return v;
}

GroupedAttention::Projected GroupedAttention::Project(LayerContext& ctx, const AttentionStep& step,
                                                      ConstMatrix x) const {
  const int64_t q_width = queries_.width(rank());
  const int64_t all_q_width = q_width * (gated_queries_ ? 2 : 1);
  const bool caches = kind_.kv_layer < 0;
  const int64_t k_width = caches ? keys_.width(rank()) : 0;
  const int64_t v_width = caches && !kind_.keys_are_values ? values_.width(rank()) : 0;
  const int64_t mixes = params_.heads * profiles_.count();
  const Matrix all = ctx.workspace.GetMatrix(x.rows, all_q_width + k_width + v_width + mixes);
  if (convolved_) {
    convolved_->Project(ctx, step, x, all);
  } else {
    GemmStack(ctx.pool, x, qkv_, qkv_bias_, ctx.workspace, all);
  }
  Projected projected = {.q = all.Columns(0, q_width),
                         .mixes = all.Columns(all_q_width + k_width + v_width, mixes)};
  if (gated_queries_) {
    projected.q = ctx.workspace.GetMatrix(x.rows, q_width);
    projected.gate = ctx.workspace.GetMatrix(x.rows, q_width);
    SplitHeads(ctx.pool, rotary_.head_dim, all.Columns(0, all_q_width), projected.q,
               projected.gate);
  }
  Matrix kv = all.Columns(all_q_width, k_width + v_width);
  if (convolution_) {
    const Matrix convolved = ctx.workspace.GetMatrix(x.rows, kv.cols);
    convolution_->Apply(ctx, step, kv, convolved);
    kv = convolved;
  }
  projected.k = kv.Columns(0, k_width);
  projected.v = Values(ctx, projected.k, kv.Columns(k_width, v_width));
  return projected;
}

void GroupedAttention::Turn(LayerContext& ctx, const AttentionStep& step,
                            const Projected& projected) const {
  const auto& [q, k, v, gate, mixes] = projected;
  if (!norm_after_rope_) NormaliseHeads(ctx, q, k);
  if (clip_ > 0) {
    for (const Matrix& part : {q, k, v}) Clamp(ctx.pool, clip_, part);
  }
  if (kind_.rope) {
    const RopeRows& rope = kind_.local_rope ? step.local_rope : step.rope;
    ApplyRope(ctx.pool, rope.cos, rope.sin, rotary_, q);
    ApplyRope(ctx.pool, rope.cos, rope.sin, rotary_, k);
  } else if (!step.temperature.empty() && tempered_) {
    ScaleRows(ctx.pool, step.temperature, q);
    if (mixes.cols > 0) ScaleRows(ctx.pool, step.temperature, mixes);
  }
  if (norm_after_rope_) NormaliseHeads(ctx, q, k);
}

void GroupedAttention::MultiplyByGate(LayerContext& ctx, ConstMatrix x, Matrix gate,
                                      Matrix attended) const {
  if (!gate_.empty()) {
    gate = ctx.workspace.GetMatrix(x.rows, gate_.n());
    Gemm(ctx.pool, x, gate_, gate_bias_, ctx.workspace, gate);
  }
  if (gate.rows == 0) return;
  MultiplyGates(ctx.pool, gate_function_, gate, attended);
}

void GroupedAttention::Attend(LayerContext& ctx, const AttentionStep& step, KvCache& cache,
                              ConstMatrix x, Matrix attended) const {
  const Projected projected = Project(ctx, step, x);
  Turn(ctx, step, projected);
  if (kind_.kv_layer < 0) {
    StoreKv(ctx.pool, params_.layer, step.sequences, projected.k, projected.v, cache);
  }
  AttentionParams params = params_;
  params.position_bias = step.position_bias;
  params.reach = step.reach;
  if (profiles_.count() > 0) {
    params.profiles = &profiles_;
    params.mixes = projected.mixes;
  }
  ChosenKeys chosen;
  if (indexer_) {
    chosen = indexer_->Choose(ctx, step, x);
    if (chosen.most > 0) params.chosen = &chosen;
  } else if (pools_) {
    pools_->Choose(ctx, step, x);
    params.chosen = step.chosen;
  }
  std::span<const AttentionSequence> sequences = step.sequences;
  if (beside_prompt_ && step.chosen != nullptr) {
    PagedAttention(ctx.pool, params, step.within_window, projected.q, cache, ctx.workspace,
                   attended);
    params.chosen = step.chosen;
    sequences = step.beyond_window;
  }
  PagedAttention(ctx.pool, params, sequences, projected.q, cache, ctx.workspace, attended);
  if (!attended_norm_.empty()) {
    HeadRmsNorm(ctx.pool, std::ssize(attended_norm_), attended_norm_, norm_eps_, attended);
  }
  MultiplyByGate(ctx, x, projected.gate, attended);
}

}  // namespace folkmoot
