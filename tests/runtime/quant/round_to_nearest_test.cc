// SPDX-License-Identifier: Apache-2.0
#include "runtime/quant/round_to_nearest.h"

#include <cmath>

#include "tests/runtime/ops/ops_testing.h"

namespace folkmoot {
namespace {

class RoundToNearestTest : public testing::TestWithParam<const char*> {};

// The code of each value is one whose number no other code beats by more than float rounding.
TEST_P(RoundToNearestTest, NoOtherCodeIsNearer) {
  const CodeSpec spec = *CodeSpecNamed(GetParam());
  std::vector<float> values = RandomFloats(spec.group, 4);
  std::vector<uint8_t> codes(values.size());
  const float scale = RoundGroup(spec, values, codes);
  ASSERT_TRUE(std::isfinite(scale));
  const int all = CodeBits(spec.type) == 8 ? 256 : 16;
  for (size_t i = 0; i < values.size(); ++i) {
    const auto distance = [&](int code) {
      const float number = CodeNumber(spec.type, static_cast<uint8_t>(code));
      return std::isnan(number) ? INFINITY : std::abs(scale * number - values[i]);
    };
    for (int other = 0; other < all; ++other) {
      if (spec.type == CodeType::kInt8 && other == 128) continue;  // -128 is not used
      ASSERT_LE(distance(codes[i]), distance(other) + 1e-6f) << i << " " << other;
    }
  }
}

TEST_P(RoundToNearestTest, ZerosAndWhatIsNotFinite) {
  const CodeSpec spec = *CodeSpecNamed(GetParam());
  std::vector<float> values(static_cast<size_t>(spec.group), 0.0f);
  std::vector<uint8_t> codes(values.size());
  EXPECT_EQ(RoundGroup(spec, values, codes), 0.0f);
  values[3] = INFINITY;
  EXPECT_TRUE(std::isnan(RoundGroup(spec, values, codes)));
}

INSTANTIATE_TEST_SUITE_P(Formats, RoundToNearestTest,
                         testing::Values("q8_0", "q4_0", "mxfp4", "fp8"),
                         [](const testing::TestParamInfo<const char*>& format) {
                           return std::string(format.param);
                         });

TEST(RoundToNearest, KeepsWhatTheFormatHolds) {
  const CodeSpec spec = *CodeSpecNamed("fp8");
  std::vector<float> values(126);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = CodeNumber(CodeType::kFp8, static_cast<uint8_t>(i + 1));  // 448 is among them
  }
  std::vector<uint8_t> codes(values.size());
  EXPECT_EQ(RoundGroup(spec, values, codes), 1.0f);
  for (size_t i = 0; i < values.size(); ++i) EXPECT_EQ(codes[i], i + 1);
}

TEST(RoundToNearest, AMatrixReadsRowByRow) {
  const RandomWeight weight(DType::kBF16, 5, 96, 1);
  const RoundedMatrix rounded(weight.view(), *CodeSpecNamed("q8_0"));
  CodeRowBuffer buffer(rounded);
  std::vector<float> row(96);
  for (int64_t r = 0; r < 5; ++r) {
    DequantizeRow(rounded, r, buffer.row(), row);
    for (int64_t i = 0; i < 96; ++i) {
      EXPECT_NEAR(row[static_cast<size_t>(i)], weight.at(r, i), 1.0f / 254 + 1e-3f);
    }
  }
}

}  // namespace
}  // namespace folkmoot
