// SPDX-License-Identifier: Apache-2.0
#include "runtime/quant/encode.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "runtime/check.h"
#include "runtime/quant/code_matrix.h"

namespace folkmoot {
namespace {

float Largest(std::span<const float> values) {
  float largest = 0;
  for (const float value : values) largest = std::max(largest, std::fabs(value));
  return largest;
}

float RoundTo(float value, DType type) {
  std::array<std::byte, sizeof(float)> stored;
  StoreElement(value, stored.data(), type, 0);
  return LoadElement(stored.data(), type, 0);
}

// The integer of a number, ties to even.
int IntCode(float value, float scale, int lowest, int highest) {
  const float code = std::nearbyint(value / scale);
  return static_cast<int>(
      std::clamp(code, static_cast<float>(lowest), static_cast<float>(highest)));
}

double IntLoss(std::span<const float> values, float scale, int lowest, int highest) {
  double loss = 0;
  for (const float value : values) {
    const int code = IntCode(value, scale, lowest, highest);
    const double error = static_cast<double>(value) - static_cast<double>(scale) * code;
    loss += error * error;
  }
  return loss;
}

float IntScale(const EncodeSpec& spec, std::span<const float> values) {
  const float largest = Largest(values);
  const auto rounded = [&](float scale) {
    const float stored = RoundTo(scale, spec.scale_type);
    return std::isfinite(stored) && stored > 0 ? stored : 1.0f;  // float16 has small limits
  };
  if (spec.type == EncodeType::kInt8) return rounded(largest / 127.0f);
  float best = 1.0f;
  double least = std::numeric_limits<double>::infinity();
  for (const float steps : {7.0f, 7.5f, 8.0f}) {
    const float scale = rounded(largest / steps);
    const double loss = IntLoss(values, scale, -8, 7);
    if (loss < least) {
      least = loss;
      best = scale;
    }
  }
  return best;
}

void EncodeInts(const EncodeSpec& spec, std::span<const float> row, std::byte* codes,
                std::byte* scales) {
  const auto group = static_cast<size_t>(spec.group);
  for (size_t g = 0; g < row.size() / group; ++g) {
    const std::span<const float> values = row.subspan(g * group, group);
    const float scale = IntScale(spec, values);
    StoreElement(scale, scales, spec.scale_type, static_cast<int64_t>(g));
    for (size_t i = 0; i < group; ++i) {
      const size_t at = g * group + i;
      if (spec.type == EncodeType::kInt8) {
        codes[at] = static_cast<std::byte>(IntCode(values[i], scale, -127, 127) + 128);
      } else {
        codes[at / 2] |=
            static_cast<std::byte>((IntCode(values[i], scale, -8, 7) + 8) << (4 * (at % 2)));
      }
    }
  }
}

double Fp4Loss(std::span<const float> values, float scale) {
  double loss = 0;
  for (const float value : values) {
    const float number = scale * CodeNumber(CodeType::kFp4, FloatToFp4(value / scale));
    const double error = static_cast<double>(value) - static_cast<double>(number);
    loss += error * error;
  }
  return loss;
}

void EncodeFp4(std::span<const float> row, std::byte* codes, std::byte* scales) {
  constexpr size_t kGroup = 32;
  for (size_t g = 0; g < row.size() / kGroup; ++g) {
    const std::span<const float> values = row.subspan(g * kGroup, kGroup);
    const float largest = Largest(values);
    int exponent = 0;
    if (largest > 0) {
      const int low = std::clamp(std::ilogb(largest) - 2, -127, 126);
      exponent = Fp4Loss(values, std::ldexp(1.0f, low + 1)) < Fp4Loss(values, std::ldexp(1.0f, low))
                     ? low + 1
                     : low;
    }
    scales[g] = static_cast<std::byte>(exponent + 127);
    const float scale = std::ldexp(1.0f, exponent);
    for (size_t i = 0; i < kGroup; ++i) {
      const size_t at = g * kGroup + i;
      codes[at / 2] |= static_cast<std::byte>(FloatToFp4(values[i] / scale) << (4 * (at % 2)));
    }
  }
}

// Rows that share their scales.
void EncodeFp8(const EncodeSpec& spec, std::span<const float> values, int64_t k, std::byte* codes,
               std::byte* scales) {
  const auto width = static_cast<size_t>(k);
  const auto block = static_cast<size_t>(spec.group);
  const size_t rows = values.size() / width;
  for (size_t b = 0; b < width / block; ++b) {
    float largest = 0;
    for (size_t r = 0; r < rows; ++r) {
      largest = std::max(largest, Largest(values.subspan(r * width + b * block, block)));
    }
    const float ratio = largest / 448.0f;
    const float scale = ratio > 0 ? ratio : 1.0f;
    StoreElement(scale, scales, DType::kF32, static_cast<int64_t>(b));
    for (size_t r = 0; r < rows; ++r) {
      for (size_t i = r * width + b * block; i < r * width + (b + 1) * block; ++i) {
        codes[i] = static_cast<std::byte>(FloatToFp8(values[i] / scale));
      }
    }
  }
}

}  // namespace

int64_t EncodeSpec::CodeBytes(int64_t k) const {
  if (type == EncodeType::kMxfp4) return k / 2;
  if (type == EncodeType::kInt4) return (k + 7) / 8 * 4;
  return type == EncodeType::kInt8 ? (k + 3) / 4 * 4 : k;
}

int64_t EncodeSpec::ScaleBytes(int64_t k) const {
  if (type == EncodeType::kMxfp4) return k / group;
  return k / group * DTypeBytes(type == EncodeType::kFp8 ? DType::kF32 : scale_type);
}

void Encode(const EncodeSpec& spec, std::span<const float> values, int64_t k,
            std::span<std::byte> codes, std::span<std::byte> scales) {
  FM_CHECK(k % spec.group == 0);
  std::fill(codes.begin(), codes.end(), std::byte{0});
  const auto width = static_cast<size_t>(k);
  const size_t rows = values.size() / width;
  const auto step = static_cast<size_t>(spec.RowsPerScale());
  const auto code_bytes = static_cast<size_t>(spec.CodeBytes(k));
  const auto scale_bytes = static_cast<size_t>(spec.ScaleBytes(k));
  for (size_t r = 0; r < rows; r += step) {
    const size_t count = std::min(step, rows - r);
    const std::span<const float> some = values.subspan(r * width, count * width);
    std::byte* const to = codes.data() + r * code_bytes;
    std::byte* const scale = scales.data() + r / step * scale_bytes;
    if (spec.type == EncodeType::kFp8) {
      EncodeFp8(spec, some, k, to, scale);
    } else if (spec.type == EncodeType::kMxfp4) {
      EncodeFp4(some, to, scale);
    } else {
      EncodeInts(spec, some, to, scale);
    }
  }
}

uint8_t FloatToFp8(float value) {
  const auto sign = static_cast<uint8_t>(std::signbit(value) ? 0x80 : 0);
  const float magnitude = std::min(std::fabs(value), 448.0f);
  if (magnitude < 0x1p-6f) {  // subnormal: steps of 2^-9; 8 of them are the smallest normal
    return static_cast<uint8_t>(sign | static_cast<int>(std::nearbyint(magnitude * 0x1p9f)));
  }
  const uint32_t bits = std::bit_cast<uint32_t>(magnitude);
  const uint32_t rounded = bits + 0x7ffffu + ((bits >> 20) & 1u);
  return static_cast<uint8_t>(sign | ((rounded >> 20) - ((127u - 7u) << 3)));
}

uint8_t FloatToFp4(float value) {
  // Halfway points between 0, 0.5, 1, 1.5, 2, 3, 4, 6; a tie goes to the even code.
  constexpr std::array<float, 7> kHalfway = {0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5.0f};
  const float magnitude = std::fabs(value);
  int code = 0;
  for (size_t i = 0; i < kHalfway.size(); ++i) {
    const bool above = i % 2 == 0 ? magnitude > kHalfway[i] : magnitude >= kHalfway[i];
    if (above) code = static_cast<int>(i) + 1;
  }
  return static_cast<uint8_t>(code | (std::signbit(value) ? 8 : 0));
}

}  // namespace folkmoot
