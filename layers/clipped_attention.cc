// SPDX-License-Identifier: Apache-2.0
// Attend is all of it: queries of one row, keys and values perhaps of others.
#include "layers/clipped_attention.h"

#include <cmath>

#include "runtime/ops/norm.h"

namespace folkmoot {

ClippedAttention::ClippedAttention(const ModelConfig& config, int64_t layer,
                                   ColumnExchange& columns)
    : UniformAttention(layer, columns),
      kind_(config.layers[static_cast<size_t>(layer)]),
      clip_(config.clip),
      kv_head_split_(KvHeadSplit(config, kind_, columns.size())),
      head_dim_(config.head_dim_of(kind_)),
      taps_(kind_.dynamic ? config.recurrent.kernel : 0),
      norm_eps_(config.rms_norm_eps),
      v_norm_(static_cast<size_t>(head_dim_), 1.0f) {
  FM_CHECK(config.value_dim(kind_) == head_dim_);
  head_split_ = kv_head_split_.Times(config.heads_of(kind_) / config.kv_heads_of(kind_));
  keys_ = kv_head_split_.Times(head_dim_);
  heads_ = head_split_.Times(head_dim_);
  params_ = {.layer = config.place_in_kind(layer),
             .heads = head_split_.width(rank()),
             .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim_))),
             .window = kind_.sliding_window};
}

absl::StatusOr<std::unique_ptr<Attention>> ClippedAttention::Load(
    ThreadPool& pool, WeightLoader& loader, const ModelConfig& config, int64_t layer,
    const AttentionNames& names, ColumnExchange& columns) {
  std::unique_ptr<ClippedAttention> a(new ClippedAttention(config, layer, columns));
  FM_RETURN_IF_ERROR(a->LoadQueries(pool, loader, config, names));
  FM_RETURN_IF_ERROR(a->LoadKeys(pool, loader, config, names));
  FM_RETURN_IF_ERROR(a->LoadConvolution(loader, config, names));
  FM_RETURN_IF_ERROR(a->LoadProfiles(loader, config, names));
  FM_RETURN_IF_ERROR(a->LoadOutput(pool, loader, config.hidden, config.output_bias, names.o));
  return a;
}

absl::Status ClippedAttention::LoadQueries(ThreadPool& pool, WeightLoader& loader,
                                           const ModelConfig& config, const AttentionNames& names) {
  const int64_t profiles = config.relative.profiles;
  const auto part = [&](const std::string& module, const ColumnSplit& outputs) {
    const TensorRef whole = {.name = module + ".weight", .n = outputs.cols(), .k = config.hidden};
    return whole.Rows(outputs.begin(rank()), outputs.width(rank()));
  };
  const TensorRef refs[] = {part(names.q, heads_), part(names.mixes, head_split_.Times(profiles)),
                            part(names.sinks_of, head_split_), part(names.gate, heads_)};
  FM_ASSIGN_OR_RETURN(queries_, loader.PackStack(pool, refs));
  // Of this rank's heads, of so many numbers each.
  const auto factors = [&](const std::string& name,
                           int64_t dim) -> absl::StatusOr<std::vector<float>> {
    FM_ASSIGN_OR_RETURN(const std::vector<float> all,
                        loader.Vector(name, head_split_.cols() * dim, dim));
    const auto first = all.begin() + head_split_.begin(rank()) * dim;
    return std::vector<float>(first, first + head_split_.width(rank()) * dim);
  };
  FM_ASSIGN_OR_RETURN(q_factors_, factors(names.q_factors, head_dim_));
  FM_ASSIGN_OR_RETURN(mix_factors_, factors(names.mix_factors, profiles));
  return absl::OkStatus();
}

absl::Status ClippedAttention::LoadKeys(ThreadPool& pool, WeightLoader& loader,
                                        const ModelConfig& config, const AttentionNames& names) {
  const auto load = [&](const std::string& name, const ColumnSplit& outputs) {
    const TensorRef whole = {.name = name, .n = outputs.cols(), .k = config.hidden};
    return loader.Pack(pool, whole.Rows(outputs.begin(rank()), outputs.width(rank())));
  };
  FM_ASSIGN_OR_RETURN(k_, load(names.k + ".weight", keys_));
  FM_ASSIGN_OR_RETURN(v_, load(names.v + ".weight", keys_));
  if (taps_ == 0) return absl::OkStatus();
  FM_ASSIGN_OR_RETURN(k_taps_, load(names.k_taps, kv_head_split_.Times(taps_)));
  FM_ASSIGN_OR_RETURN(v_taps_, load(names.v_taps, kv_head_split_.Times(taps_)));
  return absl::OkStatus();
}

