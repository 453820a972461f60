// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <memory>

#include "runtime/ops/gemm.h"
#include "tests/runtime/ops/ops_testing.h"

namespace folkmoot {
namespace {

// One expert as the checkpoint has it and as the kernels want it.
constexpr float kLimit = 0.7f;  // of clamped SwiGLU
constexpr float kUpLimit = 0.9f;

struct TestExpert {
  TestExpert(ThreadPool& pool, DType dtype, int64_t hidden, int64_t inner, uint32_t seed, bool bias)
      : gate(dtype, inner, hidden, seed),
        up(dtype, inner, hidden, seed + 1),
        down(dtype, hidden, inner, seed + 2) {
    packed.gate_up = PackedMatrix::PackGateUp(pool, gate.view(), up.view());
    packed.down = PackedMatrix::Pack(pool, down.view());
    packed.limit = kLimit;
    packed.up_limit = kUpLimit;
    if (!bias) return;
    gate_bias = RandomFloats(inner, seed + 3);
    up_bias = RandomFloats(inner, seed + 4);
    down_bias = RandomFloats(hidden, seed + 5);
    packed.gate_bias = gate_bias;
    packed.up_bias = up_bias;
    packed.down_bias = down_bias;
  }
  RandomWeight gate, up, down;
  std::vector<float> gate_bias, up_bias, down_bias;
  GatedFfnWeights packed;
};

// act(gate) * up.
double Act(Activation activation, double x, double up) {
  switch (activation) {
    case Activation::kClampedSwiglu:
      x = std::min(x, double{kLimit});
      return x / (1.0 + std::exp(-1.702 * x)) *
             (std::clamp(up, double{-kLimit}, double{kLimit}) + 1.0);
    case Activation::kLimitedSwiglu:
      return std::min(x / (1.0 + std::exp(-x)), double{kLimit}) *
             std::clamp(up, double{-kLimit}, double{kLimit});
    case Activation::kCappedSwiglu:
      x = std::min(x, double{kLimit});
      return x / (1.0 + std::exp(-x)) * std::clamp(up, double{-kLimit}, double{kLimit});
    case Activation::kSoftcappedSwiglu:
      return kLimit * std::tanh(x / kLimit) / (1.0 + std::exp(-x)) * kUpLimit *
             std::tanh(up / kUpLimit);
    case Activation::kSilu:
      return up * x / (1.0 + std::exp(-x));
    case Activation::kGelu:
      return up * 0.5 * x * (1.0 + std::erf(x / std::sqrt(2.0)));
    case Activation::kGeluTanh:
      return up * 0.5 * x * (1.0 + std::tanh(std::sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::kRelu:
      return up * std::max(x, 0.0);
    case Activation::kReluSquared:
      return up * std::max(x, 0.0) * std::max(x, 0.0);
  }
  return 0.0;
}

double Dot(const RandomWeight& w, int64_t row, const double* x) {
  double sum = 0.0;
  for (int64_t i = 0; i < w.k; ++i) sum += w.at(row, i) * x[i];
  return sum;
}

struct Expected {
  double value;
  double magnitude;  // sum of the absolute terms: what rounding errors are relative to
};

std::vector<Expected> Oracle(const TestExpert& expert, Activation activation, const float* x) {
  const std::vector<double> wide(x, x + expert.gate.k);
  std::vector<double> hidden;
  std::vector<Expected> out;
  for (int64_t i = 0; i < expert.gate.n; ++i) {
    const auto at = static_cast<size_t>(i);
    const double gate =
        Dot(expert.gate, i, wide.data()) + (expert.gate_bias.empty() ? 0.0 : expert.gate_bias[at]);
    const double up =
        Dot(expert.up, i, wide.data()) + (expert.up_bias.empty() ? 0.0 : expert.up_bias[at]);
    hidden.push_back(Act(activation, gate, up));
  }
  for (int64_t i = 0; i < expert.down.n; ++i) {
    const double bias = expert.down_bias.empty() ? 0.0 : expert.down_bias[static_cast<size_t>(i)];
    double magnitude = std::abs(bias);
    for (int64_t j = 0; j < expert.down.k; ++j) {
      magnitude += std::abs(expert.down.at(i, j) * hidden[static_cast<size_t>(j)]);
    }
    out.push_back({Dot(expert.down, i, hidden.data()) + bias, magnitude});
  }
  return out;
}

struct Case {
  DType dtype;
  Activation activation;
  int64_t hidden;
  int64_t inner;
  bool bias;
};
class GatedFfnTest : public testing::TestWithParam<Case> {};

TEST_P(GatedFfnTest, MatchesDoublesWithEmptyExpertsAndKeepsItsBits) {
  const Case c = GetParam();
  const std::vector<int64_t> offsets = {0, 0, 1, 1, 6, 110, 112};  // experts 0 and 2 are idle
  const int64_t rows = offsets.back();
  ThreadPool loader(2);
  std::vector<std::unique_ptr<TestExpert>> experts;
  std::vector<const GatedFfnWeights*> weights;
  for (uint32_t e = 0; e + 1 < offsets.size(); ++e) {
    experts.push_back(
        std::make_unique<TestExpert>(loader, c.dtype, c.hidden, c.inner, 10 * e, c.bias));
    weights.push_back(e == 2 ? nullptr : &experts.back()->packed);
  }
  const std::vector<float> x = RandomFloats(rows * c.hidden, 77);
  std::vector<float> hidden(static_cast<size_t>(rows * c.inner));
  std::vector<float> first;
  for (const int threads : {1, 2, 3}) {
    ThreadPool pool(threads);
    Workspace workspace;
    ForEachTarget([&] {
      std::vector<float> out(x.size(), 9.0f);
      GroupedGatedFfn(pool, weights, offsets, c.activation, AsMatrix(x, rows, c.hidden), workspace,
                      AsMatrix(hidden, rows, c.inner), AsMatrix(out, rows, c.hidden));
      if (first.empty()) first = out;
      ASSERT_EQ(Bits(out), Bits(first)) << threads;
    });
  }
  for (size_t e = 0; e < experts.size(); ++e) {
    for (int64_t r = offsets[e]; r < offsets[e + 1]; ++r) {
      const std::vector<Expected> wanted =
          Oracle(*experts[e], c.activation, x.data() + r * c.hidden);
      for (int64_t i = 0; i < c.hidden; ++i) {
        const Expected& expected = wanted[static_cast<size_t>(i)];
        ASSERT_NEAR(first[static_cast<size_t>(r * c.hidden + i)], expected.value,
                    1e-6 * (1.0 + expected.magnitude))
            << "expert " << e << " row " << r << " column " << i;
      }
    }
  }
}

TEST_P(GatedFfnTest, ARowHasTheSameBitsInEveryGrouping) {
  const Case c = GetParam();
  ThreadPool pool(2);
  Workspace workspace;
  const TestExpert a(pool, c.dtype, c.hidden, c.inner, 1, c.bias);
  const TestExpert b(pool, c.dtype, c.hidden, c.inner, 2, c.bias);
  const std::vector<const GatedFfnWeights*> both = {&a.packed, &b.packed};
  const std::vector<float> x = RandomFloats(20 * c.hidden, 3);
  std::vector<float> hidden(static_cast<size_t>(20 * c.inner));
  std::vector<float> together(x.size());
  GroupedGatedFfn(pool, both, std::vector<int64_t>{0, 13, 20}, c.activation,
                  AsMatrix(x, 20, c.hidden), workspace, AsMatrix(hidden, 20, c.inner),
                  AsMatrix(together, 20, c.hidden));
  std::vector<float> apart(x.size());
  for (int64_t r = 0; r < 20; ++r) {
    const std::vector<int64_t> one =
        r < 13 ? std::vector<int64_t>{0, 1, 1} : std::vector<int64_t>{0, 0, 1};
    GroupedGatedFfn(pool, both, one, c.activation, AsMatrix(x, 20, c.hidden).Rows(r, 1), workspace,
                    AsMatrix(hidden, 20, c.inner), AsMatrix(apart, 20, c.hidden).Rows(r, 1));
  }
  EXPECT_EQ(Bits(apart), Bits(together));
}

INSTANTIATE_TEST_SUITE_P(
    Cases, GatedFfnTest,
    testing::Values(Case{DType::kF32, Activation::kSilu, 24, 40, false},
                    Case{DType::kBF16, Activation::kSilu, 65, 33, true},
                    Case{DType::kF16, Activation::kGelu, 32, 17, false},
                    Case{DType::kF32, Activation::kGeluTanh, 33, 48, true},
                    Case{DType::kBF16, Activation::kRelu, 64, 64, false},
                    Case{DType::kF32, Activation::kReluSquared, 48, 40, true},
                    Case{DType::kF32, Activation::kLimitedSwiglu, 40, 33, true},
                    Case{DType::kF32, Activation::kCappedSwiglu, 40, 33, true},
                    Case{DType::kF32, Activation::kSoftcappedSwiglu, 40, 33, true},
                    Case{DType::kF32, Activation::kClampedSwiglu, 40, 33, true}));

// down(act(up x)), with widths that fill no panel.
TEST(GatedFfn, WithoutAGateItMatchesDoublesInEveryGrouping) {
  constexpr int64_t kHidden = 40;
  constexpr int64_t kInner = 52;
  constexpr int64_t kRows = 9;
  ThreadPool pool(2);
  Workspace workspace;
  const RandomWeight up(DType::kF32, kInner, kHidden, 1);
  const RandomWeight down(DType::kF32, kHidden, kInner, 2);
  const std::vector<float> bias = RandomFloats(kInner, 3);
  GatedFfnWeights weights;
  weights.gated = false;
  weights.gate_up = PackedMatrix::Pack(pool, up.view());
  weights.down = PackedMatrix::Pack(pool, down.view());
  weights.gate_bias = bias;
  const std::vector<float> x = RandomFloats(kRows * kHidden, 4);
  const GatedFfnWeights* const same[] = {&weights, &weights, &weights};
  const std::vector<int64_t> one = {0, kRows};
  const std::vector<int64_t> three = {0, 1, 7, kRows};
  std::vector<float> hidden(kRows * kInner);
  std::vector<float> first(x.size()), again(x.size());
  GroupedGatedFfn(pool, std::span(same).first(1), one, Activation::kRelu,
                  AsMatrix(x, kRows, kHidden), workspace, AsMatrix(hidden, kRows, kInner),
                  AsMatrix(first, kRows, kHidden));
  GroupedGatedFfn(pool, same, three, Activation::kRelu, AsMatrix(x, kRows, kHidden), workspace,
                  AsMatrix(hidden, kRows, kInner), AsMatrix(again, kRows, kHidden));
  EXPECT_EQ(Bits(first), Bits(again));
  for (int64_t r = 0; r < kRows; ++r) {
    const std::vector<double> wide(x.begin() + r * kHidden, x.begin() + (r + 1) * kHidden);
    std::vector<double> inner;
    for (int64_t i = 0; i < kInner; ++i) {
      inner.push_back(
          std::max(0.0, Dot(up, i, wide.data()) + double{bias[static_cast<size_t>(i)]}));
    }
    for (int64_t i = 0; i < kHidden; ++i) {
      ASSERT_NEAR(first[static_cast<size_t>(r * kHidden + i)], Dot(down, i, inner.data()), 1e-4);
    }
  }
}

TEST(GatedFfn, NoRowsIsNoWork) {
  ThreadPool pool(2);
  Workspace workspace;
  const TestExpert a(pool, DType::kF32, 8, 8, 1, false);
  const std::vector<const GatedFfnWeights*> one = {&a.packed};
  GroupedGatedFfn(pool, one, std::vector<int64_t>{0, 0}, Activation::kSilu, {nullptr, 0, 8},
                  workspace, {nullptr, 0, 8}, {nullptr, 0, 8});
}

}  // namespace
}  // namespace folkmoot
