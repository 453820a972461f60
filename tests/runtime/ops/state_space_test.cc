// SPDX-License-Identifier: Apache-2.0
// The state space of Mamba-2 and the short convolution of LFM2 against their formulas in double,
// and the same bits however a sequence comes.
#include "runtime/ops/state_space.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "runtime/ops/short_convolution.h"
#include "tests/runtime/ops/stateful_layer.h"

namespace folkmoot {
namespace {

double Silu(double x) { return x / (1.0 + std::exp(-x)); }

// A causal convolution of column `column` + c of the inputs by channel c of the kernel, whose taps
// are `channels` apart, plus bias.
double Convolved(const StatefulLayer& layer, const CausalConvolution& kernel, int64_t row,
                 int64_t channel,
                 const std::function<double(int64_t row, int64_t channel)>& input) {
  double sum = kernel.bias.empty() ? 0 : double{kernel.bias[static_cast<size_t>(channel)]};
  for (int64_t tap = 0; tap < kernel.rows; ++tap) {
    const int64_t from = row - kernel.rows + 1 + tap;
    if (from < 0) continue;
    sum += double{kernel.weights[static_cast<size_t>(tap * kernel.channels + channel)]} *
           input(from, channel);
  }
  EXPECT_LT(row, layer.rows());
  return sum;
}

// A model of one state space with random weights.
struct SpaceCase {
  StateSpaceHeads heads;
  std::vector<float> kernel, bias, rates, step_bias, skip, norm;
  StateSpaceParams params;
  StatefulLayer layer;

  SpaceCase(const StateSpaceHeads& shape, bool biased, int64_t norm_width, int64_t rows)
      : heads(shape) {
    kernel = RandomFloats(heads.kernel * heads.channels(), 1);
    if (biased) bias = RandomFloats(heads.channels(), 2);
    rates = RandomFloats(heads.heads(), 3);
    for (float& rate : rates) rate = 0.3f + 0.2f * rate;
    step_bias = RandomFloats(heads.heads(), 4);
    skip = RandomFloats(heads.heads(), 5);
    norm = RandomFloats(heads.values(), 6);
    params = {.heads = heads,
              .convolution = {.rows = heads.kernel,
                              .channels = heads.channels(),
                              .weights = kernel,
                              .bias = bias},
              .rates = rates,
              .step_bias = step_bias,
              .skip = skip,
              .norm = norm,
              .norm_width = norm_width,
              .norm_eps = 1e-5f};
    layer = {
        .state = heads.state(),
        .width = heads.columns(),
        .columns = heads.values(),
        .inputs = RandomFloats(rows * heads.columns(), 7),
        .run = [this](ThreadPool& pool, std::span<const AttentionSequence> sequences,
                      ConstMatrix inputs, RecurrentState& state, Workspace& workspace, Matrix out) {
          StateSpace(pool, params, sequences, inputs, state, workspace, out);
        }};
  }
  SpaceCase(const SpaceCase&) = delete;

