// SPDX-License-Identifier: Apache-2.0
// Lightning attention as MiniMax-01 has it (arXiv 2501.08313, section 2.2): linear attention whose
// memory forgets at a pace that is fixed for each head. The projections in front of it, and the
// norm and the gate behind it, are the layer's (layers/lightning_attention.h).
//
// A head keeps a matrix S [head_dim, head_dim], which decays with every row, takes up the row's v
// by its k, and is read by its q:
//   q, k, v = act(q), act(k), act(v);  S = decay S + k v^T;  o = S^T q
//
// Same bits: rows are taken one after the other, whatever piece of the sequence a step has, where
// the authors' kernels take blocks; every sum has one order.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/ops/causal_convolution.h"
#include "runtime/tensor.h"
#include "runtime/thread_pool.h"

namespace folkmoot {

struct LightningHeads {
  int64_t heads = 0;
  int64_t head_dim = 0;  // of q, k and v

  int64_t values() const { return heads * head_dim; }
  int64_t columns() const { return 3 * values(); }  // of a row of q, k and v
  // Between the rows of S in memory.
  int64_t value_stride() const { return (head_dim + 15) / 16 * 16; }
  RecurrentState::LayerShape state() const {
    return {.inputs = 0, .memory = values() * value_stride()};
  }
};

struct LightningParams {
  int64_t layer = 0;  // of the state
  LightningHeads heads;
  std::span<const float> decays;  // [heads]
  Activation activation = Activation::kSilu;
};

// qkv [T, heads.columns()]: q, k and v of one head after the other; the activation takes their
// place. out [T, heads.values()]. Sequences have slots of `state`, which goes on where it stood at
// `start`; at start 0 it begins with zeros.
void LightningAttention(ThreadPool& pool, const LightningParams& params,
                        std::span<const AttentionSequence> sequences, Matrix qkv,
                        RecurrentState& state, Matrix out);

}  // namespace folkmoot
