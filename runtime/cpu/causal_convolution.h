// SPDX-License-Identifier: Apache-2.0
// CPU side of runtime/ops/causal_convolution.h, and its parts for the kernels that begin with it.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/ops/causal_convolution.h"
#include "runtime/thread_pool.h"

namespace folkmoot::cpu {

// Channels channel .. channel + width, whose inputs stand side by side from `column` on.
struct ChannelRun {
  int64_t column = 0;
  int64_t channel = 0;
  int64_t width = 0;
};

// A convolution at work. Does not own.
struct ConvolutionJob {
  const CausalConvolution* convolution;
  std::span<const ChannelRun> runs;  // all channels
  ConstMatrix inputs;                // rows of this step
  RecurrentState* state;
  int64_t layer;
};

// Row `row` of this step's rows of `sequence`: out [channels].
void ConvolveRow(const ConvolutionJob& job, const AttentionSequence& sequence, int64_t row,
                 float* out);
// The last inputs of each sequence take the place of those that no later row will see. Call it
// after all rows.
void RememberInputs(ThreadPool& pool, const ConvolutionJob& job,
                    std::span<const AttentionSequence> sequences);

// Shapes are checked in runtime/ops.
void Convolve(ThreadPool& pool, const CausalConvolution& convolution, int64_t layer,
              std::span<const AttentionSequence> sequences, ConstMatrix inputs,
              RecurrentState& state, Matrix out);

}  // namespace folkmoot::cpu