  double Mixed(int64_t row, int64_t channel) const {
    return Silu(Convolved(layer, params.convolution, row, channel, [&](int64_t r, int64_t c) {
      return double{layer.Inputs().Row(r)[heads.values() + c]};
    }));
  }
};

// All rows by the formulas of the header.
std::vector<std::vector<double>> Reference(const SpaceCase& c) {
  const StateSpaceHeads& heads = c.heads;
  const auto states = static_cast<size_t>(heads.state_dim);
  std::vector<std::vector<double>> out(static_cast<size_t>(c.layer.rows()));
  for (int64_t head = 0; head < heads.heads(); ++head) {
    const auto h = static_cast<size_t>(head);
    const int64_t group = head / heads.heads_per_group;
    std::vector<std::vector<double>> s(states,
                                       std::vector<double>(static_cast<size_t>(heads.head_dim)));
    for (int64_t t = 0; t < c.layer.rows(); ++t) {
      const double dt = double{c.layer.Inputs().Row(t)[heads.values() + heads.channels() + head]};
      const double step = std::log1p(std::exp(dt + double{c.step_bias[h]}));
      const double decay = std::exp(-double{c.rates[h]} * step);
      for (int64_t j = 0; j < heads.head_dim; ++j) {
        const double x = c.Mixed(t, head * heads.head_dim + j);
        double y = double{c.skip[h]} * x;
        for (size_t i = 0; i < states; ++i) {
          const int64_t at = heads.values() + group * heads.state_dim + static_cast<int64_t>(i);
          double& cell = s[i][static_cast<size_t>(j)];
          cell = decay * cell + c.Mixed(t, at) * step * x;
          y += cell * c.Mixed(t, at + heads.states());
        }
        const double z = double{c.layer.Inputs().Row(t)[head * heads.head_dim + j]};
        out[static_cast<size_t>(t)].push_back(y * Silu(z));
      }
    }
  }
  const int64_t width = c.params.norm_width;
  for (std::vector<double>& row : out) {
    for (int64_t first = 0; first < heads.values(); first += width) {
      double squares = 0;
      for (int64_t i = first; i < first + width; ++i) {
        squares += row[static_cast<size_t>(i)] * row[static_cast<size_t>(i)];
      }
      const double scale = 1 / std::sqrt(squares / static_cast<double>(width) + 1e-5);
      for (int64_t i = first; i < first + width; ++i) {
        row[static_cast<size_t>(i)] *= scale * double{c.norm[static_cast<size_t>(i)]};
      }
    }
  }
  return out;
}

constexpr StateSpaceHeads kSpaces[] = {
    {.groups = 1, .heads_per_group = 4, .state_dim = 16, .head_dim = 16, .kernel = 4},
    {.groups = 2, .heads_per_group = 3, .state_dim = 5, .head_dim = 19, .kernel = 3},
    {.groups = 1, .heads_per_group = 2, .state_dim = 24, .head_dim = 80, .kernel = 2},
    {.groups = 3, .heads_per_group = 1, .state_dim = 7, .head_dim = 33, .kernel = 1},
};

TEST(StateSpace, MatchesDoubles) {
  ThreadPool pool(2);
  for (const StateSpaceHeads& shape : kSpaces) {
    for (const bool by_group : {true, false}) {
      const int64_t width = by_group ? shape.values() / shape.groups : shape.values();
      const SpaceCase c(shape, by_group, width, 20);
      const std::vector<float> out = InPieces(c.layer, pool, {20});
      const auto expected = Reference(c);
      for (int64_t t = 0; t < 20; ++t) {
        for (int64_t j = 0; j < shape.values(); ++j) {
          ASSERT_NEAR(out[static_cast<size_t>(t * shape.values() + j)],
                      expected[static_cast<size_t>(t)][static_cast<size_t>(j)], 3e-5)
              << shape.head_dim << " row " << t << " column " << j;
        }
      }
    }
  }
}

TEST(StateSpace, SameBitsForAnyPiecesThreadsTargetsAndCompany) {
  for (const StateSpaceHeads& shape : kSpaces) {
    ExpectSameBits(SpaceCase(shape, true, shape.values() / shape.groups, 23).layer);
  }
}

struct ConvolutionCase {
  std::vector<float> kernel, bias;
  ShortConvolutionParams params;
  StatefulLayer layer;

  ConvolutionCase(int64_t channels, int64_t kernel_rows, bool biased, int64_t rows) {
    kernel = RandomFloats(kernel_rows * channels, 1);
    if (biased) bias = RandomFloats(channels, 2);
    params.convolution = {.rows = kernel_rows,
                          .channels = channels,
                          .weights = kernel,
                          .bias = bias,
                          .activation = std::nullopt};
    layer = {
        .state = params.state(),
        .width = 3 * channels,
        .columns = channels,
        .inputs = RandomFloats(rows * 3 * channels, 3),
        .run = [this](ThreadPool& pool, std::span<const AttentionSequence> sequences,
                      ConstMatrix inputs, RecurrentState& state, Workspace& workspace, Matrix out) {
          ShortConvolution(pool, params, sequences, inputs, state, workspace, out);
        }};
  }
  ConvolutionCase(const ConvolutionCase&) = delete;
};

TEST(ShortConvolution, MatchesDoubles) {
  ThreadPool pool(2);
  for (const auto& [channels, kernel_rows] :
       {std::pair<int64_t, int64_t>{32, 3}, {19, 4}, {5, 2}}) {
    for (const bool biased : {false, true}) {
      const ConvolutionCase c(channels, kernel_rows, biased, 12);
      const std::vector<float> out = InPieces(c.layer, pool, {12});
      for (int64_t t = 0; t < 12; ++t) {
        for (int64_t j = 0; j < channels; ++j) {
          const auto input = [&, own = channels](int64_t row, int64_t channel) {
            const float* b = c.layer.Inputs().Row(row);
            return double{b[channel]} * double{b[2 * own + channel]};
          };
          const double sum = Convolved(c.layer, c.params.convolution, t, j, input);
          const double gate = double{c.layer.Inputs().Row(t)[channels + j]};
          ASSERT_NEAR(out[static_cast<size_t>(t * channels + j)], gate * sum, 2e-6)
              << "row " << t << " channel " << j;
        }
      }
    }
  }
}

TEST(ShortConvolution, SameBitsForAnyPiecesThreadsTargetsAndCompany) {
  for (const bool biased : {false, true}) {
    ExpectSameBits(ConvolutionCase(19, 3, biased, 11).layer);
    ExpectSameBits(ConvolutionCase(64, 2, biased, 11).layer);
  }
}

}  // namespace
}  // namespace folkmoot
