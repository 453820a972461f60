// SPDX-License-Identifier: Apache-2.0
#include "runtime/quant/encode.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <initializer_list>
#include <limits>

#include "runtime/check.h"
#include "runtime/quant/code_matrix.h"
#include "runtime/quant/round_to_nearest.h"

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

// Squares of what is lost with this scale.
double Loss(CodeType type, std::span<const float> values, float scale) {
  double loss = 0;
  for (const float value : values) {
    const float number = scale * CodeNumber(type, NearestCode(type, value / scale));
    const double error = static_cast<double>(value) - static_cast<double>(number);
    loss += error * error;
  }
  return loss;
}

// Of scales in order of preference the one that loses least.
float Best(CodeType type, std::span<const float> values, std::initializer_list<float> scales) {
  float best = *scales.begin();
  double least = std::numeric_limits<double>::infinity();
  for (const float scale : scales) {
    const double loss = Loss(type, values, scale);
    if (loss < least) {
      least = loss;
      best = scale;
    }
  }
  return best;
}

float IntScale(const EncodeSpec& spec, std::span<const float> values) {
  const float largest = Largest(values);
  const auto rounded = [&](float scale) {
    const float stored = RoundTo(scale, spec.scale_type);
    return std::isfinite(stored) && stored > 0 ? stored : 1.0f;  // float16 has small limits
  };
  if (spec.type == EncodeType::kInt8) return rounded(largest / 127.0f);
  return Best(CodeType::kInt4, values,
              {rounded(largest / 7.0f), rounded(largest / 7.5f), rounded(largest / 8.0f)});
}

// Two to a byte, the first in the low half; `codes` were zero.
void PutNibble(std::byte* codes, size_t at, uint8_t code) {
  codes[at / 2] |= static_cast<std::byte>(code << (4 * (at % 2)));
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
      const float value = values[i] / scale;
      if (spec.type == EncodeType::kInt8) {
        codes[at] = static_cast<std::byte>(NearestCode(CodeType::kInt8, value) ^ 0x80);
      } else {
        PutNibble(codes, at, NearestCode(CodeType::kInt4, value));
      }
    }
  }
}

void EncodeFp4(std::span<const float> row, std::byte* codes, std::byte* scales) {
  constexpr size_t kGroup = 32;
  for (size_t g = 0; g < row.size() / kGroup; ++g) {
    const std::span<const float> values = row.subspan(g * kGroup, kGroup);
    const float largest = Largest(values);
    const int low = largest > 0 ? std::clamp(std::ilogb(largest) - 2, -127, 124) : 0;
    const float scale =
        Best(CodeType::kFp4, values, {std::ldexp(1.0f, low), std::ldexp(2.0f, low)});
    scales[g] = static_cast<std::byte>(std::ilogb(scale) + 127);
    for (size_t i = 0; i < kGroup; ++i) {
      PutNibble(codes, g * kGroup + i, NearestCode(CodeType::kFp4, values[i] / scale));
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
        codes[i] = static_cast<std::byte>(NearestCode(CodeType::kFp8, values[i] / scale));
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

}  // namespace folkmoot
