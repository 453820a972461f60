// SPDX-License-Identifier: Apache-2.0
// Mixtures of the sums of a token beside the formula in double.
#include "runtime/ops/sum_mixture.h"

#include <cmath>

#include "tests/runtime/ops/ops_testing.h"

namespace folkmoot {
namespace {

using Numbers = std::vector<double>;

// Sum `i` of a row, normalised.
Numbers Normalised(const float* sum, int64_t hidden) {
  Numbers y(sum, sum + hidden);
  double squares = 0;
  for (const double v : y) squares += v * v;
  for (double& v : y) v /= std::sqrt(squares / static_cast<double>(hidden) + 1e-6);
  return y;
}

Numbers Mixture(const float* sums, const float* query, int64_t count, int64_t hidden) {
  Numbers mixed(static_cast<size_t>(hidden));
  double total = 0;
  for (int64_t i = 0; i < count; ++i) {
    const Numbers y = Normalised(sums + i * hidden, hidden);
    double score = 0;
    for (size_t c = 0; c < y.size(); ++c) score += query[c] * y[c];
    const double weight = std::exp(score / std::sqrt(static_cast<double>(hidden)));
    for (size_t c = 0; c < y.size(); ++c) mixed[c] += weight * y[c];
    total += weight;
  }
  for (double& v : mixed) v /= total;
  return mixed;
}

TEST(MixSums, EqualsItsFormulaWithTheSameBits) {
  constexpr int64_t kRows = 21, kRoom = 7;
  for (const auto& [hidden, count, queries] :
       {std::tuple<int64_t, int64_t, int64_t>{33, 1, 1}, {64, 2, 3}, {40, 5, 4}}) {
    std::vector<float> sums = RandomFloats(kRows * kRoom * hidden, 1);
    for (size_t i = 0; i < sums.size(); ++i) sums[i] *= static_cast<float>(1 + i % 3);
    std::vector<float> asked = RandomFloats(queries * hidden, 2);
    for (float& v : asked) v *= 3;
    const ConstMatrix room = AsMatrix(sums, kRows, kRoom * hidden);
    std::vector<float> first;
    for (const int threads : {1, 3}) {
      ThreadPool pool(threads);
      Workspace workspace;
      ForEachTarget([&, hidden = hidden, count = count, queries = queries] {
        std::vector<float> out(static_cast<size_t>(kRows * queries * hidden));
        MixSums(pool, room.Columns(0, count * hidden), asked, hidden, workspace,
                AsMatrix(out, kRows, queries * hidden));
        if (first.empty()) first = out;
        ASSERT_EQ(Bits(out), Bits(first)) << threads;
      });
    }
    for (int64_t i = 0; i < kRows * queries; ++i) {
      const Numbers wanted =
          Mixture(room.Row(i / queries), asked.data() + i % queries * hidden, count, hidden);
      for (size_t c = 0; c < wanted.size(); ++c) {
        ASSERT_NEAR(first[static_cast<size_t>(i * hidden) + c], wanted[c], 2e-6);
      }
    }
  }
}

}  // namespace
}  // namespace folkmoot
