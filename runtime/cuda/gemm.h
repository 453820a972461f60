// SPDX-License-Identifier: Apache-2.0
// Dense matrix products on the device: out [M, N] = x [M, K] * w [N, K]^T (+ bias), accumulated in
// float32.
//
// Own kernels: mma.sync for 16-bit elements, and FMAs of CUDA cores for float32; for both, the
// order in which an output is summed over k depends on the types and on K alone (product_task.h),
// so that a row has the same bits in every batch. Under kFastest others take over where they are
// faster, each with sums of its own: for many rows cuBLASLt, loaded at run time, or wgmma without
// it; for up to 4 rows of a very large matrix of 16 bits, such as a head, the CUDA cores. Then a
// row's bits are the same from run to run, but depend on how many rows come with it.
//
// What kBatchInvariant costs: at many rows, what mma.sync is slower than wgmma.
#pragma once

#include <cstdint>
#include <memory>

#include "runtime/cuda/device.h"
#include "runtime/cuda/views.h"

namespace folkmoot::cuda {

class BlasLibrary;  // blas.h: cuBLASLt's functions, or why there are none

enum class GemmPolicy : uint8_t {
  kFastest,         // by the number of rows
  kBatchInvariant,  // one order of summation for any number of rows
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
