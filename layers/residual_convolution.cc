// SPDX-License-Identifier: Apache-2.0
#include "layers/residual_convolution.h"

#include <algorithm>
#include <cmath>

#include "runtime/ops/norm.h"

namespace folkmoot {
namespace {

// Where the inputs of a convolution begin in the state of its layer.
int64_t FirstInput(const ModelConfig& config, ResidualConvolution::Place place) {
  return static_cast<int64_t>(place) * (config.recurrent.kernel - 1) * config.hidden;
}

}  // namespace

RecurrentState::LayerShape ResidualConvolution::StateOf(const ModelConfig& config) {
  int64_t widest = 0;  // keys and values
  for (const LayerConfig& layer : config.layers) {
    widest = std::max(
        widest, config.kv_heads_of(layer) * (config.head_dim_of(layer) + config.value_dim(layer)));
  }
  return {.inputs =
              FirstInput(config, Place::kKeysAndValues) + (config.recurrent.kernel - 1) * widest};
}

ResidualConvolution::ResidualConvolution(const ModelConfig& config, int64_t layer, Place place,
                                         std::span<const Kernels> kernels)
    : layer_(config.place_in_kind(layer)) {
  const int64_t rows = config.recurrent.kernel;
  int64_t channels = 0;
  for (const Kernels& part : kernels) channels += part.width;
  weights_.resize(static_cast<size_t>(rows * channels));
  convolution_ = {.rows = rows,
                  .channels = channels,
                  .weights = weights_,
                  .activation = std::nullopt,
                  .first_input = FirstInput(config, place)};
  if (config.recurrent.scaled) factor_ = 1.0f / std::sqrt(static_cast<float>(rows + 1));
}

// [channels, 1, rows] becomes [rows, channels], and what is added to the outcome is one more in the
// number of the row itself, the last.
absl::StatusOr<ResidualConvolution> ResidualConvolution::Load(WeightLoader& loader,
                                                              const ModelConfig& config,
                                                              int64_t layer, Place place,
                                                              std::span<const Kernels> kernels) {
  ResidualConvolution convolution(config, layer, place, kernels);
  const int64_t rows = config.recurrent.kernel;
  const int64_t channels = convolution.convolution_.channels;
  int64_t channel = 0;
  for (const Kernels& part : kernels) {
    FM_ASSIGN_OR_RETURN(const std::vector<float> stored,
                        loader.Vector(part.module + ".weight", part.channels * rows, rows));
    for (int64_t c = part.first; c < part.first + part.width; ++c, ++channel) {
      for (int64_t j = 0; j < rows; ++j) {
        const float residual = j + 1 == rows ? 1.0f : 0.0f;
        convolution.weights_[static_cast<size_t>(j * channels + channel)] =
            (stored[static_cast<size_t>(c * rows + j)] + residual) * convolution.factor_;
      }
    }
  }
  return convolution;
}

absl::StatusOr<ResidualConvolution> ResidualConvolution::LoadDynamic(
    WeightLoader& loader, const ModelConfig& config, int64_t layer,
    std::span<const Kernels> kernels) {
  ResidualConvolution convolution(config, layer, Place::kKeysAndValues, kernels);
  const int64_t rows = config.recurrent.kernel;
  const int64_t channels = convolution.convolution_.channels;
  convolution.factor_ = 1.0f / std::sqrt(static_cast<float>(2 * rows + 1));
  int64_t channel = 0;
  for (const Kernels& part : kernels) {
    FM_ASSIGN_OR_RETURN(const std::vector<float> stored,
                        loader.Vector(part.module, rows * part.channels, part.channels));
    for (int64_t c = part.first; c < part.first + part.width; ++c, ++channel) {
      for (int64_t back = 0; back < rows; ++back) {
        const float residual = back == 0 ? 1.0f : 0.0f;
        convolution.weights_[static_cast<size_t>((rows - 1 - back) * channels + channel)] =
            (stored[static_cast<size_t>(back * part.channels + c)] + residual) *
            convolution.factor_;
      }
    }
  }
  return convolution;
}

void ResidualConvolution::MultiplyInputs(float factor) {
  for (float& weight : weights_) weight *= factor;
}

void ResidualConvolution::Apply(LayerContext& ctx, const AttentionStep& step, ConstMatrix x,
                                Matrix out, Matrix taps) const {
  FM_CHECK(step.state != nullptr && x.data != out.data);
  CausalConvolution convolution = convolution_;
  if (taps.cols > 0) {
    Scale(ctx.pool, factor_, taps);
    convolution.taps = taps;
  }
  Convolve(ctx.pool, convolution, layer_ + step.again, step.sequences, x, *step.state, out);
}

}  // namespace folkmoot
