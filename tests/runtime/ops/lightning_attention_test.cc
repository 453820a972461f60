// SPDX-License-Identifier: Apache-2.0
// Lightning attention against its sum over all rows before, in double, and the same bits however a
// sequence comes.
#include "runtime/ops/lightning_attention.h"

#include <algorithm>
#include <cmath>

#include "tests/runtime/ops/ops_testing.h"

namespace folkmoot {
namespace {

constexpr int64_t kRows = 23;

// One layer, and what one sequence brings to it.
struct LightningCase {
  explicit LightningCase(const LightningHeads& in)
      : heads(in), qkv(RandomFloats(kRows * in.columns(), 1)) {
    for (float& value : qkv) value *= 3;
    for (int64_t h = 0; h < heads.heads; ++h) {
      decays.push_back(std::exp(-0.8f / static_cast<float>(1 << h)));
    }
  }

  LightningHeads heads;
  std::vector<float> qkv, decays;
};

// The sequences of a step bring rows begin .. begin + count each, one after the other in the batch.
std::vector<float> Step(const LightningCase& c, ThreadPool& pool, RecurrentState& state,
                        const std::vector<int64_t>& slots, int64_t begin, int64_t count) {
  std::vector<float> qkv;
  std::vector<AttentionSequence> sequences;
  const auto first = c.qkv.begin() + begin * c.heads.columns();
  for (const int64_t slot : slots) {
    sequences.push_back(
        {.first_row = std::ssize(sequences) * count, .rows = count, .start = begin, .slot = slot});
    qkv.insert(qkv.end(), first, first + count * c.heads.columns());
  }
  const int64_t rows = count * std::ssize(slots);
  std::vector<float> out(static_cast<size_t>(rows * c.heads.values()));
  LightningAttention(pool, {.heads = c.heads, .decays = c.decays}, sequences,
                     AsMatrix(qkv, rows, c.heads.columns()), state,
                     AsMatrix(out, rows, c.heads.values()));
  return out;
}

// The sequence in pieces that end at `ends`; what its slot held before does not count.
std::vector<float> InPieces(const LightningCase& c, ThreadPool& pool,
                            const std::vector<int64_t>& ends) {
  RecurrentState state({.layers = 1, .slots = 3, .layer = c.heads.state()});
  std::fill_n(state.Memory(0, 1), c.heads.state().memory, NAN);
  std::vector<float> out;
  int64_t begin = 0;
  for (const int64_t end : ends) {
    const std::vector<float> part = Step(c, pool, state, {1}, begin, end - begin);
    out.insert(out.end(), part.begin(), part.end());
    begin = end;
  }
  return out;
}

// o[t] = sum over s <= t of decay^(t - s) (q[t] . k[s]) v[s].
std::vector<double> Reference(const LightningCase& c) {
  const auto [heads, dim] = std::pair(c.heads.heads, c.heads.head_dim);
  // Of row t, part 0, 1 or 2 of head h.
  const auto at = [&](int64_t t, int64_t h, int64_t part, int64_t i) {
    const double x = c.qkv[static_cast<size_t>(((t * heads + h) * 3 + part) * dim + i)];
    return x / (1.0 + std::exp(-x));
  };
  std::vector<double> out(static_cast<size_t>(kRows * heads * dim));
  for (int64_t t = 0; t < kRows; ++t) {
    for (int64_t h = 0; h < heads; ++h) {
      for (int64_t s = 0; s <= t; ++s) {
        double score = std::pow(double{c.decays[static_cast<size_t>(h)]}, t - s);
        double product = 0;
        for (int64_t i = 0; i < dim; ++i) product += at(t, h, 0, i) * at(s, h, 1, i);
        score *= product;
        for (int64_t i = 0; i < dim; ++i) {
          out[static_cast<size_t>((t * heads + h) * dim + i)] += score * at(s, h, 2, i);
        }
      }
    }
  }
  return out;
}

constexpr LightningHeads kShapes[] = {{.heads = 4, .head_dim = 16},
                                      {.heads = 3, .head_dim = 10},
                                      {.heads = 2, .head_dim = 80},
                                      {.heads = 1, .head_dim = 128},
                                      {.heads = 5, .head_dim = 2}};

TEST(LightningAttention, MatchesDoubles) {
  ThreadPool pool(2);
  for (const LightningHeads& heads : kShapes) {
    const LightningCase c(heads);
    const std::vector<float> out = InPieces(c, pool, {kRows});
    const std::vector<double> expected = Reference(c);
    for (size_t i = 0; i < expected.size(); ++i) {
      ASSERT_NEAR(out[i], expected[i], 1e-4 * (1 + std::abs(expected[i]))) << heads.head_dim;
    }
  }
}

TEST(LightningAttention, SameBitsForAnyPiecesThreadsTargetsAndCompany) {
  for (const LightningHeads& heads : kShapes) {
    const LightningCase c(heads);
    std::vector<float> first;
    std::vector<int64_t> ones;
    for (int64_t end = 1; end <= kRows; ++end) ones.push_back(end);
    for (const int threads : {1, 3}) {
      ThreadPool pool(threads);
      ForEachTarget([&] {
        for (const auto& ends : {std::vector<int64_t>{kRows}, {1, kRows}, {2, 4, 9, kRows}, ones}) {
          const std::vector<float> out = InPieces(c, pool, ends);
          if (first.empty()) first = out;
          ASSERT_EQ(Bits(out), Bits(first)) << threads << " threads, " << ends.size() << " pieces";
        }
      });
    }
    ThreadPool pool(2);
    RecurrentState state({.layers = 1, .slots = 4, .layer = heads.state()});
    const std::vector<float> both = Step(c, pool, state, {3, 0}, 0, kRows);
    const auto middle = both.begin() + std::ssize(first);
    EXPECT_EQ(Bits({both.begin(), middle}), Bits(first));
    EXPECT_EQ(Bits({middle, both.end()}), Bits(first));
  }
}

}  // namespace
}  // namespace folkmoot
