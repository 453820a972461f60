// SPDX-License-Identifier: Apache-2.0
// Dense matrix products on the device: out [M, N] = x [M, K] * w [N, K]^T (+ bias), accumulated in
// float32.
//
// Two implementations. Own kernels (mma.sync for 16-bit elements, plain FMA for float32): each
// output is accumulated over k in one order that does not depend on M, so a row has the same bits
// in every batch. cuBLASLt, loaded at run time: faster for large M, the same bits from run to run,
// but not for every M.
#pragma once

#include <cstdint>
#include <memory>

#include "runtime/cuda/device.h"
#include "runtime/cuda/views.h"

namespace folkmoot::cuda {

class BlasLibrary;  // blas.h: cuBLASLt's functions, or why there are none

enum class GemmPolicy : uint8_t {
  kFastest,         // cuBLASLt where it is loaded and M is large enough to pay
  kBatchInvariant,  // own kernels only
};

// How products of one model are computed; shared by its layers. `blas` may be null.
struct GemmContext {
  const BlasLibrary* blas = nullptr;
  GemmPolicy policy = GemmPolicy::kFastest;
  MatrixRef workspace = {};  // of cuBLASLt; may be empty
};

// x and w have the same 16-bit type, or are both kF32. out is kF32 or the type of x; bias [N] is
// float32 or null. K and the strides of 16-bit operands are multiples of 8, addresses of 16 bytes.
// Where x has kF32 and w 16 bits, w is widened: for routers, whose logits decide.
void Gemm(Stream& stream, const GemmContext& context, const MatrixRef& x, const MatrixRef& w,
          const float* bias, const MatrixRef& out);

}  // namespace folkmoot::cuda
