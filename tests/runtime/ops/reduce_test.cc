// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "runtime/ops/norm.h"
#include "tests/runtime/ops/ops_testing.h"

namespace folkmoot {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

TEST(LogSumExp, IsExactToDoublePrecision) {
  const std::vector<float> logits = RandomFloats(32001, 1);
  long double sum = 0.0L;
  for (const float v : logits) sum += std::exp(static_cast<long double>(v));
  EXPECT_NEAR(LogSumExp(logits), static_cast<double>(std::log(sum)), 1e-12);
}

TEST(LogSumExp, SurvivesLargeLogits) {
  EXPECT_NEAR(LogSumExp(std::vector<float>{1000.0f, 1000.0f}), 1000.0 + std::log(2.0), 1e-12);
  EXPECT_NEAR(LogSumExp(std::vector<float>{-1000.0f, -kInf}), -1000.0, 1e-12);
}

TEST(ArgMax, LowerIndexWinsTies) {
  EXPECT_EQ(ArgMax(std::vector<float>{3.0f}), 0);
  EXPECT_EQ(ArgMax(std::vector<float>{-kInf, -kInf}), 0);
  for (size_t n = 1; n < 40; ++n) {
    std::vector<float> values(n, -1.0f);
    for (size_t i = n; i-- > 0;) {
      values[i] = 5.0f;
      ASSERT_EQ(ArgMax(values), static_cast<int64_t>(i)) << n;
    }
  }
}

TEST(TopK, IsTheStableSortByDescendingValue) {
  std::vector<float> values = RandomFloats(300, 2);
  for (float& v : values) v = std::round(v * 8.0f);  // many ties
  values[17] = kInf;
  values[200] = -kInf;
  std::vector<int32_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return values[static_cast<size_t>(a)] > values[static_cast<size_t>(b)];
  });
  for (const size_t k : {0u, 1u, 2u, 7u, 64u, 299u, 300u}) {
    std::vector<int32_t> got(k);
    TopK(values, got);
    EXPECT_EQ(got, std::vector<int32_t>(order.begin(), order.begin() + static_cast<int64_t>(k)));
  }
}

TEST(AllFinite, FindsOneBadValueAnywhere) {
  for (const float bad : {kInf, -kInf, std::numeric_limits<float>::quiet_NaN()}) {
    for (size_t i = 0; i < 37; ++i) {
      std::vector<float> values(37, std::numeric_limits<float>::max());
      ASSERT_TRUE(AllFinite(values));
      values[i] = bad;
      ASSERT_FALSE(AllFinite(values)) << i;
    }
  }
  EXPECT_TRUE(AllFinite({}));
}

}  // namespace
}  // namespace folkmoot
