// SPDX-License-Identifier: Apache-2.0
#include "runtime/ops/norm.h"

#include <cmath>

#include "tests/runtime/ops/ops_testing.h"

namespace folkmoot {
namespace {

constexpr float kEps = 1e-5f;

double NormScale(const float* x, int64_t n) {
  double sum = 0.0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * x[i];
  return 1.0 / std::sqrt(sum / static_cast<double>(n) + kEps);
}

// Runs op on a copy of `in` for every target and thread count; the bits must not change.
template <typename F>
std::vector<float> SameOnAllTargets(const std::vector<float>& in, F op) {
  std::vector<float> first;
  for (const int threads : {1, 2, 3}) {
    ThreadPool pool(threads);
    ForEachTarget([&] {
      std::vector<float> out = in;
      op(pool, out);
      if (first.empty()) first = out;
      ASSERT_EQ(Bits(out), Bits(first)) << threads;
    });
  }
  return first;
}

TEST(RmsNorm, MatchesDoubles) {
  for (const int64_t cols : {1, 15, 64, 1000}) {
    const int64_t rows = 70;
    const std::vector<float> x = RandomFloats(rows * cols, 1);
    const std::vector<float> weight = RandomFloats(cols, 2);
    const std::vector<float> out =
        SameOnAllTargets(x, [&](ThreadPool& pool, std::vector<float>& y) {
          RmsNorm(pool, AsMatrix(x, rows, cols), weight, kEps, AsMatrix(y, rows, cols));
        });
    const std::vector<float> in_place =
        SameOnAllTargets(x, [&](ThreadPool& pool, std::vector<float>& y) {
          RmsNorm(pool, AsMatrix(y, rows, cols), weight, kEps, AsMatrix(y, rows, cols));
        });
    EXPECT_EQ(Bits(in_place), Bits(out));
    for (int64_t r = 0; r < rows; ++r) {
      const double scale = NormScale(x.data() + r * cols, cols);
      for (int64_t i = 0; i < cols; ++i) {
        const auto at = static_cast<size_t>(r * cols + i);
        ASSERT_NEAR(out[at], x[at] * scale * weight[static_cast<size_t>(i)], 1e-6);
      }
    }
  }
}

TEST(RmsNorm, FusedAdditionHasTheBitsOfTwoSteps) {
  const int64_t rows = 37, cols = 130;
  const std::vector<float> delta = RandomFloats(rows * cols, 1);
  const std::vector<float> residual = RandomFloats(rows * cols, 2);
  const std::vector<float> weight = RandomFloats(cols, 3);
  ThreadPool pool(2);
  std::vector<float> sum = residual;
  Add(pool, AsMatrix(delta, rows, cols), AsMatrix(sum, rows, cols));
  for (size_t i = 0; i < sum.size(); ++i) ASSERT_EQ(sum[i], delta[i] + residual[i]);
  std::vector<float> scaled = delta;
  Scale(pool, 0.22f, AsMatrix(scaled, rows, cols));
  for (size_t i = 0; i < scaled.size(); ++i) ASSERT_EQ(scaled[i], 0.22f * delta[i]);
  std::vector<float> factored = residual;
  std::vector<float> unused(sum.size());
  AddRmsNorm(pool, AsMatrix(delta, rows, cols), 0.22f, weight, kEps, AsMatrix(factored, rows, cols),
             AsMatrix(unused, rows, cols));
  for (size_t i = 0; i < scaled.size(); ++i) ASSERT_EQ(factored[i], residual[i] + scaled[i]);
  std::vector<float> wanted(sum.size());
  RmsNorm(pool, AsMatrix(sum, rows, cols), weight, kEps, AsMatrix(wanted, rows, cols));
  std::vector<float> fused_sum = residual;
  std::vector<float> fused(sum.size());
  AddRmsNorm(pool, AsMatrix(delta, rows, cols), 1.0f, weight, kEps, AsMatrix(fused_sum, rows, cols),
             AsMatrix(fused, rows, cols));
  EXPECT_EQ(Bits(fused_sum), Bits(sum));
  EXPECT_EQ(Bits(fused), Bits(wanted));
}

TEST(Clamp, BoundsEveryValueAndKeepsNan) {
  ThreadPool pool(2);
  std::vector<float> x = {-3.0f, -0.5f, 0.0f, 0.5f, 7.0f, NAN, INFINITY, -INFINITY};
  Clamp(pool, 0.5f, AsMatrix(x, 2, 4));
  EXPECT_TRUE(std::isnan(x[5]));
  x[5] = 0.0f;
  EXPECT_EQ(x, (std::vector<float>{-0.5f, -0.5f, 0.0f, 0.5f, 0.5f, 0.0f, 0.5f, -0.5f}));
}

// Of every other head, which is made so much longer, the length is the limit.
TEST(ClipHeads, ShortensLongHeadsAlone) {
  const int64_t rows = 31, heads = 4, dim = 21;
  const float limit = 2.5f;
  const std::vector<float> x = RandomFloats(rows * heads * dim, 1);
  std::vector<float> scale = RandomFloats(heads * dim, 2);
  for (size_t c = 0; c < scale.size(); ++c) scale[c] += c / 21 % 2 == 0 ? 4.0f : 0.5f;
  for (const bool scaled : {true, false}) {
    const std::vector<float> used = scaled ? scale : std::vector<float>();
    const std::vector<float> out =
        SameOnAllTargets(x, [&](ThreadPool& pool, std::vector<float>& y) {
          ClipHeads(pool, dim, used, limit, AsMatrix(y, rows, heads * dim));
        });
    for (int64_t head = 0; head < rows * heads; ++head) {
      std::vector<double> wanted;
      double squares = 0;
      for (int64_t c = 0; c < dim; ++c) {
        const auto column = static_cast<size_t>(head % heads * dim + c);
        wanted.push_back(x[static_cast<size_t>(head * dim + c)] * (scaled ? scale[column] : 1.0));
        squares += wanted.back() * wanted.back();
      }
      const double factor = std::min(1.0, limit / (std::sqrt(squares) + 1e-6));
      for (int64_t c = 0; c < dim; ++c) {
        ASSERT_NEAR(out[static_cast<size_t>(head * dim + c)],
                    wanted[static_cast<size_t>(c)] * factor, 2e-6);
      }
    }
  }
}

TEST(ShiftScale, GoesByColumn) {
  ThreadPool pool(2);
  const std::vector<float> x = {1.0f, 2.0f, -3.0f, 0.5f};
  const std::vector<float> shift = {1.0f, -2.0f}, scale = {0.5f, 4.0f};
  std::vector<float> out(4);
  ShiftScale(pool, AsMatrix(x, 2, 2), shift, scale, AsMatrix(out, 2, 2));
  EXPECT_EQ(out, (std::vector<float>{1.0f, 0.0f, -1.0f, -6.0f}));
  ShiftScale(pool, AsMatrix(out, 2, 2), {}, scale, AsMatrix(out, 2, 2));
  EXPECT_EQ(out, (std::vector<float>{0.5f, 0.0f, -0.5f, -24.0f}));
}

TEST(ScaleHeads, FollowsTheRowByHead) {
  const int64_t rows = 33, heads = 3, dim = 10;
  const std::vector<float> x = RandomFloats(rows * heads * dim, 6);
  const std::vector<float> factors = RandomFloats(rows, 7);
  const std::vector<float> scale = RandomFloats(heads, 8), bias = RandomFloats(heads, 9);
  const std::vector<float> out = SameOnAllTargets(x, [&](ThreadPool& pool, std::vector<float>& y) {
    ScaleHeads(pool, factors, scale, bias, AsMatrix(y, rows, heads * dim));
  });
  for (int64_t i = 0; i < rows * heads * dim; ++i) {
    const auto head = static_cast<size_t>(i / dim % heads);
    const double factor =
        static_cast<double>(scale[head]) * factors[static_cast<size_t>(i / (heads * dim))] +
        bias[head];
    const auto at = static_cast<size_t>(i);
    ASSERT_NEAR(out[at], x[at] * factor, 1e-6) << i;
  }
}

TEST(Multiply, IsElementwise) {
  ThreadPool pool(2);
  const std::vector<float> factors = {2.0f, -1.0f, 0.5f, 0.0f};
  std::vector<float> x = {1.5f, 3.0f, -8.0f, 7.0f};
  Multiply(pool, AsMatrix(factors, 2, 2), AsMatrix(x, 2, 2));
  EXPECT_EQ(x, (std::vector<float>{3.0f, -3.0f, -4.0f, 0.0f}));
}

TEST(HeadRmsNorm, NormalisesEachHead) {
  const int64_t rows = 9, heads = 5, dim = 24;
  const std::vector<float> x = RandomFloats(rows * heads * dim, 4);
  const std::vector<float> weight = RandomFloats(dim, 5);
  const std::vector<float> out = SameOnAllTargets(x, [&](ThreadPool& pool, std::vector<float>& y) {
    HeadRmsNorm(pool, dim, weight, kEps, AsMatrix(y, rows, heads * dim));
  });
  for (int64_t head = 0; head < rows * heads; ++head) {
    const double scale = NormScale(x.data() + head * dim, dim);
    for (int64_t i = 0; i < dim; ++i) {
      const auto at = static_cast<size_t>(head * dim + i);
      ASSERT_NEAR(out[at], x[at] * scale * weight[static_cast<size_t>(i)], 1e-6);
    }
  }
}

TEST(EmbeddingLookup, CopiesWidenedRows) {
  ThreadPool pool(2);
  const std::vector<int32_t> ids = {6, 0, 3, 3};
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    const RandomWeight table(dtype, 7, 33, 8);
    std::vector<float> out(4 * 33);
    EmbeddingLookup(pool, table.view(), ids, AsMatrix(out, 4, 33));
    for (size_t r = 0; r < ids.size(); ++r) {
      for (int64_t i = 0; i < 33; ++i) {
        ASSERT_EQ(out[r * 33 + static_cast<size_t>(i)], table.at(ids[r], i));
      }
    }
  }
}

TEST(EmbeddingLookup, TablesInParts) {
  ThreadPool pool(2);
  const std::vector<int64_t> ids = {7, 0, 3, 8, 2, 3};
  const RandomWeight first(DType::kF32, 3, 33, 8), second(DType::kBF16, 3, 33, 9),
      last(DType::kF16, 3, 33, 10);
  const std::vector<WeightView> parts = {first.view(), second.view(), last.view()};
  std::vector<float> out(6 * 33);
  EmbeddingLookup(pool, parts, ids, AsMatrix(out, 6, 33));
  for (size_t r = 0; r < ids.size(); ++r) {
    const RandomWeight& part = ids[r] < 3 ? first : ids[r] < 6 ? second : last;
    for (int64_t i = 0; i < 33; ++i) {
      ASSERT_EQ(out[r * 33 + static_cast<size_t>(i)], part.at(ids[r] % 3, i));
    }
  }
}

TEST(ApplyRope, TurnsPairsAndPassesTheRest) {
  const int64_t rows = 6, heads = 3, dim = 20, half = 7;  // 14 of 20 elements turn
  const std::vector<float> x = RandomFloats(rows * heads * dim, 9);
  std::vector<float> cos, sin;
  for (int64_t i = 0; i < rows * half; ++i) {
    cos.push_back(static_cast<float>(std::cos(0.37 * static_cast<double>(i))));
    sin.push_back(static_cast<float>(std::sin(0.37 * static_cast<double>(i))));
  }
  const std::vector<float> out = SameOnAllTargets(x, [&](ThreadPool& pool, std::vector<float>& y) {
    ApplyRope(pool, AsMatrix(cos, rows, half), AsMatrix(sin, rows, half), {.head_dim = dim},
              AsMatrix(y, rows, heads * dim));
  });
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t h = 0; h < heads; ++h) {
      const auto base = static_cast<size_t>((r * heads + h) * dim);
      for (size_t i = 0; i < 20; ++i) {
        const size_t angle = static_cast<size_t>(r * half) + i % 7;
        double wanted = x[base + i];
        if (i < 7) wanted = x[base + i] * cos[angle] - double{x[base + i + 7]} * sin[angle];
        if (i >= 7 && i < 14)
          wanted = x[base + i] * cos[angle] + double{x[base + i - 7]} * sin[angle];
        ASSERT_NEAR(out[base + i], wanted, 2e-7) << r << " " << h << " " << i;
      }
    }
  }
}

