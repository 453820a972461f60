// SPDX-License-Identifier: Apache-2.0
// The oracle is the rounding contract itself: a scalar chain of std::fma. All comparisons are
// exact.
#include "runtime/ops/gemm.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <string>
#include <tuple>

#include "tests/runtime/ops/ops_testing.h"

namespace folkmoot {
namespace {

constexpr int64_t kRowCounts[] = {0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 33, 64, 97, 200};

float AsBf16(float value) { return BF16ToFloat(FloatToBF16(value)); }

// One chain over k ascending. With `pairs`, ActivationPrecision::kReduced beside BF16 weights: x is
// rounded, and of each pair of k the odd one comes first.
std::vector<float> Oracle(const std::vector<float>& x, int64_t rows, const RandomWeight& w,
                          const std::vector<float>& bias, bool pairs = false) {
  std::vector<float> out;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t n = 0; n < w.n; ++n) {
      float sum = 0.0f;
      for (int64_t i = 0; i < w.k + w.k % 2; ++i) {
        const int64_t at = pairs ? i ^ 1 : i;
        if (at >= w.k) continue;
        const float value = x[static_cast<size_t>(r * w.k + at)];
        sum = std::fma(pairs ? AsBf16(value) : value, w.at(n, at), sum);
      }
      out.push_back(bias.empty() ? sum : sum + bias[static_cast<size_t>(n)]);
    }
  }
  return out;
}

using Shape = std::tuple<int64_t, int64_t>;  // N, K
class GemmTest : public testing::TestWithParam<std::tuple<DType, Shape, ActivationPrecision>> {};

TEST_P(GemmTest, EqualsTheScalarChainForAnyRowsThreadsAndTargets) {
  const DType dtype = std::get<0>(GetParam());
  const ActivationPrecision activations = std::get<2>(GetParam());
  const bool pairs = dtype == DType::kBF16 && activations == ActivationPrecision::kReduced;
  const int64_t n = std::get<0>(std::get<1>(GetParam()));
  const int64_t k = std::get<1>(std::get<1>(GetParam()));
  const RandomWeight weight(dtype, n, k, 1);
  const std::vector<float> bias = RandomFloats(n, 2);
  for (const int threads : {1, 2, 3}) {
    ThreadPool pool(threads);
    Workspace workspace;
    PackedMatrix packed = PackedMatrix::Pack(pool, weight.view());
    packed.set_rules({.activations = activations});
    ASSERT_EQ(packed.n(), n);
    ASSERT_EQ(packed.k(), k);
    for (const int64_t rows : kRowCounts) {
      if (rows > 33 && threads == 2) continue;
      SCOPED_TRACE(testing::Message() << threads << " threads, " << rows << " rows");
      const std::vector<float> x = RandomFloats(rows * k, 3);
      const std::vector<float> b = rows % 2 == 0 ? bias : std::vector<float>();
      const std::vector<uint32_t> wanted = Bits(Oracle(x, rows, weight, b, pairs));
      ForEachTarget([&] {
        std::vector<float> out(static_cast<size_t>(rows * n), 7.0f);
        Gemm(pool, AsMatrix(x, rows, k), packed, b, workspace, AsMatrix(out, rows, n));
        ASSERT_EQ(Bits(out), wanted);
      });
    }
  }
}

std::string CaseName(const testing::TestParamInfo<GemmTest::ParamType>& info) {
  const Shape shape = std::get<1>(info.param);
  const bool reduced = std::get<2>(info.param) == ActivationPrecision::kReduced;
  return fmt::format("{}_{}x{}{}", DTypeName(std::get<0>(info.param)), std::get<0>(shape),
                     std::get<1>(shape), reduced ? "_reduced" : "");
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, GemmTest,
    testing::Combine(testing::Values(DType::kF32, DType::kBF16, DType::kF16),
                     testing::Values(Shape{1, 1}, Shape{8, 40}, Shape{33, 7}, Shape{64, 64},
                                     Shape{45, 301}, Shape{5, 513}),
                     testing::Values(ActivationPrecision::kFull, ActivationPrecision::kReduced)),
    CaseName);

