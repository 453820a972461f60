// SPDX-License-Identifier: Apache-2.0
// Rows in fours: what kernels that walk over rows share. A group of four neighbouring elements
// belongs to one thread whether it is moved by one instruction or element by element, so the bits
// of a sum do not depend on alignment.
#pragma once

#include <cstdint>

#include "runtime/check.h"
#include "runtime/cuda/platform.h"
#include "runtime/cuda/views.h"

namespace folkmoot::cuda {

constexpr int kRowThreads = 256;  // of a block that works on one row, at least

// Neighbouring elements that are moved by one instruction.
template <typename T, int kCount>
struct alignas(kCount * sizeof(T)) Packed {
  T v[kCount];
};

// Four elements at an address that allows to move them at once, widened.
template <typename T>
__device__ inline float4 LoadFour(const T* from) {
  if constexpr (sizeof(T) == 4) {
    return *reinterpret_cast<const float4*>(from);
  } else {
    const auto x = *reinterpret_cast<const Packed<T, 4>*>(from);
    return make_float4(static_cast<float>(x.v[0]), static_cast<float>(x.v[1]),
                       static_cast<float>(x.v[2]), static_cast<float>(x.v[3]));
  }
}
// Rounds to nearest even.
template <typename T>
__device__ inline void StoreFour(float4 x, T* to) {
  if constexpr (sizeof(T) == 4) {
    *reinterpret_cast<float4*>(to) = x;
  } else {
    const Packed<T, 4> y = {{T(x.x), T(x.y), T(x.z), T(x.w)}};
    *reinterpret_cast<Packed<T, 4>*>(to) = y;
  }
}

// Elements i .. i + 3 of a row of n, widened; zero beyond its end. `vector`: the row and the next
// ones begin at multiples of four elements.
template <typename T>
__device__ inline float4 LoadFour(const T* row, int64_t i, int64_t n, bool vector) {
  if (vector && i + 4 <= n) return LoadFour(row + i);
  float4 x = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  if (i < n) x.x = static_cast<float>(row[i]);
  if (i + 1 < n) x.y = static_cast<float>(row[i + 1]);
  if (i + 2 < n) x.z = static_cast<float>(row[i + 2]);
  if (i + 3 < n) x.w = static_cast<float>(row[i + 3]);
  return x;
}

template <typename T>
__device__ inline void StoreFour(float4 x, T* row, int64_t i, int64_t n, bool vector) {
  if (vector && i + 4 <= n) {
    StoreFour(x, row + i);
    return;
  }
  if (i < n) row[i] = T(x.x);
  if (i + 1 < n) row[i + 1] = T(x.y);
  if (i + 2 < n) row[i + 2] = T(x.z);
  if (i + 3 < n) row[i + 3] = T(x.w);
}

// Sum over the first kRowThreads threads of a block, the same in every thread: lanes in a tree of
// strides 16 .. 1, then warps in order. Every thread must come.
__device__ inline float SumOverBlock(float value) {
  constexpr int kWarps = kRowThreads / kWarp;
  FM_SHARED(float, sums, [kWarps]);
  if (threadIdx.x < kRowThreads) {
    for (int stride = kWarp / 2; stride > 0; stride /= 2) {
      value = __fadd_rn(value, __shfl_xor_sync(kFullMask, value, stride));
    }
    if (threadIdx.x % kWarp == 0) sums[threadIdx.x / kWarp] = value;
  }
  __syncthreads();
  float sum = sums[0];
  for (int w = 1; w < kWarps; ++w) sum = __fadd_rn(sum, sums[w]);
  __syncthreads();
  return sum;
}

// Calls f(T()) for the element type of `dtype`: float, __nv_bfloat16 or __half.
template <typename F>
void ForElement(DType dtype, F f) {
  switch (dtype) {
    case DType::kF32:
      return f(float());
    case DType::kBF16:
      return f(__nv_bfloat16());
    case DType::kF16:
      return f(__half());
    default:
      FM_CHECK(false && "elements on the device are F32, BF16 or F16");
  }
}

// May rows of `stride` elements of `bytes` be moved in fours?
inline bool InFours(const void* data, int64_t stride, int64_t bytes) {
  const auto address = reinterpret_cast<uintptr_t>(data);
  return stride % 4 == 0 && address % static_cast<uintptr_t>(4 * bytes) == 0;
}
inline bool InFours(const MatrixRef& x) { return InFours(x.data, x.stride, DTypeBytes(x.dtype)); }

}  // namespace folkmoot::cuda
