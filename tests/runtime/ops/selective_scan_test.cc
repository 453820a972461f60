// SPDX-License-Identifier: Apache-2.0
// The selective scan of Mamba, with the convolution that stands in front of it, against its formula
// in double, and the same bits however a sequence comes.
#include "runtime/ops/selective_scan.h"

#include <algorithm>
#include <cmath>

#include "tests/runtime/ops/ops_testing.h"

namespace folkmoot {
namespace {

constexpr int64_t kRows = 23;

double SiluOf(double x) { return x / (1.0 + std::exp(-x)); }

// One layer with random numbers, and what one sequence brings to it. Rows of x and z stand side by
// side, as a projection leaves them, and so do those of b and c.
struct ScanCase {
  explicit ScanCase(const SelectiveScanShape& in) : shape(in) {
    kernel = RandomFloats(shape.kernel * shape.channels, 1);
    bias = RandomFloats(shape.channels, 2);
    rates = RandomFloats(shape.state_dim * shape.stride(), 3);
    for (float& rate : rates) rate = -0.6f + 0.5f * rate;
    skip = RandomFloats(shape.channels, 4);
    projected = RandomFloats(kRows * 2 * shape.channels, 5);
    steps = RandomFloats(kRows * shape.channels, 6);
    for (float& step : steps) step *= 6;
    selected = RandomFloats(kRows * 2 * shape.state_dim, 7);
  }

  // Rows first .. first + count of the sequence.
  std::vector<float> Part(const std::vector<float>& from, int64_t first, int64_t count) const {
    const auto width = std::ssize(from) / kRows;
    return {from.begin() + first * width, from.begin() + (first + count) * width};
  }