TEST(Gemm, ARowHasTheSameBitsInEveryBatch) {
  const RandomWeight weight(DType::kBF16, 96, 260, 5);
  ThreadPool pool(2);
  Workspace workspace;
  const PackedMatrix packed = PackedMatrix::Pack(pool, weight.view());
  const std::vector<float> x = RandomFloats(64 * 260, 6);
  std::vector<float> all(64 * 96);
  Gemm(pool, AsMatrix(x, 64, 260), packed, {}, workspace, AsMatrix(all, 64, 96));
  for (int64_t first = 0; first < 64; first += 7) {
    for (int64_t rows = 1; rows <= 5 && first + rows <= 64; ++rows) {
      std::vector<float> some(static_cast<size_t>(rows * 96));
      Gemm(pool, AsMatrix(x, 64, 260).Rows(first, rows), packed, {}, workspace,
           AsMatrix(some, rows, 96));
      const std::vector<float> wanted(all.begin() + first * 96, all.begin() + (first + rows) * 96);
      ASSERT_EQ(Bits(some), Bits(wanted)) << first << " " << rows;
    }
  }
}

// As the dot product of pairs does: NaN stays, subnormal activations count as zero, and a value
// past the greatest bfloat16 is infinite.
TEST(Gemm, ReducedActivationsOfEveryKind) {
  const RandomWeight one(DType::kBF16, 1, 1, 9);
  ThreadPool pool(1);
  Workspace workspace;
  PackedMatrix packed = PackedMatrix::Pack(pool, one.view());
  packed.set_rules({.activations = ActivationPrecision::kReduced});
  const float full_nan = std::bit_cast<float>(0x7fffffffu);  // which must not be rounded up to -0
  const std::vector<float> x = {NAN, INFINITY, -INFINITY, 3.4e38f, 1e-39f, -0.0f, 1e-37f, full_nan};
  ForEachTarget([&] {
    std::vector<float> out(x.size());
    const auto rows = static_cast<int64_t>(x.size());
    Gemm(pool, AsMatrix(x, rows, 1), packed, {}, workspace, AsMatrix(out, rows, 1));
    EXPECT_TRUE(std::isnan(out[0]) && std::isnan(out[7]));
    for (const size_t i : {1u, 2u, 3u}) EXPECT_TRUE(std::isinf(out[i])) << out[i];
    EXPECT_EQ(out[4], 0.0f);
    EXPECT_EQ(out[5], 0.0f);
    EXPECT_EQ(out[6], AsBf16(x[6]) * one.at(0, 0));
  });
}

// A bfloat16 of the upper bits of *x, of which the rest stays.
float CutUpperHalf(float* x) {
  const float cut = std::bit_cast<float>(std::bit_cast<uint32_t>(*x) & 0xffff0000u);
  *x -= cut;
  return cut;
}

// Products of BF16 by tile registers as Intel's manual has them: per chunk of 32 k, and per part of
// x, a chain of the even k and one of the odd ones, whose sum is added.
std::vector<float> TileOracle(const std::vector<float>& x, int64_t rows, const RandomWeight& w,
                              bool reduced) {
  std::vector<float> out;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t n = 0; n < w.n; ++n) {
      float sum = 0.0f;
      for (int64_t first = 0; first < w.k; first += 32) {
        const int64_t end = std::min(first + 32, w.k);
        std::vector<float> rest(x.begin() + r * w.k + first, x.begin() + r * w.k + end);
        for (int part = 0; part < (reduced ? 1 : 3); ++part) {
          float chains[2] = {0.0f, 0.0f};
          for (int64_t k = first; k < end; ++k) {
            float& value = rest[static_cast<size_t>(k - first)];
            const float rounded = reduced ? AsBf16(value) : CutUpperHalf(&value);
            float& chain = chains[k % 2];
            chain = std::fma(rounded, w.at(n, k), chain);
          }
          sum += chains[0] + chains[1];
        }
      }
      out.push_back(sum);
    }
  }
  return out;
}

