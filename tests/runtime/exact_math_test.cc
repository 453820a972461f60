// SPDX-License-Identifier: Apache-2.0
// exact_math.h against long double, philox.h against Random123.
#include "runtime/exact_math.h"

#include <Random123/philox.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "runtime/philox.h"

namespace folkmoot {
namespace {

using Limits = std::numeric_limits<double>;
constexpr double kInfinity = Limits::infinity();

// How far `got` is from `want` in units of the last place of a double of that size.
double UlpsBetween(double got, long double want) {
  if (static_cast<long double>(got) == want) return 0;
  const auto nearest = static_cast<double>(want);
  if (std::isinf(nearest) || std::isinf(got)) return got == nearest ? 0 : kInfinity;
  const int exponent = std::max(std::ilogb(want), Limits::min_exponent - 1);
  const long double unit = std::ldexp(1.0L, exponent - (Limits::digits - 1));
  return static_cast<double>(std::fabs(static_cast<long double>(got) - want) / unit);
}

template <typename Function, typename Reference>
void ExpectWithinOneUnit(const std::vector<double>& values, Function function,
                         Reference reference) {
  for (const double x : values) {
    const double error = UlpsBetween(function(x), reference(static_cast<long double>(x)));
    EXPECT_LT(error, 1.0) << std::hexfloat << x;
  }
}

std::vector<double> Uniform(double low, double high, int count, uint64_t seed) {
  std::mt19937_64 engine(seed);
  std::vector<double> values = {low, high};
  for (int i = 0; i < count; ++i) {
    const double unit = static_cast<double>(engine() >> 11) * 0x1p-53;
    values.push_back(low + (high - low) * unit);
  }
  return values;
}

// Positive numbers of every binary exponent, subnormal ones too.
std::vector<double> EveryExponent(int per_exponent, uint64_t seed) {
  std::mt19937_64 engine(seed);
  std::vector<double> values;
  for (uint64_t exponent = 0; exponent < 2047; ++exponent) {
    for (int i = 0; i < per_exponent; ++i) {
      values.push_back(std::bit_cast<double>(exponent << 52 | engine() >> 12));
    }
  }
  values.push_back(Limits::denorm_min());
  values.push_back(Limits::min());
  values.push_back(Limits::max());
  return values;
}

const auto kExp = [](long double x) { return std::exp(x); };
const auto kLog = [](long double x) { return std::log(x); };
const auto kLog1p = [](long double x) { return std::log1p(x); };

TEST(ExactMath, ExpIsWithinOneUnit) {
  ExpectWithinOneUnit(Uniform(-1, 1, 200000, 1), exact::Exp, kExp);
  ExpectWithinOneUnit(Uniform(-40, 40, 200000, 2), exact::Exp, kExp);
  ExpectWithinOneUnit(Uniform(-745.2, 709.79, 200000, 3), exact::Exp, kExp);
  ExpectWithinOneUnit(Uniform(-745.2, -708, 100000, 4), exact::Exp, kExp);  // subnormal results
  ExpectWithinOneUnit(Uniform(709.7, 709.8, 10000, 5), exact::Exp, kExp);
  std::vector<double> small = EveryExponent(4, 6);
  for (size_t i = 0; i < small.size(); i += 2) small[i] = -small[i];
  ExpectWithinOneUnit(small, exact::Exp, kExp);
}

TEST(ExactMath, LogIsWithinOneUnit) {
  ExpectWithinOneUnit(EveryExponent(100, 7), exact::Log, kLog);
  ExpectWithinOneUnit(Uniform(0.5, 2, 300000, 8), exact::Log, kLog);
  ExpectWithinOneUnit(Uniform(1 - 0x1p-20, 1 + 0x1p-20, 100000, 9), exact::Log, kLog);
}

TEST(ExactMath, Log1pIsWithinOneUnit) {
  ExpectWithinOneUnit(EveryExponent(50, 10), exact::Log1p, kLog1p);
  ExpectWithinOneUnit(Uniform(-1 + 0x1p-53, 0, 200000, 11), exact::Log1p, kLog1p);
  ExpectWithinOneUnit(Uniform(0, 4, 200000, 12), exact::Log1p, kLog1p);
  std::vector<double> negative = EveryExponent(50, 13);
  for (double& x : negative) x = -x;
  std::erase_if(negative, [](double x) { return x <= -1; });
  ExpectWithinOneUnit(negative, exact::Log1p, kLog1p);
}

TEST(ExactMath, SpecialValues) {
  const double nan = Limits::quiet_NaN();
  EXPECT_TRUE(std::isnan(exact::Exp(nan)));
  EXPECT_EQ(exact::Exp(kInfinity), kInfinity);
  EXPECT_EQ(exact::Exp(-kInfinity), 0.0);
  EXPECT_EQ(exact::Exp(0.0), 1.0);
  EXPECT_EQ(exact::Exp(-0.0), 1.0);
  EXPECT_EQ(exact::Exp(Limits::denorm_min()), 1.0);
  EXPECT_TRUE(std::isnan(exact::Log(nan)));
  EXPECT_TRUE(std::isnan(exact::Log(-1.0)));
  EXPECT_TRUE(std::isnan(exact::Log(-kInfinity)));
  EXPECT_EQ(exact::Log(0.0), -kInfinity);
  EXPECT_EQ(exact::Log(-0.0), -kInfinity);
  EXPECT_EQ(exact::Log(kInfinity), kInfinity);
  EXPECT_EQ(std::bit_cast<uint64_t>(exact::Log(1.0)), 0u);
  EXPECT_TRUE(std::isnan(exact::Log1p(nan)));
  EXPECT_TRUE(std::isnan(exact::Log1p(-1.5)));
  EXPECT_EQ(exact::Log1p(-1.0), -kInfinity);
  EXPECT_EQ(exact::Log1p(kInfinity), kInfinity);
  EXPECT_EQ(std::bit_cast<uint64_t>(exact::Log1p(-0.0)), uint64_t{1} << 63);
}

TEST(ExactMath, SigmoidSoftplusGumbel) {
  EXPECT_EQ(exact::Sigmoid(0.0), 0.5);
  EXPECT_EQ(exact::Sigmoid(-800.0), 0.0);
  EXPECT_EQ(exact::Sigmoid(800.0), 1.0);
  EXPECT_EQ(exact::Softplus(-800.0), 0.0);
  EXPECT_EQ(exact::Softplus(800.0), 800.0);
  for (const double x : Uniform(-50, 50, 20000, 14)) {
    const auto wide = static_cast<long double>(x);
    EXPECT_LT(UlpsBetween(exact::Sigmoid(x), 1 / (1 + std::exp(-wide))), 2.5) << x;
    EXPECT_LT(UlpsBetween(exact::Softplus(x), std::log1p(std::exp(wide))), 2.0) << x;
  }
  for (uint32_t i = 0; i < (1u << 24); i += 4093) {
    EXPECT_TRUE(std::isfinite(exact::Gumbel(i * 0x1p-24))) << i;
  }
  EXPECT_TRUE(std::isfinite(exact::Gumbel(0x1.fffffep-1)));
}

// The very bits: what a GPU has to reproduce does not move unnoticed.
TEST(ExactMath, KnownBits) {
  uint64_t digest = 0;
  for (const double x : Uniform(-30, 30, 10000, 15)) {
    for (const double value : {exact::Exp(x), exact::Log(x * x), exact::Log1p(x * x)}) {
      digest = (digest ^ std::bit_cast<uint64_t>(value)) * 0x100000001b3;
    }
  }
  EXPECT_EQ(digest, 1560401866332820747u);
}

TEST(Philox, EqualsRandom123) {
  std::mt19937 engine(16);
  const auto word_of = [&] { return static_cast<uint32_t>(engine()); };
  for (int i = 0; i < 20000; ++i) {
    const uint32_t a = word_of(), b = word_of(), c = word_of(), d = word_of();
    const uint32_t k = word_of(), l = i % 3 == 0 ? ~0u : word_of();
    const auto want = r123::Philox4x32()({{a, b, c, d}}, {{k, l}});
    const PhiloxBlock got = Philox4x32({{a, b, c, d}}, {{k, l}});
    for (size_t n = 0; n < 4; ++n) ASSERT_EQ(got.word[n], want[n]) << i;
  }
}

}  // namespace
}  // namespace folkmoot
