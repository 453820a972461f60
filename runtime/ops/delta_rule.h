// SPDX-License-Identifier: Apache-2.0
// The gated delta rule of linear attention (Yang et al., Gated Delta Networks, arXiv 2412.06464),
// with the causal convolution in front of it and the gated norm behind it, as Qwen3-Next has them.
//
// A value head keeps a matrix S [key_dim, value_dim], which forgets a part of itself with every
// row, is corrected where it does not yet give v for k, and is then asked with q:
//   S = decay * S;  S += k (beta * (v - S^T k))^T;  o = S^T q
// In Kimi Delta Attention (Kimi Linear, arXiv 2510.26692) every row of S, which belongs to a number
// of the key, has a decay of its own; in that of GLM-5.3-Flash none is below a bound.
//
// Same bits: rows are taken one after the other, whatever piece of the sequence a step has, and
// every sum has one order.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/ops/causal_convolution.h"
#include "runtime/tensor.h"
#include "runtime/thread_pool.h"
#include "runtime/workspace.h"

namespace folkmoot {

// Key head h, which has a q and a k, serves value heads h * group .. (h + 1) * group.
struct DeltaHeads {
  int64_t key_heads = 0;
  int64_t group = 0;    // value heads of a key head
  int64_t key_dim = 0;  // of q and k
  int64_t value_dim = 0;
  int64_t kernel = 0;  // rows that the convolution sees, its own included

  int64_t value_heads() const { return key_heads * group; }
  int64_t keys() const { return key_heads * key_dim; }
  int64_t values() const { return value_heads() * value_dim; }
  // Of the convolution: all q, all k, then all v.
  int64_t channels() const { return 2 * keys() + values(); }
  // Between the rows of S in memory.
  int64_t value_stride() const { return (value_dim + 15) / 16 * 16; }
  RecurrentState::LayerShape state() const {
    return {.inputs = (kernel - 1) * channels(),
            .memory = value_heads() * key_dim * value_stride()};
  }
};

// Where a row of projections has what belongs to key head h: from first + h * stride on.
struct HeadColumns {
  int64_t first = 0;
  int64_t stride = 0;
};

struct DeltaColumns {
  HeadColumns q, k;  // [key_dim]
  HeadColumns v, z;  // [group, value_dim]; z is the gate of the norm
  // [group]; beta = sigmoid(b), decay = exp(-rate * softplus(a + step_bias)), or, with a
  // decay_bound, exp(decay_bound * sigmoid(rate * (a + step_bias))); a with key_decays: [group,
  // key_dim].
  HeadColumns b, a;
};

struct DeltaRuleParams {
  int64_t layer = 0;  // of the state
  DeltaHeads heads;
  DeltaColumns columns;
  CausalConvolution convolution;     // of heads.channels()
  std::span<const float> rates;      // [value_heads]
  std::span<const float> step_bias;  // [value_heads], with key_decays [value_heads, key_dim]
  std::span<const float> norm;       // [value_dim]
  float norm_eps = 0;
  bool key_decays = false;
  float decay_bound = 0;      // of logarithms of decays, not above 0; 0: none
  bool sigmoid_gate = false;  // of the norm, in place of silu

  int64_t decays() const { return key_decays ? heads.key_dim : 1; }  // of a value head
};

// projected [T, ..] has all of DeltaColumns; out [T, value_heads * value_dim]. q and k are
// normalised to length 1 after the convolution and q is divided by sqrt(key_dim); o becomes
// RmsNorm(o) * silu(z) or sigmoid(z), head by head. Sequences have slots of `state`, which goes on
// where it stood at `start`; at start 0 it begins with zeros. Scratch from `workspace`.
void GatedDeltaRule(ThreadPool& pool, const DeltaRuleParams& params,
                    std::span<const AttentionSequence> sequences, ConstMatrix projected,
                    RecurrentState& state, Workspace& workspace, Matrix out);

}  // namespace folkmoot