class NativeSumOrder : public testing::TestWithParam<std::tuple<Shape, ActivationPrecision>> {
 protected:
  std::vector<float> Product(const std::vector<float>& x, int64_t rows, SumOrder order,
                             int threads) {
    ThreadPool pool(threads);
    Workspace workspace;
    PackedMatrix packed = PackedMatrix::Pack(pool, weight_.view());
    packed.set_rules({.activations = activations_, .order = order});
    std::vector<float> out(static_cast<size_t>(rows * weight_.n), 7.0f);
    Gemm(pool, AsMatrix(x, rows, weight_.k), packed, {}, workspace, AsMatrix(out, rows, weight_.n));
    return out;
  }

  const ActivationPrecision activations_ = std::get<1>(GetParam());
  const RandomWeight weight_{DType::kBF16, std::get<0>(std::get<0>(GetParam())),
                             std::get<1>(std::get<0>(GetParam())), 1};
};

TEST_P(NativeSumOrder, IsThatOfTheTileRegistersForAnyRowsAndThreads) {
  if (!cpu::HasTileRegisters()) GTEST_SKIP() << "no AMX on this processor";
  const bool reduced = activations_ == ActivationPrecision::kReduced;
  for (const int threads : {1, 2, 3}) {
    for (const int64_t rows : kRowCounts) {
      if (rows > 33 && threads == 2) continue;
      SCOPED_TRACE(testing::Message() << threads << " threads, " << rows << " rows");
      const std::vector<float> x = RandomFloats(rows * weight_.k, 3);
      ASSERT_EQ(Bits(Product(x, rows, SumOrder::kNative, threads)),
                Bits(TileOracle(x, rows, weight_, reduced)));
    }
  }
}

TEST_P(NativeSumOrder, IsThePortableOneWhereThereIsNoOther) {
  const std::vector<float> x = RandomFloats(17 * weight_.k, 3);
  const auto portable = Bits(Product(x, 17, SumOrder::kPortable, 2));
  cpu::AllowTileRegisters(false);
  const auto native = Bits(Product(x, 17, SumOrder::kNative, 2));
  cpu::AllowTileRegisters(true);
  EXPECT_EQ(native, portable);
}

