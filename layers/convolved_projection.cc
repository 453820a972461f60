// SPDX-License-Identifier: Apache-2.0
#include "layers/convolved_projection.h"

#include <algorithm>
#include <span>

namespace folkmoot {
namespace {

// Rows that the first convolution sees: at least two, since it delays values by one.
int64_t RowsOfFirst(const ModelConfig& config) {
  return std::max<int64_t>(config.recurrent.kernel, 2);
}

}  // namespace

RecurrentState::LayerShape ConvolvedProjection::StateOf(const ModelConfig& config,
                                                        int64_t kv_heads) {
  const int64_t queries = config.heads / config.kv_heads;
  const int64_t channels = kv_heads * (queries + 1) * config.head_dim;
  const int64_t values = kv_heads * config.head_dim;
  return {.inputs = (RowsOfFirst(config) - 1) * (channels + values),
          .memory = (config.recurrent.head_kernel - 1) * channels};
}

absl::StatusOr<ConvolvedProjection> ConvolvedProjection::Load(
    ThreadPool& pool, WeightLoader& loader, const ModelConfig& config, int64_t layer,
    const AttentionNames& names, const ColumnSplit& kv_heads, int rank) {
  ConvolvedProjection p;
  p.layer_ = config.place_in_kind(layer);
  p.head_dim_ = config.head_dim;
  p.queries_ = config.heads / config.kv_heads;
  p.first_key_ = config.heads * config.head_dim;
  p.all_channels_ = (config.heads + config.kv_heads) * config.head_dim;
  const int64_t begin = kv_heads.begin(rank) * config.head_dim;
  const int64_t width = kv_heads.width(rank) * config.head_dim;
  // Values stand in one row, half of them of this token and then half of the one before, whatever
  // heads they belong to.
  const int64_t half = config.kv_heads * config.head_dim / 2;
  const int64_t first_now = std::min(begin, half);
  const int64_t first_delayed = std::max(begin, half) - half;
  p.runs_ = {.q = {begin * p.queries_, width * p.queries_},
             .k = {begin, width},
             .now = {first_now, std::min(begin + width, half) - first_now},
             .delayed = {first_delayed, std::max(begin + width, half) - half - first_delayed}};
  FM_RETURN_IF_ERROR(p.LoadMatrices(pool, loader, config, names));
  FM_RETURN_IF_ERROR(p.LoadConvolution(loader, config, names));
  FM_RETURN_IF_ERROR(p.LoadHeadKernels(pool, loader, config, names));
  return p;
}

absl::Status ConvolvedProjection::LoadMatrices(ThreadPool& pool, WeightLoader& loader,
                                               const ModelConfig& config,
                                               const AttentionNames& names) {
  struct Part {
    const std::string& module;
    int64_t rows;
    Run mine;
    bool value;
  };
  const int64_t keys = all_channels_ - first_key_;
  const Part parts[] = {{names.q, first_key_, runs_.q, false},
                        {names.k, keys, runs_.k, false},
                        {names.v, keys / 2, runs_.now, true},
                        {names.v_delayed, keys / 2, runs_.delayed, true}};
  std::vector<TensorRef> refs;
  for (const auto& [module, rows, mine, value] : parts) {
    const auto [first, width] = mine;
    if (width == 0) continue;
    const TensorRef all = {.name = module + ".weight", .n = rows, .k = config.hidden};
    refs.push_back(all.Rows(first, width));
    if (!config.qkv_bias) continue;
    FM_ASSIGN_OR_RETURN(const std::vector<float> bias,
                        loader.VectorPart(module + ".bias", rows, first, width));
    std::vector<float>& to = value ? kernel_bias_ : bias_;
    to.insert(to.end(), bias.begin(), bias.end());
  }
  if (config.qkv_bias) bias_.resize(static_cast<size_t>(channels() + runs_.k.second));
  FM_ASSIGN_OR_RETURN(projections_, loader.PackStack(pool, refs));
  return absl::OkStatus();
}

std::vector<float> ConvolvedProjection::Mine(const std::vector<float>& all, int64_t taps) const {
  std::vector<float> mine;
  for (const auto& [first, width] : {runs_.q, Run{first_key_ + runs_.k.first, runs_.k.second}}) {
    const auto begin = all.begin() + first * taps;
    mine.insert(mine.end(), begin, begin + width * taps);
  }
  return mine;
}

// [channels, 1, kernel] becomes [rows, channels and values].
absl::Status ConvolvedProjection::LoadConvolution(WeightLoader& loader, const ModelConfig& config,
                                                  const AttentionNames& names) {
  const int64_t kernel = config.recurrent.kernel;
  const int64_t rows = RowsOfFirst(config);
  const int64_t all = channels() + runs_.k.second;
  FM_ASSIGN_OR_RETURN(const std::vector<float> stored,
                      loader.Vector(names.convolution + ".weight", all_channels_ * kernel, kernel));
  const std::vector<float> mine = Mine(stored, kernel);
  weights_.assign(static_cast<size_t>(rows * all), 0.0f);
  const auto weight = [&](int64_t row, int64_t channel) -> float& {
    return weights_[static_cast<size_t>(row * all + channel)];
  };
  for (int64_t c = 0; c < channels(); ++c) {
    for (int64_t j = 0; j < kernel; ++j) {
      weight(rows - kernel + j, c) = mine[static_cast<size_t>(c * kernel + j)];
    }
  }
  for (int64_t c = 0; c < runs_.k.second; ++c) {
    weight(c < runs_.now.second ? rows - 1 : rows - 2, channels() + c) = 1.0f;
  }
  FM_ASSIGN_OR_RETURN(const std::vector<float> bias,
                      loader.Vector(names.convolution + ".bias", all_channels_));
  const std::vector<float> own = Mine(bias, 1);
  kernel_bias_.insert(kernel_bias_.begin(), own.begin(), own.end());  // those of values behind them
  kernel_bias_.resize(static_cast<size_t>(all));
  convolution_ = {.rows = rows,
                  .channels = all,
                  .weights = weights_,
                  .bias = kernel_bias_,
                  .activation = std::nullopt};
  return absl::OkStatus();
}

absl::Status ConvolvedProjection::LoadHeadKernels(ThreadPool& pool, WeightLoader& loader,
                                                  const ModelConfig& config,
                                                  const AttentionNames& names) {
  const int64_t rows = config.recurrent.head_kernel;
  // [outputs, numbers of a head, rows] as a matrix; not rounded: it is small, and all of q and k.
  const TensorRef kernels = {.name = names.head_convolution + ".weight",
                             .n = all_channels_,
                             .k = head_dim_ * rows,
                             .exact = true};
  for (const auto& [first, width] : {runs_.q, Run{first_key_ + runs_.k.first, runs_.k.second}}) {
    for (int64_t row = first; row < first + width; row += head_dim_) {
      FM_ASSIGN_OR_RETURN(head_kernels_.emplace_back(),
                          loader.Pack(pool, kernels.Rows(row, head_dim_)));
    }
  }
  FM_ASSIGN_OR_RETURN(const std::vector<float> bias,
                      loader.Vector(names.head_convolution + ".bias", all_channels_));
  head_bias_ = Mine(bias, 1);
  windows_ = {.layer = layer_,
              .rows = rows,
              .columns = channels(),
              .before = std::span(kernel_bias_).first(static_cast<size_t>(channels()))};
  return absl::OkStatus();
}

void ConvolvedProjection::Project(LayerContext& ctx, const AttentionStep& step, ConstMatrix x,
                                  Matrix qkv) const {
  FM_CHECK(step.state != nullptr);
  const Workspace::Position mark = ctx.workspace.Mark();
  const Matrix projected = ctx.workspace.GetMatrix(x.rows, qkv.cols);
  GemmStack(ctx.pool, x, projections_, bias_, ctx.workspace, projected);
  Convolve(ctx.pool, convolution_, layer_, step.sequences, projected, *step.state, qkv);
  const Matrix heads = qkv.Columns(0, channels());
  const Matrix windows = ctx.workspace.GetMatrix(x.rows, channels() * windows_.rows);
  MakeHeadWindows(ctx.pool, windows_, step.sequences, heads, *step.state, windows);
  for (int64_t h = 0; h < std::ssize(head_kernels_); ++h) {
    const int64_t width = head_dim_ * windows_.rows;
    const std::span<const float> bias(head_bias_);
    Gemm(ctx.pool, windows.Columns(h * width, width), head_kernels_[static_cast<size_t>(h)],
         bias.subspan(static_cast<size_t>(h * head_dim_), static_cast<size_t>(head_dim_)),
         ctx.workspace, heads.Columns(h * head_dim_, head_dim_));
  }
  AddHeadMeans(ctx.pool, head_dim_, queries_, projected.Columns(0, channels()), heads);
  ctx.workspace.Release(mark);
}

}  // namespace folkmoot
