// SPDX-License-Identifier: Apache-2.0
#include "runtime/ops/delta_rule.h"

#include <algorithm>
#include <cmath>

#include "runtime/ops/norm.h"
#include "tests/runtime/ops/ops_testing.h"

namespace folkmoot {
namespace {

double Sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

// A model of one linear layer with random weights, and inputs for one sequence.
struct DeltaCase {
  DeltaHeads heads;
  DeltaColumns columns;
  int64_t width = 0;  // of projections
  std::vector<float> kernel, rates, step_bias, norm;
  std::vector<float> inputs;  // [rows, width]

  bool key_decays = false;  // and a sigmoid as the gate of the norm
  float decay_bound = 0.0f;
  int64_t decays() const { return key_decays ? heads.key_dim : 1; }

  // By heads as Qwen3-Next has them, or by kinds as Qwen3.5, or as Kimi Linear, or, with a bound,
  // as GLM-5.3-Flash.
  DeltaCase(const DeltaHeads& shape, bool by_head, int64_t rows, bool kimi = false, float bound = 0)
      : heads(shape), key_decays(kimi), decay_bound(bound) {
    const int64_t group = heads.group;
    const int64_t values = group * heads.value_dim;
    const int64_t dim = heads.key_dim;
    const int64_t gates = 2 * heads.keys() + 2 * heads.values();
    width = gates + (1 + decays()) * heads.value_heads();
    const int64_t all = 2 * dim + 2 * values;
    if (by_head) {
      columns = {.q = {0, all},
                 .k = {dim, all},
                 .v = {2 * dim, all},
                 .z = {2 * dim + values, all},
                 .b = {gates, (1 + decays()) * group},
                 .a = {gates + group, (1 + decays()) * group}};
    } else {
      columns = {.q = {0, dim},
                 .k = {heads.keys(), dim},
                 .v = {2 * heads.keys(), values},
                 .z = {2 * heads.keys() + heads.values(), values},
                 .b = {gates, group},
                 .a = {gates + heads.value_heads(), decays() * group}};
    }
    kernel = RandomFloats(heads.kernel * heads.channels(), 1);
    rates = RandomFloats(heads.value_heads(), 2);
    for (float& rate : rates) rate = 0.3f + 0.2f * rate;
    step_bias = RandomFloats(heads.value_heads() * decays(), 3);
    norm = RandomFloats(heads.value_dim, 4);
    inputs = RandomFloats(rows * width, 5);
    for (float& input : inputs) input *= 2.0f;
  }

