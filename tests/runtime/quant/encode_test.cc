// SPDX-License-Identifier: Apache-2.0
#include "runtime/quant/encode.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "runtime/quant/code_matrix.h"
#include "runtime/quant/round_to_nearest.h"

namespace folkmoot {
namespace {

// The nearest of all 256 (or 16) codes, by search; of two that are equally near, the even code.
uint8_t SearchedCode(CodeType type, float value) {
  const int count = type == CodeType::kFp8 ? 128 : 8;
  int best = 0;
  double least = std::numeric_limits<double>::infinity();
  for (int code = 0; code < count; ++code) {
    const double number = CodeNumber(type, static_cast<uint8_t>(code));
    if (std::isnan(number)) continue;
    const double distance =
        std::fabs(std::min(std::fabs(static_cast<double>(value)), 448.0) - number);
    if (distance < least || (distance == least && code % 2 == 0)) {
      least = distance;
      best = code;
    }
  }
  return static_cast<uint8_t>(best | (std::signbit(value) ? count : 0));
}

TEST(Encode, RoundsToTheNearestCodeAndTiesToEven) {
  std::vector<float> values = {0.0f, -0.0f, 448.0f, 463.9f, 1e30f, 6.0f, 5.0f, 2.5f, 0x1p-10f};
  for (int code = 0; code < 126; ++code) {  // every number, and halfway to the next
    const float number = CodeNumber(CodeType::kFp8, static_cast<uint8_t>(code));
    const float next = CodeNumber(CodeType::kFp8, static_cast<uint8_t>(code + 1));
    const float middle = (number + next) / 2;
    for (const float value :
         {number, middle, std::nextafter(middle, 0.0f), std::nextafter(middle, 1000.0f)}) {
      values.push_back(value);
      values.push_back(-value);
    }
  }
  for (const float value : values) {
    EXPECT_EQ(NearestCode(CodeType::kFp8, value), SearchedCode(CodeType::kFp8, value)) << value;
    EXPECT_EQ(NearestCode(CodeType::kFp4, value), SearchedCode(CodeType::kFp4, value)) << value;
  }
}

std::vector<float> Numbers(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

int UnsignedCode(const EncodeSpec& spec, const std::vector<std::byte>& codes, size_t i) {
  if (spec.type == EncodeType::kInt8 || spec.type == EncodeType::kFp8) {
    return static_cast<int>(codes[i]);
  }
  return (static_cast<int>(codes[i / 2]) >> (4 * (i % 2))) & 15;
}

class EncodeInts : public testing::TestWithParam<EncodeType> {};

// No weight is further from its code than half a step; int4 may cut off the largest positive one.
TEST_P(EncodeInts, StaysWithinHalfAStep) {
  const bool wide = GetParam() == EncodeType::kInt8;
  for (const DType type : {DType::kF32, DType::kBF16, DType::kF16}) {
    const EncodeSpec spec = {.type = GetParam(), .group = 32, .scale_type = type};
    const int64_t k = 96;
    std::vector<float> values = Numbers(4 * k, 3);
    std::fill_n(values.begin() + 64, 32, 0.0f);  // a group of zeros
    std::vector<std::byte> codes(static_cast<size_t>(4 * spec.CodeBytes(k)));
    std::vector<std::byte> scales(static_cast<size_t>(4 * spec.ScaleBytes(k)));
    Encode(spec, values, k, codes, scales);
    for (size_t i = 0; i < values.size(); ++i) {
      const float scale = LoadElement(scales.data(), type, static_cast<int64_t>(i / 32));
      const int zero = wide ? 128 : 8;
      const int code = UnsignedCode(spec, codes, i) - zero;
      ASSERT_GT(scale, 0.0f);
      const bool cut = code == (wide ? 127 : 7) && values[i] > 0;
      if (!cut) {
        ASSERT_LE(std::fabs(scale * static_cast<float>(code) - values[i]), scale * 0.5001f);
      }
      if (values[i] == 0.0f) {
        ASSERT_EQ(code, 0);
      }
    }
    ASSERT_EQ(LoadElement(scales.data(), type, 2), 1.0f);
  }
}

INSTANTIATE_TEST_SUITE_P(Types, EncodeInts, testing::Values(EncodeType::kInt8, EncodeType::kInt4));

TEST(Encode, Int4ChoosesTheScaleThatLosesLeast) {
  // One outlier of -8: with steps of 1 all are exact, and with 8 / 7 none of the others.
  std::vector<float> values(32);
  for (size_t i = 0; i < 32; ++i) values[i] = static_cast<float>(i % 8);
  values[9] = -8.0f;
  const EncodeSpec spec = {.type = EncodeType::kInt4, .group = 32};
  std::vector<std::byte> codes(16);
  std::vector<std::byte> scales(4);
  Encode(spec, values, 32, codes, scales);
  EXPECT_EQ(LoadElement(scales.data(), DType::kF32, 0), 1.0f);
  EXPECT_EQ(UnsignedCode(spec, codes, 9), 0);
  EXPECT_EQ(UnsignedCode(spec, codes, 7), 15);
}

TEST(Encode, Fp8BlocksShareAScale) {
  const EncodeSpec spec = {.type = EncodeType::kFp8, .group = 32};
  const int64_t k = 64;
  const std::vector<float> values = Numbers(64 * k, 5);
  std::vector<std::byte> codes(static_cast<size_t>(64 * spec.CodeBytes(k)));
  std::vector<std::byte> scales(static_cast<size_t>(2 * spec.ScaleBytes(k)));
  Encode(spec, values, k, codes, scales);
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t row = i / 64;
    const size_t block = row / 32 * 2 + i % 64 / 32;
    const float scale = LoadElement(scales.data(), DType::kF32, static_cast<int64_t>(block));
    const float number = scale * CodeNumber(CodeType::kFp8, static_cast<uint8_t>(codes[i]));
    ASSERT_LE(std::fabs(number - values[i]), std::fabs(values[i]) / 16 + scale * 0x1p-10f);
  }
}

TEST(Encode, Mxfp4ChoosesTheBetterPowerOfTwo) {
  const EncodeSpec spec = {.type = EncodeType::kMxfp4, .group = 32};
  std::vector<std::byte> codes(16);
  std::vector<std::byte> scales(1);
  const auto exponent = [&](float value) {
    Encode(spec, std::vector<float>(32, value), 32, codes, scales);
    return static_cast<int>(scales[0]) - 127;
  };
  EXPECT_EQ(exponent(6.0f), 0);
  EXPECT_EQ(exponent(8.0f), 1);
  EXPECT_EQ(exponent(7.9f), 1);  // 6 would be 1.9 away, 8 is 0.1 away
  EXPECT_EQ(exponent(6.5f), 0);
  EXPECT_EQ(exponent(0.0f), 0);
}

}  // namespace
}  // namespace folkmoot
