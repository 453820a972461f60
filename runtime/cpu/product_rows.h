// SPDX-License-Identifier: Apache-2.0
// Rows of activations as products want them, the other side of packed weights.
//
// Beside codes they are integers: per chunk of 16 or 32 values x = scale * q. With |q| < 2^15 a
// value is off by at most about 2^-16 of the largest in its chunk, far finer than the codes of
// weights, for the price of 8 bits on most machines: integer products are made in 16 bits there.
// (All values count as zero in a chunk whose largest is below 1e-30.)
//
// ActivationPrecision::kReduced takes |q| <= 127 beside codes, and bfloat16 beside BF16 weights.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/cpu/code_panel.h"
#include "runtime/ops/gemm.h"
#include "runtime/tensor.h"
#include "runtime/thread_pool.h"
#include "runtime/workspace.h"

namespace folkmoot::cpu {

// Views into a workspace. A chunk that holds NaN or an infinity has scale NaN.
struct CodeRows {
  // Of kReduced where bytes can be multiplied. Elsewhere 8 bits are kept in 16, with the same sums.
  bool bytes = false;
  const std::byte* q = nullptr;  // rows of `stride` bytes, zeros behind k; bytes lie in the order
                                 // of the panel's codes (code_pairs-inl.h)
  int64_t stride = 0;
  const float* scales = nullptr;  // [rows, chunks]
  const int32_t* sums = nullptr;  // [rows, chunks], of q
  int64_t chunks = 0;

  CodeRows Rows(int64_t first) const {
    return {bytes, q + first * stride, stride, scales + first * chunks, sums + first * chunks,
            chunks};
  }
};

struct ProductRows {
  // As given; or, with `pairs`, words of two bfloat16 that only look like floats: the even k in
  // the low half, as in a panel.
  ConstMatrix x;
  bool pairs = false;
  CodePanelShape shape = {};  // of the panels, when the weights are codes
  CodeRows codes;
};
ProductRows PrepareRows(ThreadPool& pool, ConstMatrix x, const PackedMatrix& w,
                        Workspace& workspace);

}  // namespace folkmoot::cpu
