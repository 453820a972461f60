// SPDX-License-Identifier: Apache-2.0
// The state space of Mamba-2 (Dao and Gu, Transformers are SSMs, arXiv 2405.21060), with the causal
// convolution in front of it and the gated norm behind it, as Granite 4 and Nemotron-H have them.
//
// A head keeps a matrix S [state_dim, head_dim], which decays with every row, takes up the row's x
// by its B, and is read by its C:
//   dt = softplus(dt + step_bias);  S = exp(-rate dt) S + B (dt x)^T;  y = S^T C + skip x
//
// Same bits: as for the gated delta rule (delta_rule.h) rows are taken one after the other,
// whatever piece of the sequence a step has, where the authors' kernels take chunks; every sum has
// one order.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/ops/causal_convolution.h"
#include "runtime/tensor.h"
#include "runtime/thread_pool.h"
#include "runtime/workspace.h"

namespace folkmoot {

// Group g, which has a B and a C, serves heads g * heads_per_group .. (g + 1) * heads_per_group.
struct StateSpaceHeads {
  int64_t groups = 0;
  int64_t heads_per_group = 0;
  int64_t state_dim = 0;  // of B and C
  int64_t head_dim = 0;   // of x
  int64_t kernel = 0;     // rows that the convolution sees, its own included

  int64_t heads() const { return groups * heads_per_group; }
  int64_t values() const { return heads() * head_dim; }
  int64_t states() const { return groups * state_dim; }
  // Of the convolution: all x, all B, then all C.
  int64_t channels() const { return values() + 2 * states(); }
  // Of a row of projections: z, the channels, then dt of each head.
  int64_t columns() const { return values() + channels() + heads(); }
  // Between the rows of S in memory.
  int64_t value_stride() const { return (head_dim + 15) / 16 * 16; }
  RecurrentState::LayerShape state() const {
    return {.inputs = (kernel - 1) * channels(), .memory = heads() * state_dim * value_stride()};
  }
};

struct StateSpaceParams {
  int64_t layer = 0;  // of the state
  StateSpaceHeads heads;
  CausalConvolution convolution;     // of heads.channels()
  std::span<const float> rates;      // [heads]
  std::span<const float> step_bias;  // [heads]
  std::span<const float> skip;       // [heads]
  std::span<const float> norm;       // [values]
  int64_t norm_width = 0;            // values that are normalised together; divides them
  float norm_eps = 0;
};

// projected [T, heads.columns()], out [T, heads.values()]: y becomes RmsNorm(y * silu(z)),
// norm_width values at a time. Sequences have slots of `state`, which goes on where it stood at
// `start`; at start 0 it begins with zeros. Scratch from `workspace`.
void StateSpace(ThreadPool& pool, const StateSpaceParams& params,
                std::span<const AttentionSequence> sequences, ConstMatrix projected,
                RecurrentState& state, Workspace& workspace, Matrix out);

}  // namespace folkmoot