  DeltaRuleParams params() const {
    return {.heads = heads,
            .columns = columns,
            .convolution = {.rows = heads.kernel, .channels = heads.channels(), .weights = kernel},
            .rates = rates,
            .step_bias = step_bias,
            .norm = norm,
            .norm_eps = 1e-5f,
            .key_decays = key_decays,
            .decay_bound = decay_bound,
            .sigmoid_gate = key_decays};
  }
  int64_t rows() const { return std::ssize(inputs) / width; }
  double At(int64_t row, const HeadColumns& of, int64_t key_head, int64_t i) const {
    return static_cast<double>(
        inputs[static_cast<size_t>(row * width + of.first + key_head * of.stride + i)]);
  }
  RecurrentState State(int64_t slots) const {
    return RecurrentState({.layers = 1, .slots = slots, .layer = heads.state()});
  }
};

// Input i of `of` behind the convolution, whose channels begin at `channel`.
double Mixed(const DeltaCase& c, int64_t row, const HeadColumns& of, int64_t key_head, int64_t i,
             int64_t channel) {
  double sum = 0;
  for (int64_t tap = 0; tap < c.heads.kernel; ++tap) {
    const int64_t from = row - c.heads.kernel + 1 + tap;
    if (from < 0) continue;
    sum +=
        static_cast<double>(c.kernel[static_cast<size_t>(tap * c.heads.channels() + channel + i)]) *
        c.At(from, of, key_head, i);
  }
  return sum * Sigmoid(sum);
}

std::vector<double> UnitMixed(const DeltaCase& c, int64_t row, const HeadColumns& of,
                              int64_t key_head, int64_t channel) {
  std::vector<double> x;
  double squares = 1e-6;
  for (int64_t i = 0; i < c.heads.key_dim; ++i) {
    x.push_back(Mixed(c, row, of, key_head, i, channel));
    squares += x.back() * x.back();
  }
  for (double& value : x) value /= std::sqrt(squares);
  return x;
}

// Value head `head` of all rows by the formulas of the header, in double.
std::vector<std::vector<double>> Reference(const DeltaCase& c, int64_t head) {
  const DeltaHeads& heads = c.heads;
  const int64_t key_head = head / heads.group;
  const int64_t member = head % heads.group;
  const auto dim = static_cast<size_t>(heads.key_dim);
  std::vector<std::vector<double>> out;
  std::vector<std::vector<double>> s(dim,
                                     std::vector<double>(static_cast<size_t>(heads.value_dim)));
  for (int64_t t = 0; t < c.rows(); ++t) {
    const auto q = UnitMixed(c, t, c.columns.q, key_head, key_head * heads.key_dim);
    const auto k = UnitMixed(c, t, c.columns.k, key_head, heads.keys() + key_head * heads.key_dim);
    const auto at = static_cast<size_t>(head);
    std::vector<double> decay(dim);
    for (size_t i = 0; i < dim; ++i) {
      const int64_t own = c.key_decays ? static_cast<int64_t>(i) : 0;
      const double a = c.At(t, c.columns.a, key_head, member * c.decays() + own);
      const double bias = static_cast<double>(
          c.step_bias[at * static_cast<size_t>(c.decays()) + static_cast<size_t>(own)]);
      const auto rate = static_cast<double>(c.rates[at]);
      decay[i] = std::exp(c.decay_bound < 0
                              ? static_cast<double>(c.decay_bound) * Sigmoid(rate * (a + bias))
                              : -rate * std::log1p(std::exp(a + bias)));
    }
    const double beta = Sigmoid(c.At(t, c.columns.b, key_head, member));
    std::vector<double>& row = out.emplace_back();
    double squares = 0;
    for (int64_t j = 0; j < heads.value_dim; ++j) {
      const auto column = static_cast<size_t>(j);
      const int64_t in_group = member * heads.value_dim + j;
      const double v = Mixed(c, t, c.columns.v, key_head, in_group,
                             2 * heads.keys() + key_head * heads.group * heads.value_dim);
      double known = 0;
      for (size_t i = 0; i < dim; ++i) known += (s[i][column] *= decay[i]) * k[i];
      double asked = 0;
      for (size_t i = 0; i < dim; ++i) {
        s[i][column] += k[i] * beta * (v - known);
        asked += s[i][column] * q[i] / std::sqrt(static_cast<double>(dim));
      }
      row.push_back(asked);
      squares += asked * asked;
    }
    const double scale = 1.0 / std::sqrt(squares / static_cast<double>(heads.value_dim) + 1e-5);
    for (int64_t j = 0; j < heads.value_dim; ++j) {
      const double z = c.At(t, c.columns.z, key_head, member * heads.value_dim + j);
      row[static_cast<size_t>(j)] *= scale * static_cast<double>(c.norm[static_cast<size_t>(j)]) *
                                     (c.key_decays ? 1.0 : z) * Sigmoid(z);
    }
  }
  return out;
}

// Rows of the sequence in pieces that end at `ends`, one step each.
std::vector<float> InPieces(const DeltaCase& c, ThreadPool& pool,
                            const std::vector<int64_t>& ends) {
  RecurrentState state = c.State(3);
  // Whatever a slot held before does not count.
  std::fill_n(state.Memory(0, 1), c.heads.state().memory, NAN);
  std::fill_n(state.Inputs(0, 1), c.heads.state().inputs, NAN);
  Workspace workspace;
  std::vector<float> out(static_cast<size_t>(c.rows() * c.heads.values()));
  const Matrix result = AsMatrix(out, c.rows(), c.heads.values());
  const ConstMatrix inputs = AsMatrix(c.inputs, c.rows(), c.width);
  int64_t start = 0;
  for (const int64_t end : ends) {
    const AttentionSequence piece = {.rows = end - start, .start = start, .slot = 1};
    GatedDeltaRule(pool, c.params(), {&piece, 1}, inputs.Rows(start, end - start), state, workspace,
                   result.Rows(start, end - start));
    start = end;
  }
  return out;
}

constexpr DeltaHeads kShapes[] = {
    {.key_heads = 2, .group = 2, .key_dim = 16, .value_dim = 16, .kernel = 4},
    {.key_heads = 2, .group = 3, .key_dim = 5, .value_dim = 19, .kernel = 3},
    {.key_heads = 1, .group = 2, .key_dim = 24, .value_dim = 80, .kernel = 2},
    {.key_heads = 1, .group = 1, .key_dim = 128, .value_dim = 128, .kernel = 4},
    {.key_heads = 3, .group = 1, .key_dim = 7, .value_dim = 33, .kernel = 1},
};

TEST(DeltaRule, MatchesDoubles) {
  ThreadPool pool(2);
  for (const DeltaHeads& shape : kShapes) {
    for (const int form : {0, 1, 2, 3, 4, 5}) {
      const DeltaCase c(shape, form % 2 == 0, 30, form >= 2, form >= 4 ? -5.0f : 0.0f);
      const std::vector<float> out = InPieces(c, pool, {30});
      for (int64_t head = 0; head < shape.value_heads(); ++head) {
        const auto expected = Reference(c, head);
        for (int64_t t = 0; t < c.rows(); ++t) {
          for (int64_t j = 0; j < shape.value_dim; ++j) {
            const int64_t at = t * shape.values() + head * shape.value_dim + j;
            ASSERT_NEAR(out[static_cast<size_t>(at)],
                        expected[static_cast<size_t>(t)][static_cast<size_t>(j)], 2e-5)
                << shape.value_dim << " row " << t << " head " << head << " column " << j;
          }
        }
      }
    }
  }
}

// 23 rows in pieces, over threads and targets.
void ExpectSameBits(const DeltaCase& c) {
  std::vector<float> first;
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    ForEachTarget([&] {
      std::vector<int64_t> ones;
      for (int64_t end = 1; end <= 23; ++end) ones.push_back(end);
      for (const auto& ends : {std::vector<int64_t>{23}, {1, 23}, {2, 4, 5, 21, 23}, ones}) {
        const std::vector<float> out = InPieces(c, pool, ends);
        if (first.empty()) first = out;
        ASSERT_EQ(Bits(out), Bits(first)) << threads << " threads, " << ends.size() << " pieces";
      }
    });
  }
}

TEST(DeltaRule, SameBitsForAnyPiecesThreadsAndTargets) {
  for (const DeltaHeads& shape : kShapes) {
    ExpectSameBits(DeltaCase(shape, true, 23, shape.group == 1));
  }
}

TEST(DeltaRule, SameBitsOfBoundedDecays) {
  for (const DeltaHeads& shape : kShapes) {
    if (shape.group == 1) ExpectSameBits(DeltaCase(shape, false, 23, true, -5.0f));
  }
}

// Others in the step, some of which begin and some of which go on, in any slots; of 12 rows.
void ExpectSameBitsInCompany(const DeltaCase& c) {
  ThreadPool pool(2);
  const std::vector<float> alone = InPieces(c, pool, {12});
  RecurrentState state = c.State(4);
  Workspace workspace;
  std::vector<float> out(static_cast<size_t>(24 * c.heads.values()));
  // The sequence in slot 3, and behind it again in slot 0: 5 rows of one and 12 of the other, then
  // the rest of the first.
  std::vector<float> step(c.inputs.begin(), c.inputs.begin() + 5 * c.width);
  step.insert(step.end(), c.inputs.begin(), c.inputs.end());
  const AttentionSequence both[] = {{.first_row = 0, .rows = 5, .start = 0, .slot = 3},
                                    {.first_row = 5, .rows = 12, .start = 0, .slot = 0}};
  GatedDeltaRule(pool, c.params(), both, AsMatrix(step, 17, c.width), state, workspace,
                 AsMatrix(out, 17, c.heads.values()));
  const auto values = static_cast<std::ptrdiff_t>(c.heads.values());
  EXPECT_EQ(Bits({out.begin(), out.begin() + 5 * values}),
            Bits({alone.begin(), alone.begin() + 5 * values}));
  EXPECT_EQ(Bits({out.begin() + 5 * values, out.begin() + 17 * values}), Bits(alone));
  const AttentionSequence rest = {.first_row = 0, .rows = 7, .start = 5, .slot = 3};
  GatedDeltaRule(pool, c.params(), {&rest, 1}, AsMatrix(c.inputs, 12, c.width).Rows(5, 7), state,
                 workspace, AsMatrix(out, 7, c.heads.values()));
  EXPECT_EQ(Bits({out.begin(), out.begin() + 7 * values}),
            Bits({alone.begin() + 5 * values, alone.end()}));
}

TEST(DeltaRule, SameBitsInAnyCompany) {
  ExpectSameBitsInCompany(DeltaCase(kShapes[1], false, 12));
  ExpectSameBitsInCompany(DeltaCase(kShapes[1], false, 12, true, -5.0f));
}

TEST(RecurrentState, SlotsLieApart) {
  RecurrentState state({.layers = 2, .slots = 3, .layer = {.inputs = 5, .memory = 17}});
  EXPECT_EQ(RecurrentState::BytesPerSlot(state.shape()), 2 * (16 + 32) * 4);
  float value = 1;
  for (int64_t slot = 0; slot < 3; ++slot) {
    for (int64_t layer = 0; layer < 2; ++layer) {
      std::fill_n(state.Inputs(layer, slot), 5, value);
      std::fill_n(state.Memory(layer, slot), 17, -value);
      value += 1;
    }
  }
  for (int64_t slot = 2; slot >= 0; --slot) {
    for (int64_t layer = 1; layer >= 0; --layer) {
      value -= 1;
      EXPECT_EQ(state.Inputs(layer, slot)[0], value);
      EXPECT_EQ(state.Inputs(layer, slot)[4], value);
      EXPECT_EQ(state.Memory(layer, slot)[0], -value);
      EXPECT_EQ(state.Memory(layer, slot)[16], -value);
    }
  }
}

TEST(SplitHeads, PartsHalvesOfHeads) {
  ThreadPool pool(2);
  const std::vector<float> x = {1, 2, 3, 4, 5, 6, 7, 8, -1, -2, -3, -4, -5, -6, -7, -8};
  std::vector<float> first(8), second(8);
  SplitHeads(pool, 2, AsMatrix(x, 2, 8), AsMatrix(first, 2, 4), AsMatrix(second, 2, 4));
  EXPECT_EQ(first, (std::vector<float>{1, 2, 5, 6, -1, -2, -5, -6}));
  EXPECT_EQ(second, (std::vector<float>{3, 4, 7, 8, -3, -4, -7, -8}));
}

}  // namespace
}  // namespace folkmoot
