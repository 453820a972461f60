// SPDX-License-Identifier: Apache-2.0
// A depthwise causal convolution over the rows of sequences, of which a RecurrentState remembers
// the last inputs: the front of linear attention and of Mamba-2, and all of LFM2's convolutions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "runtime/ops/attention.h"
#include "runtime/ops/gemm.h"
#include "runtime/ops/recurrent_state.h"

namespace folkmoot {

constexpr int64_t kMostConvolutionRows = 16;  // that it may see

// Channel c of row t becomes act(sum over j of weights[j, c] * input[t - (rows - 1 - j) * dilation,
// c] + bias[c]), summed in order of j; inputs before the sequence begins are zeros.
struct CausalConvolution {
  int64_t rows = 0;  // that it sees, the row's own included
  int64_t channels = 0;
  std::span<const float> weights;    // [rows, channels], the row's own last
  std::span<const float> bias = {};  // [channels] or empty
  std::optional<Activation> activation = Activation::kSilu;
  int64_t dilation = 1;  // of rows that it sees one is so far from the next
  // [T, heads * rows] or none: what row t adds to the weights of all channels of a head, which are
  // an equal part of them each: its own tap first, then those further back (Inkling 2). Of Convolve
  // alone.
  ConstMatrix taps = {};
  // Where its inputs begin among those that a layer of a RecurrentState remembers, of several.
  int64_t first_input = 0;

  int64_t reach() const { return (rows - 1) * dilation; }  // rows back to the first that it sees
  // Of a RecurrentState.
  int64_t inputs() const { return reach() * channels; }
};

// The convolution alone, of inputs [T, channels] to out [T, channels]. Sequences have slots of
// `state`, whose layer `layer` remembers the last inputs, and perhaps those of other convolutions;
// at start 0 there are none.
void Convolve(ThreadPool& pool, const CausalConvolution& convolution, int64_t layer,
              std::span<const AttentionSequence> sequences, ConstMatrix inputs,
              RecurrentState& state, Matrix out);

// What recurrent layers ask of their arguments: the state has `shape` and a layer `layer`, and the
// slots and rows of sequences exist.
void CheckRecurrence(const RecurrentState& state, const RecurrentState::LayerShape& shape,
                     int64_t layer, std::span<const AttentionSequence> sequences, int64_t rows);
void CheckConvolution(const CausalConvolution& convolution);

}  // namespace folkmoot