// Rounding of float32 sums apart it gives what the other order gives.
TEST_P(NativeSumOrder, IsAsExactAsThePortableOne) {
  constexpr int64_t kRows = 40;
  const std::vector<float> x = RandomFloats(kRows * weight_.k, 3);
  const std::vector<float> native = Product(x, kRows, SumOrder::kNative, 2);
  for (int64_t i = 0; i < kRows * weight_.n; ++i) {
    double exact = 0.0;
    double magnitude = 0.0;
    for (int64_t k = 0; k < weight_.k; ++k) {
      const float value = x[static_cast<size_t>(i / weight_.n * weight_.k + k)];
      const bool reduced = activations_ == ActivationPrecision::kReduced;
      const double term = static_cast<double>(reduced ? AsBf16(value) : value) *
                          static_cast<double>(weight_.at(i % weight_.n, k));
      exact += term;
      magnitude += std::abs(term);
    }
    const double bound = 0x1p-24 * static_cast<double>(weight_.k + 8) * magnitude;
    ASSERT_NEAR(native[static_cast<size_t>(i)], exact, bound);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, NativeSumOrder,
    testing::Combine(testing::Values(Shape{1, 1}, Shape{8, 40}, Shape{33, 7}, Shape{64, 64},
                                     Shape{45, 301}, Shape{5, 513}),
                     testing::Values(ActivationPrecision::kFull, ActivationPrecision::kReduced)));

// What is infinite or no number stays so, and says nothing about other rows.
TEST(Gemm, NativeOrderWithActivationsOfEveryKind) {
  const RandomWeight one(DType::kBF16, 1, 1, 9);
  ThreadPool pool(1);
  Workspace workspace;
  PackedMatrix packed = PackedMatrix::Pack(pool, one.view());
  packed.set_rules({.order = SumOrder::kNative});
  const float hidden_nan = std::bit_cast<float>(0x7f800001u);
  const std::vector<float> x = {NAN, hidden_nan, INFINITY, -INFINITY, 3.4e38f, 1e-30f, 1.0f};
  std::vector<float> out(x.size());
  const auto rows = static_cast<int64_t>(x.size());
  Gemm(pool, AsMatrix(x, rows, 1), packed, {}, workspace, AsMatrix(out, rows, 1));
  EXPECT_TRUE(std::isnan(out[0]));
  EXPECT_TRUE(std::isnan(out[1]));
  EXPECT_TRUE(std::isinf(out[2]) && std::isinf(out[3]));
  for (size_t i = 4; i < x.size(); ++i) {
    EXPECT_NEAR(out[i] / x[i], one.at(0, 0), 1e-6f) << x[i];
  }
}

TEST(Gemm, ReadsAndWritesRowsWithStrides) {
  const RandomWeight weight(DType::kF32, 40, 24, 7);
  ThreadPool pool(1);
  Workspace workspace;
  const PackedMatrix packed = PackedMatrix::Pack(pool, weight.view());
  const std::vector<float> x = RandomFloats(5 * 30, 8);
  std::vector<float> out(5 * 50, -3.0f);
  Gemm(pool, {x.data(), 5, 24, 30}, packed, {}, workspace, {out.data(), 5, 40, 50});
  for (int64_t r = 0; r < 5; ++r) {
    const std::vector<float> row(x.begin() + r * 30, x.begin() + r * 30 + 24);
    const std::vector<float> wanted = Oracle(row, 1, weight, {});
    for (int64_t c = 0; c < 50; ++c) {
      const float expected = c < 40 ? wanted[static_cast<size_t>(c)] : -3.0f;
      ASSERT_EQ(out[static_cast<size_t>(r * 50 + c)], expected);
    }
  }
}

TEST(Gemm, KeepsInfinityAndSubnormalsOfTheWeights) {
  RandomWeight weight(DType::kF16, 3, 1, 9);
  weight.bits = {0x7c00, 0x0001, 0x83ff};  // +inf, the least subnormal, the greatest (negative)
  ThreadPool pool(1);
  Workspace workspace;
  const PackedMatrix packed = PackedMatrix::Pack(pool, weight.view());
  const std::vector<float> one = {1.0f};
  ForEachTarget([&] {
    std::vector<float> out(3);
    Gemm(pool, AsMatrix(one, 1, 1), packed, {}, workspace, AsMatrix(out, 1, 3));
    EXPECT_EQ(out, (std::vector<float>{INFINITY, 0x1p-24f, -0x1.ff8p-15f}));
  });
}

// Matrices in one, whose borders lie within panels, give what each gives alone.
TEST(PackedMatrix, AStackHasTheBitsOfItsParts) {
  constexpr int64_t kInputs = 33;
  ThreadPool pool(2);
  Workspace workspace;
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const std::vector<int64_t> parts = {20, 1, 70, 0, 5};
    const int64_t outputs = std::accumulate(parts.begin(), parts.end(), int64_t{0});
    std::vector<float> values(static_cast<size_t>(outputs * kInputs));
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<float>(i * 7919 % 1013) / 1013.0f - 0.5f;
    }
    std::vector<std::byte> stored(values.size() * static_cast<size_t>(DTypeBytes(dtype)));
    for (size_t i = 0; i < values.size(); ++i) {
      StoreElement(values[i], stored.data(), dtype, static_cast<int64_t>(i));
    }
    const auto view = [&](int64_t first, int64_t n) {
      return WeightView{stored.data() + first * kInputs * DTypeBytes(dtype), dtype, n, kInputs};
    };
    PackedMatrix stack = PackedMatrix::Reserve(outputs, view(0, 0));
    int64_t first = 0;
    for (const int64_t n : parts) {
      stack.Append(pool, view(first, n));
      first += n;
    }
    const PackedMatrix whole = PackedMatrix::Pack(pool, view(0, outputs));
    std::vector<float> a(static_cast<size_t>(2 * outputs));
    std::vector<float> b(a.size());
    const ConstMatrix x(values.data(), 2, kInputs);
    Gemm(pool, x, stack, {}, workspace, Matrix(a.data(), 2, outputs));
    Gemm(pool, x, whole, {}, workspace, Matrix(b.data(), 2, outputs));
    EXPECT_EQ(a, b);
  }
}

}  // namespace
}  // namespace folkmoot
