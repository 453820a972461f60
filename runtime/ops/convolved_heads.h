// SPDX-License-Identifier: Apache-2.0
// What compressed convolutional attention (CCA; Zyphra 2025, arXiv 2510.04476, as ZAYA1 has it)
// does with queries and keys between their projections and attention, behind a depthwise
// convolution (causal_convolution.h): a second convolution mixes the numbers of each head over a
// few rows, and every query meets its key in a mean.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/ops/attention.h"
#include "runtime/ops/recurrent_state.h"
#include "runtime/tensor.h"
#include "runtime/thread_pool.h"

namespace folkmoot {

// What a row of the second convolution reads: the last rows of the first one's results. A
// RecurrentState's memory keeps those that later rows will see, [rows - 1, columns].
struct HeadWindows {
  int64_t layer = 0;  // of the state
  int64_t rows = 0;   // of a window, the row's own included
  int64_t columns = 0;
  // [columns]: what stands before the sequence begins. It is not zeros: the first convolution has a
  // bias, and sees zeros there.
  std::span<const float> before;

  int64_t memory() const { return (rows - 1) * columns; }
};

// inputs [T, columns]; column c * rows + j of out [T, columns * rows] is column c of the input
// rows - 1 - j rows before, so that the numbers of a head stand side by side in the order of the
// kernel's, [outputs, columns of a head, rows]. Sequences have slots of `state`.
void MakeHeadWindows(ThreadPool& pool, const HeadWindows& windows,
                     std::span<const AttentionSequence> sequences, ConstMatrix inputs,
                     RecurrentState& state, Matrix out);

// projected and out [T, heads]: those of `queries` times as many queries as keys, of head_dim
// numbers each, and then keys. To each query in `out` is added (q + k) / 2 of what was projected, k
// being the key that it reads, and to each key the mean of what its queries got, added in their
// order.
void AddHeadMeans(ThreadPool& pool, int64_t head_dim, int64_t queries, ConstMatrix projected,
                  Matrix out);

}  // namespace folkmoot
