// SPDX-License-Identifier: Apache-2.0
// Rows of activations as 16-bit integers, the other side of products with quantised weights: per
// chunk of 16 or 32 values x = scale * q with |q| < 2^15, so that a value is off by at most about
// 2^-16 of the largest in its chunk; a chunk whose largest is below 1e-30 counts as zero. That is
// far finer than the codes of weights, and costs no more than 8 bits would: integer products are
// made in 16 bits anyway.
#pragma once

#include <cstdint>

#include "runtime/cpu/code_panel.h"
#include "runtime/ops/gemm.h"
#include "runtime/tensor.h"
#include "runtime/thread_pool.h"
#include "runtime/workspace.h"

namespace folkmoot::cpu {

// Views into a workspace. A chunk that holds NaN or an infinity has scale NaN.
struct CodeRows {
  const int16_t* q = nullptr;     // [rows, stride]; zeros behind k
  int64_t stride = 0;             // chunks * chunk
  const float* scales = nullptr;  // [rows, chunks]
  const int32_t* sums = nullptr;  // [rows, chunks], of q
  int64_t chunks = 0;

  CodeRows Rows(int64_t first) const {
    return {q + first * stride, stride, scales + first * chunks, sums + first * chunks, chunks};
  }
};

// The rows of a product: floats, and integers where its weights want them.
struct ProductRows {
  ConstMatrix x;
  CodePanelShape shape = {};  // of the panels, when the weights are codes
  CodeRows codes;
};
ProductRows PrepareRows(ThreadPool& pool, ConstMatrix x, const PackedMatrix& w,
                        Workspace& workspace);

}  // namespace folkmoot::cpu
