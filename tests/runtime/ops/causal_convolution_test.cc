// SPDX-License-Identifier: Apache-2.0
// A causal convolution by itself against its formula in double, of rows next to each other and of
// rows that are some rows apart; and the same bits however a sequence comes.
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

}  // namespace
}  // namespace folkmoot
