// SPDX-License-Identifier: Apache-2.0
// A causal convolution by itself against its formula in double, of rows next to each other and of
// rows that are some rows apart; two that share a layer of the state, as those of Inkling do; and
// the same bits however a sequence comes.
#include "runtime/ops/causal_convolution.h"

#include <cmath>

#include "tests/runtime/ops/stateful_layer.h"

namespace folkmoot {
namespace {

struct Shape {
  int64_t rows, dilation, channels;
};

class CausalConvolutionTest : public testing::TestWithParam<Shape> {
 protected:
  static constexpr int64_t kRows = 23;

  int64_t channels_ = GetParam().channels;
  std::vector<float> weights_ = RandomFloats(GetParam().rows * channels_, 1);
  CausalConvolution convolution_ = {.rows = GetParam().rows,
                                    .channels = channels_,
                                    .weights = weights_,
                                    .dilation = GetParam().dilation};
  StatefulLayer layer_ = {
      .state = {.inputs = convolution_.inputs()},
      .width = channels_,
      .columns = channels_,
      .inputs = RandomFloats(kRows * channels_, 2),
      .run = [this](ThreadPool& pool, std::span<const AttentionSequence> sequences,
                    ConstMatrix inputs, RecurrentState& state, Workspace&, Matrix out) {
        Convolve(pool, convolution_, 0, sequences, inputs, state, out);
      }};
};

TEST_P(CausalConvolutionTest, EqualsItsFormula) {
  ThreadPool pool(2);
  const std::vector<float> out = InPieces(layer_, pool, {kRows});
  for (int64_t t = 0; t < kRows; ++t) {
    for (int64_t c = 0; c < channels_; ++c) {
      double sum = 0;
      for (int64_t j = 0; j < convolution_.rows; ++j) {
        const int64_t from = t - (convolution_.rows - 1 - j) * convolution_.dilation;
        if (from < 0) continue;
        sum += double{weights_[static_cast<size_t>(j * channels_ + c)]} *
               double{layer_.Inputs().Row(from)[c]};
      }
      EXPECT_NEAR(out[static_cast<size_t>(t * channels_ + c)], sum / (1 + std::exp(-sum)), 2e-6);
    }
  }
}

TEST_P(CausalConvolutionTest, SameBits) { ExpectSameBits(layer_); }

INSTANTIATE_TEST_SUITE_P(Shapes, CausalConvolutionTest,
                         testing::Values(Shape{4, 1, 37}, Shape{4, 3, 64}, Shape{2, 2, 5},
                                         Shape{3, 9, 19}, Shape{1, 3, 8}),
                         [](const auto& test) {
                           return fmt::format("{}x{}of{}", test.param.rows, test.param.dilation,
                                              test.param.channels);
                         });

constexpr int64_t kRows = 3;
constexpr int64_t kFirst = 37, kSecond = 20;  // channels

struct TwoConvolutions {
  std::vector<float> first = RandomFloats(kRows * kFirst, 1);
  std::vector<float> second = RandomFloats(kRows * kSecond, 2);

  CausalConvolution First() const {
    return {.rows = kRows, .channels = kFirst, .weights = first, .activation = std::nullopt};
  }
  CausalConvolution Second() const {
    return {.rows = kRows,
            .channels = kSecond,
            .weights = second,
            .activation = std::nullopt,
            .first_input = First().inputs()};
  }
  StatefulLayer Layer(int64_t rows) const {
    return {.state = {.inputs = First().inputs() + Second().inputs() + 5},  // more room than that
            .width = kFirst + kSecond,
            .columns = kFirst + kSecond,
            .inputs = RandomFloats(rows * (kFirst + kSecond), 3),
            .run = [this](ThreadPool& pool, std::span<const AttentionSequence> sequences,
                          ConstMatrix inputs, RecurrentState& state, Workspace&, Matrix out) {
              Convolve(pool, First(), 0, sequences, inputs.Columns(0, kFirst), state,
                       out.Columns(0, kFirst));
              Convolve(pool, Second(), 0, sequences, inputs.Columns(kFirst, kSecond), state,
                       out.Columns(kFirst, kSecond));
            }};
  }
  double Weight(int64_t row, int64_t channel) const {
    return channel < kFirst ? double{first[static_cast<size_t>(row * kFirst + channel)]}
                            : double{second[static_cast<size_t>(row * kSecond + channel - kFirst)]};
  }
};

TEST(CausalConvolution, SeveralShareALayerOfTheState) {
  const TwoConvolutions two;
  const StatefulLayer layer = two.Layer(40);
  ThreadPool pool(2);
  const std::vector<float> out = InPieces(layer, pool, {1, 2, 9, 40});
  const int64_t width = layer.width;
  for (int64_t t = 0; t < 40; ++t) {
    for (int64_t c = 0; c < width; ++c) {
      double sum = 0;
      for (int64_t j = std::max<int64_t>(0, kRows - 1 - t); j < kRows; ++j) {
        sum +=
            two.Weight(j, c) * layer.inputs[static_cast<size_t>((t - kRows + 1 + j) * width + c)];
      }
      ASSERT_NEAR(out[static_cast<size_t>(t * width + c)], sum, 1e-5) << t << " " << c;
    }
  }
  ExpectSameBits(layer);
}

// Each row brings what joins the weights of its heads: inputs are channels, and taps behind them.
TEST(CausalConvolution, RowsBringTaps) {
  constexpr int64_t kHeads = 3, kDim = 19, kAll = 40, kTaps = kHeads * kRows;
  constexpr int64_t kChannels = kHeads * kDim;
  const std::vector<float> weights = RandomFloats(kRows * kChannels, 1);
  const StatefulLayer layer = {
      .state = {.inputs = (kRows - 1) * kChannels},
      .width = kChannels + kTaps,
      .columns = kChannels,
      .inputs = RandomFloats(kAll * (kChannels + kTaps), 3),
      .run = [&weights](ThreadPool& pool, std::span<const AttentionSequence> sequences,
                        ConstMatrix inputs, RecurrentState& state, Workspace&, Matrix out) {
        const CausalConvolution convolution = {.rows = kRows,
                                               .channels = kChannels,
                                               .weights = weights,
                                               .activation = std::nullopt,
                                               .taps = inputs.Columns(kChannels, kTaps)};
        Convolve(pool, convolution, 0, sequences, inputs.Columns(0, kChannels), state, out);
      }};
  ThreadPool pool(2);
  const std::vector<float> out = InPieces(layer, pool, {1, 2, 9, 40});
  const auto input = [&](int64_t t, int64_t c) {
    return double{layer.inputs[static_cast<size_t>(t * layer.width + c)]};
  };
  for (int64_t t = 0; t < kAll; ++t) {
    for (int64_t c = 0; c < kChannels; ++c) {
      double sum = 0;
      for (int64_t back = 0; back < std::min(kRows, t + 1); ++back) {
        const double tap = input(t, kChannels + c / kDim * kRows + back);
        sum += (weights[static_cast<size_t>((kRows - 1 - back) * kChannels + c)] + tap) *
               input(t - back, c);
      }
      ASSERT_NEAR(out[static_cast<size_t>(t * kChannels + c)], sum, 1e-5) << t << " " << c;
    }
  }
  ExpectSameBits(layer);
}

}  // namespace
}  // namespace folkmoot