TEST(ApplyRope, TurnsNeighboursInTheMiddleOfAHead) {
  const int64_t rows = 3, heads = 2, dim = 9, half = 3, first = 2;  // elements 2..7 turn
  const std::vector<float> x = RandomFloats(rows * heads * dim, 10);
  const std::vector<float> cos = RandomFloats(rows * half, 11);
  const std::vector<float> sin = RandomFloats(rows * half, 12);
  const std::vector<float> out = SameOnAllTargets(x, [&](ThreadPool& pool, std::vector<float>& y) {
    ApplyRope(pool, AsMatrix(cos, rows, half), AsMatrix(sin, rows, half),
              {.head_dim = dim, .first = first, .neighbours = true},
              AsMatrix(y, rows, heads * dim));
  });
  std::vector<float> wanted = x;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t h = 0; h < heads; ++h) {
      for (int64_t i = 0; i < half; ++i) {
        const auto at = static_cast<size_t>((r * heads + h) * dim + first + 2 * i);
        const auto angle = static_cast<size_t>(r * half + i);
        wanted[at] = x[at] * cos[angle] - x[at + 1] * sin[angle];
        wanted[at + 1] = x[at + 1] * cos[angle] + x[at] * sin[angle];
      }
    }
  }
  for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(out[i], wanted[i], 1e-6) << i;
}

