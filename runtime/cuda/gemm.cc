// SPDX-License-Identifier: Apache-2.0
// Which kernel computes a dense product.
#include "runtime/cuda/gemm.h"

#include "runtime/check.h"
#include "runtime/cuda/blas.h"
#include "runtime/cuda/product_task.h"

namespace folkmoot::cuda {
namespace {

// kFastest: a matrix of many bytes, such as a head, is read by CUDA cores for up to so many rows.
constexpr int64_t kDotRows = 4;
constexpr int64_t kDotBytes = int64_t{128} << 20;
// kFastest: rows from which cuBLASLt, or wgmma without it, is taken.
constexpr int64_t kBlasRows = 64;
constexpr int64_t kBlasFloatRows = 16;
constexpr int64_t kWgmmaRows = kWgmmaTokens;

// Whether the units of a shape (product_pipeline.cuh) give most multiprocessors work.
bool FillsDevice(const DeviceInfo& device, MmaShape shape, int64_t m, int64_t n) {
  const int tokens = MmaTokens(shape);
  const int rows = MmaWeightRows(shape);
  const int64_t units = (m + tokens - 1) / tokens * ((n + rows - 1) / rows);
  return 4 * units >= 3 * device.multiprocessors;
}

// The largest tile that is not mostly empty and fills the device.
MmaShape ShapeForRows(const DeviceInfo& device, int64_t m, int64_t n) {
  if (m <= MmaTokens(MmaShape::k16x8)) return MmaShape::k16x8;
  for (const MmaShape shape :
       {MmaShape::k128x128, MmaShape::k128x64, MmaShape::k64x32, MmaShape::k32x16}) {
    if (m > MmaTokens(shape) / 2 && FillsDevice(device, shape, m, n)) return shape;
  }
  return MmaShape::k16x16;
}

// A tile of wgmma occupies a multiprocessor: most of them must get one.
bool WgmmaPays(const DeviceInfo& device, int64_t m, int64_t n) {
  if (m < kWgmmaRows || !HasWgmma(device)) return false;
  const int64_t tiles =
      (m + kWgmmaTokens - 1) / kWgmmaTokens * ((n + kWgmmaWeightRows - 1) / kWgmmaWeightRows);
  return 4 * tiles >= 3 * device.multiprocessors;
}

// CUDA cores need no more for it than the time of reading w.
bool DotPays(const MatrixRef& x, const MatrixRef& w) {
  return x.rows <= kDotRows && w.rows * w.cols * DTypeBytes(w.dtype) >= kDotBytes;
}

void CheckOperand(const MatrixRef& matrix) {
  FM_CHECK(matrix.stride >= matrix.cols);
  if (matrix.dtype == DType::kF32) return;
  FM_CHECK(matrix.dtype == DType::kBF16 || matrix.dtype == DType::kF16);
  FM_CHECK(matrix.cols % 8 == 0 && matrix.stride % 8 == 0);
  FM_CHECK(reinterpret_cast<uintptr_t>(matrix.data) % 16 == 0);
}

// True when cuBLASLt has taken the product over, or has failed at it.
bool TryBlas(Stream& stream, const GemmContext& context, const MatrixRef& x, const MatrixRef& w,
             const MatrixRef& out) {
  const int64_t from = x.dtype == DType::kF32 ? kBlasFloatRows : kBlasRows;
  if (context.blas == nullptr || x.dtype != w.dtype || x.rows < from) return false;
  const absl::Status status = context.blas->Product(stream, x, w, out, context.workspace);
  if (absl::IsUnimplemented(status)) return false;  // no algorithm for this shape
  if (!status.ok()) stream.Fail(status);
  return true;
}

}  // namespace

void Gemm(Stream& stream, const GemmContext& context, const MatrixRef& x, const MatrixRef& w,
          const float* bias, const MatrixRef& out) {
  CheckOperand(x);
  CheckOperand(w);
  FM_CHECK(x.cols == w.cols && out.rows == x.rows && out.cols == w.rows);
  FM_CHECK(out.stride >= out.cols && (out.dtype == DType::kF32 || out.dtype == x.dtype));
  FM_CHECK(x.dtype == w.dtype || x.dtype == DType::kF32);
  if (x.rows == 0 || w.rows == 0) return;
  const bool fastest = context.policy == GemmPolicy::kFastest;
  if (fastest && bias == nullptr && TryBlas(stream, context, x, w, out)) return;

  ProductTask task;
  task.w = w.data;
  task.n = static_cast<int>(w.rows);
  task.k = static_cast<int>(w.cols);
  task.w_stride = w.stride;
  task.x = x.data;
  task.x_stride = x.stride;
  task.out = out.data;
  task.out_stride = out.stride;
  task.out_float = out.dtype == DType::kF32;
  task.rows = static_cast<int>(x.rows);
  task.bias = bias;
  if (x.dtype == DType::kF32 || (fastest && DotPays(x, w))) {
    DotProduct(stream, x.dtype, w.dtype, task);
  } else if (fastest && WgmmaPays(stream.device(), x.rows, w.rows)) {
    WgmmaProduct(stream, x.dtype, task);
  } else {
    MmaProduct(stream, ShapeForRows(stream.device(), x.rows, w.rows), x.dtype, task);
  }
}

}  // namespace folkmoot::cuda
