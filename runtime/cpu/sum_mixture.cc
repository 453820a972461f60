// SPDX-License-Identifier: Apache-2.0
// A normalised sum is its numbers times one factor, so that nothing is normalised in memory: the
// factor joins the score, and then the weight.
#include "runtime/cpu/sum_mixture.h"

#include <algorithm>
#include <cmath>

#include "runtime/cpu/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/sum_mixture.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "runtime/cpu/simd-inl.h"
#include "runtime/exact_math.h"

HWY_BEFORE_NAMESPACE();
namespace folkmoot::cpu {
namespace HWY_NAMESPACE {

float DotOfSums(const float* a, const float* b, int64_t n) {
  Block sum = ZeroBlock();
  for (int64_t c = 0; c < n; c += kLanes) {
    const Block x = LoadBlockN(a + c, n - c);
    const Block y = LoadBlockN(b + c, n - c);
    for (size_t v = 0; v < kVectors; ++v) sum.v[v] = Fma(x.v[v], y.v[v], sum.v[v]);
  }
  return SumLanes(sum);
}

// out [n] = the sum over i of weights[i] * sum i.
void MixRow(const float* sums, const float* weights, int64_t count, int64_t n, float* out) {
  for (int64_t c = 0; c < n; c += kLanes) {
    Block sum = ZeroBlock();
    for (int64_t i = 0; i < count; ++i) {
      const Block x = LoadBlockN(sums + i * n + c, n - c);
      const VF weight = hn::Set(DF(), weights[i]);
      for (size_t v = 0; v < kVectors; ++v) sum.v[v] = Fma(weight, x.v[v], sum.v[v]);
    }
    StoreBlockN(sum, out + c, n - c);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace folkmoot::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace folkmoot::cpu {
namespace {
HWY_EXPORT(DotOfSums);
HWY_EXPORT(MixRow);

// Scores become probabilities, each times the factor of its sum.
void WeighSums(std::span<const float> factors, float* scores) {
  const size_t n = factors.size();
  const auto top = static_cast<double>(*std::max_element(scores, scores + n));
  const auto power = [&](size_t i) { return exact::Exp(static_cast<double>(scores[i]) - top); };
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += power(i);
  for (size_t i = 0; i < n; ++i) {
    scores[i] = static_cast<float>(power(i) / sum * static_cast<double>(factors[i]));
  }
}

// factors and scores are scratch, a number for each sum.
void MixToken(std::span<const float> sums, std::span<const float> queries, int64_t hidden,
              std::span<float> factors, float* scores, float* out) {
  constexpr float kEps = 1e-6f;  // whatever that of the model's norms is
  const auto size = static_cast<float>(hidden);
  const auto dot = [hidden](const float* a, const float* b) {
    return HWY_DYNAMIC_DISPATCH(DotOfSums)(a, b, hidden);
  };
  for (size_t i = 0; i < factors.size(); ++i) {
    const float* const sum = sums.data() + static_cast<int64_t>(i) * hidden;
    factors[i] = 1.0f / std::sqrt(dot(sum, sum) / size + kEps);
  }
  for (int64_t first = 0; first < std::ssize(queries); first += hidden) {
    for (size_t i = 0; i < factors.size(); ++i) {
      const float* const sum = sums.data() + static_cast<int64_t>(i) * hidden;
      scores[i] = dot(queries.data() + first, sum) * factors[i] / std::sqrt(size);
    }
    WeighSums(factors, scores);
    HWY_DYNAMIC_DISPATCH(MixRow)
    (sums.data(), scores, std::ssize(factors), hidden, out + first);
  }
}

}  // namespace

void MixSums(ThreadPool& pool, ConstMatrix sums, std::span<const float> queries, int64_t hidden,
             Workspace& workspace, Matrix out) {
  constexpr int64_t kWorthAThread = 32768;  // numbers
  const int64_t count = sums.cols / hidden;
  const Workspace::Position mark = workspace.Mark();
  const Matrix factors = workspace.GetMatrix(sums.rows, count);
  const Matrix scores = workspace.GetMatrix(sums.rows, count);
  pool.ParallelFor(sums.rows, kWorthAThread / sums.cols + 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      MixToken(sums.RowSpan(t), queries, hidden, factors.RowSpan(t), scores.Row(t), out.Row(t));
    }
  });
  workspace.Release(mark);
}

}  // namespace folkmoot::cpu
#endif  // HWY_ONCE
