// SPDX-License-Identifier: Apache-2.0
#include "layers/recurrent_mixer.h"

#include <iterator>

namespace folkmoot {
namespace {

constexpr std::string_view kWeight = "weight";

// The channels of `runs`, `taps` numbers each, one run after the other.
std::vector<float> ChannelsOf(const std::vector<float>& all, int64_t taps,
                              std::span<const std::pair<int64_t, int64_t>> runs) {
  std::vector<float> mine;
  for (const auto& [first, width] : runs) {
    const auto begin = all.begin() + first * taps;
    mine.insert(mine.end(), begin, begin + width * taps);
  }
  return mine;
}

}  // namespace

RecurrentMixer::RecurrentMixer(const ModelConfig& config, int64_t layer, int64_t values,
                               ColumnExchange& columns)
    : UniformAttention(layer, columns), units_(RecurrentSplit(config, columns.size())) {
  heads_ = units_.Times(values);
}

absl::Status RecurrentMixer::LoadProjections(ThreadPool& pool, WeightLoader& loader,
                                             std::span<const TensorRef> refs, bool biased) {
  FM_ASSIGN_OR_RETURN(std::vector<PackedMatrix> more, loader.PackStack(pool, refs));
  std::move(more.begin(), more.end(), std::back_inserter(projections_));
  if (!biased) return absl::OkStatus();
  for (const TensorRef& ref : refs) {
    const std::string name = ref.name.substr(0, ref.name.size() - kWeight.size()) + "bias";
    FM_ASSIGN_OR_RETURN(const std::vector<float> part,
                        loader.VectorPart(name, ref.rows(), ref.first_row, ref.n));
    bias_.insert(bias_.end(), part.begin(), part.end());
  }
  return absl::OkStatus();
}

Matrix RecurrentMixer::Project(LayerContext& ctx, ConstMatrix x) const {
  int64_t width = 0;
  for (const PackedMatrix& weights : projections_) width += weights.n();
  const Matrix projected = ctx.workspace.GetMatrix(x.rows, width);
  ProjectInto(ctx, x, projected);
  return projected;
}

void RecurrentMixer::ProjectInto(LayerContext& ctx, ConstMatrix x, Matrix projected) const {
  GemmStack(ctx.pool, x, projections_, bias_, ctx.workspace, projected);
}

// This rank's channels of [channels, 1, rows] become [rows, channels].
absl::Status RecurrentMixer::LoadConvolution(WeightLoader& loader, const RecurrentConfig& config,
                                             const std::vector<std::string>& modules,
                                             int64_t channels,
                                             std::span<const std::pair<int64_t, int64_t>> runs) {
  const int64_t rows = config.kernel;
  const int64_t of_module = channels / std::ssize(modules);
  std::vector<float> stored, stored_bias;
  for (const std::string& module : modules) {
    FM_ASSIGN_OR_RETURN(const std::vector<float> part,
                        loader.Vector(module + ".weight", of_module * rows, rows));
    stored.insert(stored.end(), part.begin(), part.end());
    if (!config.kernel_bias) continue;
    FM_ASSIGN_OR_RETURN(const std::vector<float> bias, loader.Vector(module + ".bias", of_module));
    stored_bias.insert(stored_bias.end(), bias.begin(), bias.end());
  }
  const std::vector<float> mine = ChannelsOf(stored, rows, runs);
  const int64_t own = std::ssize(mine) / rows;
  weights_.resize(mine.size());
  for (int64_t c = 0; c < own; ++c) {
    for (int64_t j = 0; j < rows; ++j) {
      weights_[static_cast<size_t>(j * own + c)] = mine[static_cast<size_t>(c * rows + j)];
    }
  }
  if (config.kernel_bias) kernel_bias_ = ChannelsOf(stored_bias, 1, runs);
  convolution_ = {.rows = rows, .channels = own, .weights = weights_, .bias = kernel_bias_};
  if (config.kind == Recurrence::kShortConvolution) {
    convolution_.activation.reset();
  } else {
    convolution_.activation = config.activation;
  }
  return absl::OkStatus();
}

}  // namespace folkmoot