TEST(LayerNorm, MatchesDoubles) {
  const int64_t rows = 7, cols = 37;
  std::vector<float> x = RandomFloats(rows * cols, 13);
  for (float& value : x) value += 3.0f;  // a mean that must be taken away
  const std::vector<float> weight = RandomFloats(cols, 14);
  const std::vector<float> bias = RandomFloats(cols, 15);
  for (const bool biased : {false, true}) {
    const std::vector<float> out =
        SameOnAllTargets(x, [&](ThreadPool& pool, std::vector<float>& y) {
          LayerNorm(pool, AsMatrix(y, rows, cols), weight,
                    biased ? std::span<const float>(bias) : std::span<const float>(), 1e-5f,
                    AsMatrix(y, rows, cols));
        });
    for (int64_t r = 0; r < rows; ++r) {
      double mean = 0, squares = 0;
      for (int64_t c = 0; c < cols; ++c) mean += x[static_cast<size_t>(r * cols + c)];
      mean /= static_cast<double>(cols);
      for (int64_t c = 0; c < cols; ++c) {
        squares += std::pow(x[static_cast<size_t>(r * cols + c)] - mean, 2);
      }
      const double scale = 1.0 / std::sqrt(squares / static_cast<double>(cols) + 1e-5);
      for (int64_t c = 0; c < cols; ++c) {
        const auto at = static_cast<size_t>(c);
        const double wanted = (x[static_cast<size_t>(r * cols) + at] - mean) * scale * weight[at] +
                              (biased ? bias[at] : 0.0f);
        ASSERT_NEAR(out[static_cast<size_t>(r * cols) + at], wanted, 3e-6) << r << " " << c;
      }
    }
  }
}

