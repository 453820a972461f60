// SPDX-License-Identifier: Apache-2.0
#include "runtime/ops/causal_convolution.h"

#include "runtime/check.h"
#include "runtime/cpu/causal_convolution.h"

namespace folkmoot {

void CheckRecurrence(const RecurrentState& state, const RecurrentState::LayerShape& shape,
                     int64_t layer, std::span<const AttentionSequence> sequences, int64_t rows) {
  const RecurrentState::Shape& all = state.shape();
  FM_CHECK(layer >= 0 && layer < all.layers);
  FM_CHECK(all.layer.inputs == shape.inputs && all.layer.memory == shape.memory);
  for (const AttentionSequence& sequence : sequences) {
    FM_CHECK(sequence.slot >= 0 && sequence.slot < all.slots);
    FM_CHECK(sequence.first_row >= 0 && sequence.rows >= 0 && sequence.start >= 0);
    FM_CHECK(sequence.first_row + sequence.rows <= rows);
  }
}

void CheckConvolution(const CausalConvolution& convolution) {
  FM_CHECK(convolution.rows > 0 && convolution.channels > 0 && convolution.dilation > 0);
  FM_CHECK(std::ssize(convolution.weights) == convolution.rows * convolution.channels);
  FM_CHECK(convolution.bias.empty() || std::ssize(convolution.bias) == convolution.channels);
}

void Convolve(ThreadPool& pool, const CausalConvolution& convolution, int64_t layer,
              std::span<const AttentionSequence> sequences, ConstMatrix inputs,
              RecurrentState& state, Matrix out) {
  CheckConvolution(convolution);
  FM_CHECK(inputs.cols == convolution.channels && out.cols == convolution.channels);
  const int64_t first = convolution.first_input;
  FM_CHECK(first >= 0 && first + convolution.inputs() <= state.shape().layer.inputs);
  FM_CHECK(inputs.rows == out.rows);
  if (const ConstMatrix& taps = convolution.taps; taps.data != nullptr) {
    FM_CHECK(taps.rows == inputs.rows && taps.cols > 0 && taps.cols % convolution.rows == 0);
    FM_CHECK(convolution.channels % (taps.cols / convolution.rows) == 0);
  }
  CheckRecurrence(state, state.shape().layer, layer, sequences, inputs.rows);
  cpu::Convolve(pool, convolution, layer, sequences, inputs, state, out);
}

}  // namespace folkmoot
