// SPDX-License-Identifier: Apache-2.0
// The selective scan of Mamba (Gu and Dao, arXiv 2312.00752), with the gate behind it, as Jamba has
// it. The convolution and the projections in front of it are the layer's (layers/mamba.h).
//
// A channel keeps state_dim numbers s, each of which decays in its own way with every row, takes up
// the row's x by B, and is read by C:
//   dt = softplus(step);  s = exp(rate dt) s + B (dt x);  y = sum of C s + skip x;  y silu(z)
//
// Same bits: rows are taken one after the other, whatever piece of the sequence a step has, and a
// sum over s has one order.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/ops/causal_convolution.h"
#include "runtime/tensor.h"
#include "runtime/thread_pool.h"

namespace folkmoot {

struct SelectiveScanShape {
  int64_t channels = 0;
  int64_t state_dim = 0;
  int64_t kernel = 0;  // rows that the convolution sees, its own included

  // Between the states of all channels in memory.
  int64_t stride() const { return (channels + 15) / 16 * 16; }
  RecurrentState::LayerShape state() const {
    return {.inputs = (kernel - 1) * channels, .memory = state_dim * stride()};
  }
};

struct SelectiveScanParams {
  int64_t layer = 0;  // of the state
  SelectiveScanShape shape;
  std::span<const float> rates;  // [state_dim, stride], below 0
  std::span<const float> skip;   // [channels]
};

// What each row brings: x behind the convolution, steps and z [T, channels], b and c [T,
// state_dim].
struct SelectiveScanRows {
  ConstMatrix x, steps, b, c, z;
};

// out [T, channels]. Sequences have slots of `state`, which goes on where it stood at `start`; at
// start 0 it begins with zeros.
void SelectiveScan(ThreadPool& pool, const SelectiveScanParams& params,
                   std::span<const AttentionSequence> sequences, const SelectiveScanRows& rows,
                   RecurrentState& state, Matrix out);

}  // namespace folkmoot