TEST(SoftCap, MatchesDoubles) {
  const std::vector<float> x = RandomFloats(200, 16);
  const std::vector<float> out = SameOnAllTargets(x, [&](ThreadPool& pool, std::vector<float>& y) {
    SoftCap(pool, 0.7f, AsMatrix(y, 10, 20));
  });
  for (size_t i = 0; i < x.size(); ++i) {
    ASSERT_NEAR(out[i], 0.7 * std::tanh(double{x[i]} / 0.7), 2e-7) << i;
  }
}

TEST(MultiplySigmoid, MatchesDoubles) {
  const std::vector<float> before = RandomFloats(200, 17);
  std::vector<float> gates = RandomFloats(200, 18);
  gates[3] = 1000.0f;
  gates[4] = -1000.0f;
  const std::vector<float> out =
      SameOnAllTargets(before, [&](ThreadPool& pool, std::vector<float>& y) {
        MultiplySigmoid(pool, AsMatrix(gates, 8, 25), AsMatrix(y, 8, 25));
      });
  for (size_t i = 0; i < out.size(); ++i) {
    ASSERT_NEAR(out[i], before[i] / (1.0 + std::exp(-double{gates[i]})), 5e-7) << i;
  }
}

TEST(MultiplyGates, MatchDoubles) {
  const std::vector<float> before = RandomFloats(200, 19);
  std::vector<float> gates = RandomFloats(40, 20);
  gates[3] = 1000.0f;
  gates[4] = -1000.0f;
  for (const GateFunction f : {GateFunction::kSigmoid, GateFunction::kSoftplus}) {
    const std::vector<float> out =
        SameOnAllTargets(before, [&](ThreadPool& pool, std::vector<float>& y) {
          MultiplyGates(pool, f, AsMatrix(gates, 8, 5), AsMatrix(y, 8, 25));
        });
    for (size_t i = 0; i < out.size(); ++i) {
      const double gate = gates[i / 5];
      const double factor = f == GateFunction::kSigmoid ? 1.0 / (1.0 + std::exp(-gate))
                            : gate > 100.0              ? gate
                                                        : std::log1p(std::exp(gate));
      ASSERT_NEAR(out[i], before[i] * factor, 5e-7 * std::max(1.0, std::abs(factor))) << i;
    }
  }
}

TEST(AddSigmoidGated, MatchesDoubles) {
  const int64_t rows = 21, cols = 45;
  const std::vector<float> x = RandomFloats(rows * cols, 10);
  const std::vector<float> y = RandomFloats(rows * cols, 11);
  const std::vector<float> before = RandomFloats(rows * cols, 12);
  const std::vector<float> weight = RandomFloats(cols, 13);
  const std::vector<float> out =
      SameOnAllTargets(before, [&](ThreadPool& pool, std::vector<float>& z) {
        AddSigmoidGated(pool, AsMatrix(x, rows, cols), weight, AsMatrix(y, rows, cols),
                        AsMatrix(z, rows, cols));
      });
  for (int64_t r = 0; r < rows; ++r) {
    double dot = 0.0;
    for (int64_t i = 0; i < cols; ++i) {
      dot += static_cast<double>(x[static_cast<size_t>(r * cols + i)]) *
             weight[static_cast<size_t>(i)];
    }
    for (int64_t i = 0; i < cols; ++i) {
      const auto at = static_cast<size_t>(r * cols + i);
      ASSERT_NEAR(out[at], before[at] + y[at] / (1.0 + std::exp(-dot)), 1e-6);
    }
  }
}

}  // namespace
}  // namespace folkmoot
