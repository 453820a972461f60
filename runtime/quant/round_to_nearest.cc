// SPDX-License-Identifier: Apache-2.0
#include "runtime/quant/round_to_nearest.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "runtime/check.h"

namespace folkmoot {
namespace {

// The value of the largest magnitude; NaN when a value is NaN or infinite.
float Largest(std::span<const float> values) {
  float largest = 0;
  for (const float v : values) {
    if (!std::isfinite(v)) return std::numeric_limits<float>::quiet_NaN();
    if (std::abs(v) > std::abs(largest)) largest = v;
  }
  return largest;
}

float ScaleOf(CodeType type, float largest) {
  const float magnitude = std::abs(largest);
  if (std::isnan(magnitude)) return magnitude;
  switch (type) {
    case CodeType::kInt8:
      return magnitude / 127.0f;
    case CodeType::kInt4:
      return largest / -8.0f;
    case CodeType::kFp4:
      return magnitude == 0.0f ? 0.0f : std::ldexp(1.0f, std::ilogb(magnitude) - 2);
    default:
      return magnitude / 448.0f;
  }
}

// The nearest of 0, 0.5, 1, 1.5, 2, 3, 4, 6; of two the even code.
uint8_t Fp4Code(float x) {
  constexpr std::array<float, 7> kBetween = {0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5.0f};
  const float magnitude = std::abs(x);
  uint8_t code = 0;
  while (code < 7 &&
         (magnitude > kBetween[code] || (magnitude == kBetween[code] && code % 2 == 1))) {
    ++code;
  }
  return std::signbit(x) ? code | 8 : code;
}

// The nearest E4M3 number, ties to even, at most 448.
uint8_t Fp8Code(float x) {
  const float magnitude = std::min(std::abs(x), 448.0f);
  const int exponent = std::max(magnitude == 0.0f ? -6 : std::ilogb(magnitude), -6);
  const auto steps = static_cast<int>(std::nearbyint(std::ldexp(magnitude, 3 - exponent)));
  // 8 steps are the next binade; below 8 only subnormals are.
  const int code = (exponent + 6) * 8 + steps;
  return static_cast<uint8_t>(code | (std::signbit(x) ? 0x80 : 0));
}

}  // namespace

uint8_t NearestCode(CodeType type, float x) {
  switch (type) {
    case CodeType::kInt8:
      return static_cast<uint8_t>(
          static_cast<int8_t>(std::clamp(std::nearbyint(x), -127.0f, 127.0f)));
    case CodeType::kInt4:
      return static_cast<uint8_t>(std::clamp(std::nearbyint(x) + 8.0f, 0.0f, 15.0f));
    case CodeType::kFp4:
      return Fp4Code(x);
    default:
      return Fp8Code(x);
  }
}

float RoundGroup(const CodeSpec& spec, std::span<const float> values, std::span<uint8_t> codes) {
  FM_CHECK(values.size() == codes.size() && spec.type != CodeType::kUint4);
  float scale = ScaleOf(spec.type, Largest(values));
  if (spec.scale_type == DType::kF16) scale = F16ToFloat(FloatToF16(scale));
  const float inverse =
      1.0f / scale;  // infinite below the normal floats: such values count as zero
  const bool usable = std::isfinite(scale) && std::isfinite(inverse);
  for (size_t i = 0; i < values.size(); ++i) {
    codes[i] = NearestCode(spec.type, usable ? values[i] * inverse : 0.0f);
  }
  return scale;
}

RoundedMatrix::RoundedMatrix(const WeightView& weight, const CodeSpec& spec)
    : CodeMatrix(weight.n, weight.k, spec), weight_(weight) {
  FM_CHECK(!spec.offsets);
}

void RoundedMatrix::ReadRow(int64_t row, const CodeRow& out) const {
  std::array<float, 128> values;
  const int64_t group = spec().group;
  FM_CHECK(group <= static_cast<int64_t>(values.size()));
  for (int64_t first = 0; first < k(); first += group) {
    const auto count = static_cast<size_t>(std::min(group, k() - first));
    for (size_t i = 0; i < count; ++i) {
      values[i] =
          LoadElement(weight_.data, weight_.dtype, row * k() + first + static_cast<int64_t>(i));
    }
    out.scales[static_cast<size_t>(first / group)] = RoundGroup(
        spec(), {values.data(), count}, out.codes.subspan(static_cast<size_t>(first), count));
  }
}

std::optional<CodeSpec> CodeSpecNamed(std::string_view name) {
  if (name == "q8_0") return CodeSpec{.type = CodeType::kInt8, .scale_type = DType::kF16};
  if (name == "q4_0") return CodeSpec{.type = CodeType::kInt4, .scale_type = DType::kF16};
  if (name == "mxfp4") return CodeSpec{.type = CodeType::kFp4};
  if (name == "fp8") return CodeSpec{.type = CodeType::kFp8, .group = 128};
  return std::nullopt;
}

}  // namespace folkmoot
