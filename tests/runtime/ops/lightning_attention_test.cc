// SPDX-License-Identifier: Apache-2.0
// Lightning attention against its sum over all rows before, in double, and the same bits however a
// sequence comes.
#include "runtime/ops/lightning_attention.h"

#include <algorithm>
#include <cmath>

#include "tests/runtime/ops/stateful_layer.h"

namespace folkmoot {
namespace {

constexpr int64_t kRows = 23;

// One layer, and q, k and v of one sequence.
struct LightningCase {
  explicit LightningCase(const LightningHeads& in) : heads(in) {
    for (int64_t h = 0; h < heads.heads; ++h) {
      decays.push_back(std::exp(-0.8f / static_cast<float>(1 << h)));
    }
    layer = {
        .state = heads.state(),
        .width = heads.columns(),
        .columns = heads.values(),
        .inputs = RandomFloats(kRows * heads.columns(), 1),
        .run = [this](ThreadPool& pool, std::span<const AttentionSequence> sequences,
                      ConstMatrix inputs, RecurrentState& state, Workspace& workspace, Matrix out) {
          const Matrix qkv = workspace.GetMatrix(inputs.rows, inputs.cols);
          for (int64_t t = 0; t < qkv.rows; ++t) {
            std::copy_n(inputs.Row(t), qkv.cols, qkv.Row(t));
          }
          LightningAttention(pool, {.heads = heads, .decays = decays}, sequences, qkv, state, out);
        }};
    for (float& value : layer.inputs) value *= 3;
  }
  LightningCase(const LightningCase&) = delete;

  LightningHeads heads;
  std::vector<float> decays;
  StatefulLayer layer;
};

// o[t] = sum over s <= t of decay^(t - s) (q[t] . k[s]) v[s].
std::vector<double> Reference(const LightningCase& c) {
  const auto [heads, dim] = std::pair(c.heads.heads, c.heads.head_dim);
  // Of row t, part 0, 1 or 2 of head h.
  const auto at = [&](int64_t t, int64_t h, int64_t part, int64_t i) {
    const double x = c.layer.inputs[static_cast<size_t>(((t * heads + h) * 3 + part) * dim + i)];
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
    const std::vector<float> out = InPieces(c.layer, pool, {kRows});
    const std::vector<double> expected = Reference(c);
    for (size_t i = 0; i < expected.size(); ++i) {
      ASSERT_NEAR(out[i], expected[i], 1e-4 * (1 + std::abs(expected[i]))) << heads.head_dim;
    }
  }
}

TEST(LightningAttention, SameBitsForAnyPiecesThreadsTargetsAndCompany) {
  for (const LightningHeads& heads : kShapes) ExpectSameBits(LightningCase(heads).layer);
}

}  // namespace
}  // namespace folkmoot
