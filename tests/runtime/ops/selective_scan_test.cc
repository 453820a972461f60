// SPDX-License-Identifier: Apache-2.0
// The selective scan of Mamba, with the convolution that stands in front of it, against its formula
// in double, and the same bits however a sequence comes.
#include "runtime/ops/selective_scan.h"

#include <algorithm>
#include <cmath>

#include "tests/runtime/ops/stateful_layer.h"

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

  // With the numbers that are here when it is called. Rows are those of x and z, of the steps, and
  // of b and c.
  StatefulLayer Layer() const {
    const int64_t channels = shape.channels;
    StatefulLayer layer = {
        .state = shape.state(), .width = 3 * channels + 2 * shape.state_dim, .columns = channels};
    for (int64_t t = 0; t < kRows; ++t) {
      for (const std::vector<float>* from : {&projected, &steps, &selected}) {
        const auto width = std::ssize(*from) / kRows;
        const auto row = from->begin() + t * width;
        layer.inputs.insert(layer.inputs.end(), row, row + width);
      }
    }
    layer.run = [this](ThreadPool& pool, std::span<const AttentionSequence> sequences,
                       ConstMatrix inputs, RecurrentState& state, Workspace& workspace,
                       Matrix out) { Run(pool, sequences, inputs, state, workspace, out); };
    return layer;
  }

  void Run(ThreadPool& pool, std::span<const AttentionSequence> sequences, ConstMatrix inputs,
           RecurrentState& state, Workspace& workspace, Matrix out) const {
    const int64_t channels = shape.channels;
    const Matrix mixed = workspace.GetMatrix(inputs.rows, channels);
    Convolve(pool, {.rows = shape.kernel, .channels = channels, .weights = kernel, .bias = bias}, 0,
             sequences, inputs.Columns(0, channels), state, mixed);
    SelectiveScan(pool, {.shape = shape, .rates = rates, .skip = skip}, sequences,
                  {.x = mixed,
                   .steps = inputs.Columns(2 * channels, channels),
                   .b = inputs.Columns(3 * channels, shape.state_dim),
                   .c = inputs.Columns(3 * channels + shape.state_dim, shape.state_dim),
                   .z = inputs.Columns(channels, channels)},
                  state, out);
  }

  SelectiveScanShape shape;
  std::vector<float> kernel, bias, rates, skip, projected, steps, selected;
};

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
    const std::vector<float> out = InPieces(c.Layer(), pool, {kRows});
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
  const std::vector<float> out = InPieces(c.Layer(), pool, {kRows});
  const std::vector<double> expected = Reference(c);
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_NEAR(out[i], expected[i], 1e-5 * (1 + std::abs(expected[i])));
  }
}

TEST(SelectiveScan, SameBitsForAnyPiecesThreadsTargetsAndCompany) {
  for (const SelectiveScanShape& shape : kShapes) {
    const ScanCase c(shape);
    ExpectSameBits(c.Layer());
  }
}

}  // namespace
}  // namespace folkmoot
