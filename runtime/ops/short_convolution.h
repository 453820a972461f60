// SPDX-License-Identifier: Apache-2.0
// The gated short convolution of LFM2 (Liquid AI 2025): what a row knows of others are the last few
// of them, out[t] = c[t] * convolution(b * x)[t].
#pragma once

#include <cstdint>
#include <span>

#include "runtime/ops/causal_convolution.h"
#include "runtime/tensor.h"
#include "runtime/thread_pool.h"
#include "runtime/workspace.h"

namespace folkmoot {

struct ShortConvolutionParams {
  int64_t layer = 0;              // of the state
  CausalConvolution convolution;  // of b * x

  RecurrentState::LayerShape state() const { return {.inputs = convolution.inputs()}; }
};

// projected [T, 3 * channels]: b, c and x; out [T, channels]. Sequences have slots of `state`,
// which goes on where it stood at `start`; at start 0 it begins with zeros. Scratch from
// `workspace`.
void ShortConvolution(ThreadPool& pool, const ShortConvolutionParams& params,
                      std::span<const AttentionSequence> sequences, ConstMatrix projected,
                      RecurrentState& state, Workspace& workspace, Matrix out);

}  // namespace folkmoot