  SelectiveScanShape shape;
  std::vector<float> kernel, bias, rates, skip, projected, steps, selected;
};

// The sequences of a step bring rows begin .. begin + count each, one after the other in the batch.
std::vector<float> Step(const ScanCase& c, ThreadPool& pool, RecurrentState& state,
                        const std::vector<int64_t>& slots, int64_t begin, int64_t count) {
  const SelectiveScanShape& shape = c.shape;
  std::vector<float> projected, steps, selected;
  std::vector<AttentionSequence> sequences;
  for (const int64_t slot : slots) {
    sequences.push_back(
        {.first_row = std::ssize(sequences) * count, .rows = count, .start = begin, .slot = slot});
    for (const auto& [to, from] : {std::pair(&projected, &c.projected), std::pair(&steps, &c.steps),
                                   std::pair(&selected, &c.selected)}) {
      const std::vector<float> part = c.Part(*from, begin, count);
      to->insert(to->end(), part.begin(), part.end());
    }
  }
  const int64_t rows = count * std::ssize(slots);
  std::vector<float> mixed(static_cast<size_t>(rows * shape.channels)), out(mixed.size());
  const ConstMatrix inputs = AsMatrix(std::as_const(projected), rows, 2 * shape.channels);
  const ConstMatrix bc = AsMatrix(std::as_const(selected), rows, 2 * shape.state_dim);
  Convolve(pool,
           {.rows = shape.kernel, .channels = shape.channels, .weights = c.kernel, .bias = c.bias},
           0, sequences, inputs.Columns(0, shape.channels), state,
           AsMatrix(mixed, rows, shape.channels));
  SelectiveScan(pool, {.shape = shape, .rates = c.rates, .skip = c.skip}, sequences,
                {.x = AsMatrix(std::as_const(mixed), rows, shape.channels),
                 .steps = AsMatrix(std::as_const(steps), rows, shape.channels),
                 .b = bc.Columns(0, shape.state_dim),
                 .c = bc.Columns(shape.state_dim, shape.state_dim),
                 .z = inputs.Columns(shape.channels, shape.channels)},
                state, AsMatrix(out, rows, shape.channels));
  return out;
}

// The sequence in pieces that end at `ends`; what its slot held before does not count.
std::vector<float> InPieces(const ScanCase& c, ThreadPool& pool, const std::vector<int64_t>& ends) {
  RecurrentState state({.layers = 1, .slots = 3, .layer = c.shape.state()});
  std::fill_n(state.Memory(0, 1), c.shape.state().memory, NAN);
  std::fill_n(state.Inputs(0, 1), c.shape.state().inputs, NAN);
  std::vector<float> out;
  int64_t begin = 0;
  for (const int64_t end : ends) {
    const std::vector<float> part = Step(c, pool, state, {1}, begin, end - begin);
    out.insert(out.end(), part.begin(), part.end());
    begin = end;
  }
  return out;
}

std::vector<double> Reference(const ScanCase& c) {
  const SelectiveScanShape& shape = c.shape;
  std::vector<double> out(static_cast<size_t>(kRows * shape.channels));
  for (int64_t channel = 0; channel < shape.channels; ++channel) {
    std::vector<double> s(static_cast<size_t>(shape.state_dim));
    for (int64_t t = 0; t < kRows; ++t) {
      double x = c.bias[static_cast<size_t>(channel)];
      for (int64_t j = 0; j < shape.kernel; ++j) {
        const int64_t from = t - shape.kernel + 1 + j;
        if (from < 0) continue;
        x += double{c.kernel[static_cast<size_t>(j * shape.channels + channel)]} *
             c.projected[static_cast<size_t>(from * 2 * shape.channels + channel)];
      }
      x = SiluOf(x);
      const double dt =
          std::log1p(std::exp(double{c.steps[static_cast<size_t>(t * shape.channels + channel)]}));
      double y = c.skip[static_cast<size_t>(channel)] * x;
      for (int64_t i = 0; i < shape.state_dim; ++i) {
        const float* const selected = c.selected.data() + t * 2 * shape.state_dim + i;
        double& cell = s[static_cast<size_t>(i)];
        cell = std::exp(c.rates[static_cast<size_t>(i * shape.stride() + channel)] * dt) * cell +
               selected[0] * dt * x;
        y += cell * selected[shape.state_dim];
      }
      const double z = c.projected[static_cast<size_t>((2 * t + 1) * shape.channels + channel)];
      out[static_cast<size_t>(t * shape.channels + channel)] = y * SiluOf(z);
    }
  }
  return out;
}

constexpr SelectiveScanShape kShapes[] = {{.channels = 64, .state_dim = 16, .kernel = 4},
                                          {.channels = 19, .state_dim = 5, .kernel = 3},
                                          {.channels = 150, .state_dim = 24, .kernel = 2},
                                          {.channels = 7, .state_dim = 1, .kernel = 1}};

TEST(SelectiveScan, MatchesDoubles) {
  ThreadPool pool(2);
  for (const SelectiveScanShape& shape : kShapes) {
    const ScanCase c(shape);
    const std::vector<float> out = InPieces(c, pool, {kRows});
    const std::vector<double> expected = Reference(c);
    for (size_t i = 0; i < expected.size(); ++i) {
      ASSERT_NEAR(out[i], expected[i], 1e-5 * (1 + std::abs(expected[i]))) << shape.channels;
    }
  }
}

// A step of 100 is 100, one of -100 nothing: exponentials neither overflow nor lose it.
TEST(SelectiveScan, StepsOfAnySize) {
  ScanCase c({.channels = 3, .state_dim = 1, .kernel = 1});
  std::fill(c.rates.begin(), c.rates.end(), -1.0f);
  std::fill(c.skip.begin(), c.skip.end(), 0.0f);
  for (size_t i = 0; i < c.steps.size(); ++i) c.steps[i] = i % 3 == 0 ? 100.0f : -100.0f;
  ThreadPool pool(1);
  const std::vector<float> out = InPieces(c, pool, {kRows});
  const std::vector<double> expected = Reference(c);
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_NEAR(out[i], expected[i], 1e-5 * (1 + std::abs(expected[i])));
  }
}

TEST(SelectiveScan, SameBitsForAnyPiecesThreadsTargetsAndCompany) {
  for (const SelectiveScanShape& shape : kShapes) {
    const ScanCase c(shape);
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
    RecurrentState state({.layers = 1, .slots = 4, .layer = shape.state()});
    const std::vector<float> both = Step(c, pool, state, {3, 0}, 0, kRows);
    const auto middle = both.begin() + std::ssize(first);
    EXPECT_EQ(Bits({both.begin(), middle}), Bits(first));
    EXPECT_EQ(Bits({middle, both.end()}), Bits(first));
  }
}

}  // namespace
}  // namespace folkmoot
