// SPDX-License-Identifier: Apache-2.0
// Frequencies are rounded to float32 where Transformers rounds them; powers are taken in double and
// rounded once, which stays within one unit in the last place of any good float32 power.
#include "runtime/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "runtime/check.h"

namespace folkmoot {
namespace {

// theta^(2i / D), both operands in float32.
float PositionScale(double theta, int64_t i, int64_t dim) {
  const float exponent = static_cast<float>(2 * i) / static_cast<float>(dim);
  return static_cast<float>(
      std::pow(static_cast<double>(static_cast<float>(theta)), static_cast<double>(exponent)));
}

// Peng et al. 2023 (YaRN), section 3.4; f is the unscaled frequency.
float YarnFrequency(const RopeConfig& config, int64_t dim, int64_t i, float scale) {
  const auto dimension_of = [&](double rotations) {
    const double positions = static_cast<double>(config.original_max_positions);
    return static_cast<double>(dim) * std::log(positions / (rotations * 2.0 * std::numbers::pi)) /
           (2.0 * std::log(config.theta));
  };
  double low = dimension_of(config.beta_fast);
  double high = dimension_of(config.beta_slow);
  if (config.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(dim - 1));
  if (low == high) high += 0.001;
  const float ramp =
      std::clamp((static_cast<float>(i) - static_cast<float>(low)) / static_cast<float>(high - low),
                 0.0f, 1.0f);
  const float keep = 1.0f - ramp;
  const float extrapolated = 1.0f / scale;
  const float interpolated = 1.0f / (static_cast<float>(config.factor) * scale);
  return interpolated * (1.0f - keep) + extrapolated * keep;
}

// Llama 3.1: long waves are slowed by `factor`, short ones kept, those between interpolated.
float Llama3Frequency(const RopeConfig& config, float frequency) {
  const auto context = static_cast<double>(config.original_max_positions);
  const auto factor = static_cast<float>(config.factor);
  const float wavelength = static_cast<float>(2.0 * std::numbers::pi) / frequency;
  if (wavelength > static_cast<float>(context / config.low_freq_factor)) return frequency / factor;
  // Not less: where both factors are the same (Llama 4 Scout) nothing lies between.
  if (wavelength <= static_cast<float>(context / config.high_freq_factor)) return frequency;
  const float smooth =
      (static_cast<float>(context) / wavelength - static_cast<float>(config.low_freq_factor)) /
      static_cast<float>(config.high_freq_factor - config.low_freq_factor);
  return (1.0f - smooth) * frequency / factor + smooth * frequency;
}

// The base of dynamic NTK scaling at a length beyond the context.
double DynamicTheta(const RopeConfig& config, int64_t dim, int64_t length, int64_t max_positions) {
  const double stretch =
      config.factor * static_cast<double>(length) / static_cast<double>(max_positions) -
      (config.factor - 1.0);
  const double exponent = static_cast<double>(dim) / static_cast<double>(dim - 2);
  return config.theta * std::pow(stretch, exponent);
}

float AttentionScaling(const RopeConfig& config, bool stretched) {
  if (config.type != RopeType::kYarn && config.type != RopeType::kLongrope) return 1.0f;
  if (config.short_mscale && config.long_mscale) {
    return static_cast<float>(stretched ? *config.long_mscale : *config.short_mscale);
  }
  if (config.attention_factor) return static_cast<float>(*config.attention_factor);
  if (config.type == RopeType::kLongrope) {
    if (config.factor <= 1.0) return 1.0f;
    const double context = static_cast<double>(config.original_max_positions);
    return static_cast<float>(std::sqrt(1.0 + std::log(config.factor) / std::log(context)));
  }
  if (config.mscale.value_or(0.0) != 0.0 && config.mscale_all_dim.value_or(0.0) != 0.0) {
    return static_cast<float>(YarnMscale(config.factor, *config.mscale) /
                              YarnMscale(config.factor, *config.mscale_all_dim));
  }
  return static_cast<float>(YarnMscale(config.factor, 1.0));
}

}  // namespace

double YarnMscale(double factor, double mscale) {
  return factor <= 1.0 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

Rope::Rope(const RopeConfig& config, int64_t head_dim, int64_t max_positions)
    : config_(config),
      rotary_dim_(config.dim > 0 ? config.dim
                                 : static_cast<int64_t>(static_cast<double>(head_dim) *
                                                        config.partial_rotary_factor)),
      max_positions_(max_positions),
      scaling_(AttentionScaling(config, false)),
      stretched_scaling_(AttentionScaling(config, true)) {
  FM_CHECK(rotary_dim_ >= 0 && rotary_dim_ % 2 == 0 && max_positions_ > 0);
  for (int64_t i = 0; i < rotary_dim_ / 2; ++i) inverse_.push_back(Frequency(i, 1));
}

void Rope::MultiplyFrequencies(std::vector<float> factors) {
  FM_CHECK(std::ssize(factors) == rotary_dim_ / 2);
  factors_ = std::move(factors);
  for (int64_t i = 0; i < rotary_dim_ / 2; ++i) inverse_[static_cast<size_t>(i)] = Frequency(i, 1);
}

bool Rope::Stretched(int64_t length) const {
  switch (config_.type) {
    case RopeType::kDynamic:
      return length > max_positions_;
    case RopeType::kLongrope:
      return length > config_.original_max_positions;
    default:
      return false;
  }
}

float Rope::Frequency(int64_t i, int64_t length) const {
  const float plain = PlainFrequency(i, length);
  return factors_.empty() ? plain : plain * factors_[static_cast<size_t>(i)];
}

float Rope::PlainFrequency(int64_t i, int64_t length) const {
  const auto index = static_cast<size_t>(i);
  const float scale = PositionScale(config_.theta, i, rotary_dim_);
  switch (config_.type) {
    case RopeType::kDefault:
      if (config_.divisors.empty()) break;
      return (1.0f / scale) / static_cast<float>(config_.divisors[index]);
    case RopeType::kLinear:
      return (1.0f / scale) / static_cast<float>(config_.factor);
    case RopeType::kDynamic:
      if (!Stretched(length)) break;
      return 1.0f / PositionScale(DynamicTheta(config_, rotary_dim_, length, max_positions_), i,
                                  rotary_dim_);
    case RopeType::kYarn:
      return YarnFrequency(config_, rotary_dim_, i, scale);
    case RopeType::kLlama3:
      return Llama3Frequency(config_, 1.0f / scale);
    case RopeType::kProportional: {
      const double turning = config_.partial_rotary_factor * static_cast<double>(rotary_dim_) / 2.0;
      if (i >= static_cast<int64_t>(turning)) return 0.0f;
      return (1.0f / scale) / static_cast<float>(config_.factor);
    }
    case RopeType::kLongrope: {
      const auto& factors = Stretched(length) ? config_.long_factor : config_.short_factor;
      return 1.0f / (static_cast<float>(factors[index]) * scale);
    }
  }
  return 1.0f / scale;
}

void Rope::Fill(std::span<const int32_t> positions, std::span<const int32_t> lengths, Matrix cos,
                Matrix sin) const {
  const auto rows = static_cast<int64_t>(positions.size());
  FM_CHECK(lengths.size() == positions.size());
  FM_CHECK(cos.rows == rows && sin.rows == rows);
  FM_CHECK(cos.cols == rotary_dim_ / 2 && sin.cols == rotary_dim_ / 2);
  // Column by column: neighbouring tokens mostly share a length, so a stretched frequency is
  // computed once for each run of them, without memory to keep a table.
  for (int64_t i = 0; i < rotary_dim_ / 2; ++i) {
    const float inverse = inverse_[static_cast<size_t>(i)];
    float stretched = inverse;
    int64_t stretched_length = 0;
    for (int64_t t = 0; t < rows; ++t) {
      const int64_t length = lengths[static_cast<size_t>(t)];
      const bool use_stretched = Stretched(length);
      if (use_stretched && length != stretched_length) {
        stretched = Frequency(i, length);
        stretched_length = length;
      }
      const float angle = static_cast<float>(positions[static_cast<size_t>(t)]) *
                          (use_stretched ? stretched : inverse);
      const float scaling = use_stretched ? stretched_scaling_ : scaling_;
      cos.Row(t)[i] = std::cos(angle) * scaling;
      sin.Row(t)[i] = std::sin(angle) * scaling;
    }
  }
}

}  // namespace folkmoot