absl::Status ClippedAttention::LoadConvolution(WeightLoader& loader, const ModelConfig& config,
                                               const AttentionNames& names) {
  using Convolution = ResidualConvolution;
  const auto kernels = [&](const std::string& module) {
    return Convolution::Kernels{.module = module,
                                .channels = keys_.cols(),
                                .first = keys_.begin(rank()),
                                .width = keys_.width(rank())};
  };
  if (kind_.dynamic) {
    const Convolution::Kernels both[] = {kernels(names.k_kernel), kernels(names.v_kernel)};
    FM_ASSIGN_OR_RETURN(convolution_, Convolution::LoadDynamic(loader, config, layer(), both));
    return absl::OkStatus();
  }
  const Convolution::Kernels both[] = {kernels(names.k_convolution), kernels(names.v_convolution)};
  FM_ASSIGN_OR_RETURN(convolution_, Convolution::Load(loader, config, layer(),
                                                      Convolution::Place::kKeysAndValues, both));
  return absl::OkStatus();
}

absl::Status ClippedAttention::LoadProfiles(WeightLoader& loader, const ModelConfig& config,
                                            const AttentionNames& names) {
  const int64_t count = config.relative.profiles;
  const int64_t extent = kind_.sliding_window > 0 ? kind_.sliding_window : config.relative.extent;
  FM_ASSIGN_OR_RETURN(const std::vector<float> profiles,
                      loader.Vector(names.profiles, count * extent, extent));
  profiles_ = DistanceProfiles(profiles, count);
  return absl::OkStatus();
}

ClippedAttention::Queries ClippedAttention::ProjectQueries(LayerContext& ctx,
                                                           const AttentionStep& step,
                                                           ConstMatrix x) const {
  const int64_t heads = params_.heads;
  const int64_t q_width = heads * head_dim_;
  const int64_t mix_width = heads * profiles_.count();
  const Matrix all = ctx.workspace.GetMatrix(x.rows, 2 * q_width + mix_width + heads);
  GemmStack(ctx.pool, x, queries_, {}, ctx.workspace, all);
  const Queries queries = {.q = all.Columns(0, q_width),
                           .mixes = all.Columns(q_width, mix_width),
                           .sinks = all.Columns(q_width + mix_width, heads),
                           .gates = all.Columns(q_width + mix_width + heads, q_width)};
  ClipHeads(ctx.pool, head_dim_, q_factors_, clip_.heads, queries.q);
  ClipHeads(ctx.pool, profiles_.count(), mix_factors_, clip_.mixes, queries.mixes);
  if (kind_.dynamic && !step.temperature.empty()) {
    ScaleRows(ctx.pool, step.temperature, queries.q);
    ScaleRows(ctx.pool, step.temperature, queries.mixes);
  }
  return queries;
}

ClippedAttention::Keys ClippedAttention::ProjectKeys(LayerContext& ctx, const AttentionStep& step,
                                                     ConstMatrix x) const {
  const ConstMatrix key_rows = step.key_rows.data != nullptr ? step.key_rows : x;
  const ConstMatrix value_rows = step.value_rows.data != nullptr ? step.value_rows : x;
  const int64_t width = keys_.width(rank());
  const Matrix projected = ctx.workspace.GetMatrix(x.rows, 2 * width);
  Gemm(ctx.pool, key_rows, k_, {}, ctx.workspace, projected.Columns(0, width));
  Gemm(ctx.pool, value_rows, v_, {}, ctx.workspace, projected.Columns(width, width));
  const int64_t tap_width = kv_head_split_.width(rank()) * taps_;
  const Matrix taps = ctx.workspace.GetMatrix(x.rows, 2 * tap_width);
  if (tap_width > 0) {
    Gemm(ctx.pool, key_rows, k_taps_, {}, ctx.workspace, taps.Columns(0, tap_width));
    Gemm(ctx.pool, value_rows, v_taps_, {}, ctx.workspace, taps.Columns(tap_width, tap_width));
  }
  const Matrix convolved = ctx.workspace.GetMatrix(x.rows, 2 * width);
  convolution_->Apply(ctx, step, projected, convolved, taps);
  const Keys keys = {.k = convolved.Columns(0, width), .v = convolved.Columns(width, width)};
  ClipHeads(ctx.pool, head_dim_, {}, clip_.heads, keys.k);
  HeadRmsNorm(ctx.pool, head_dim_, v_norm_, norm_eps_, keys.v);
  return keys;
}

void ClippedAttention::Attend(LayerContext& ctx, const AttentionStep& step, KvCache& cache,
                              ConstMatrix x, Matrix attended) const {
  const Queries queries = ProjectQueries(ctx, step, x);
  const Keys keys = ProjectKeys(ctx, step, x);
  AttentionParams params = params_;
  params.layer += step.again;
  params.profiles = &profiles_;
  params.mixes = queries.mixes;
  params.row_sinks = queries.sinks;
  StoreKv(ctx.pool, params.layer, step.sequences, keys.k, keys.v, cache);
  PagedAttention(ctx.pool, params, step.sequences, queries.q, cache, ctx.workspace, attended);
  MultiplyGates(ctx.pool, GateFunction::kSigmoid, queries.gates, attended);
}

}  // namespace folkmoot
