// SPDX-License-Identifier: Apache-2.0
// Router logits on tensor cores with the precision of float32: x and w are exact sums of bfloat16
// numbers, whose products tensor cores add up exactly but for the rounding of their float32 sums.
//
// The order of sums, for any number of rows: of the slabs of 128 elements of a row, part p of 16
// has slabs p, p + 16, .... A part adds up its slabs in order, four chunks of 32 elements each; a
// chunk is two steps of mma.m16n8k16, with elements 8t .. 8t + 3 of lane t's eight in the first
// one. Large, medium and small products have sums of their own; a part is large + (medium + small),
// a logit part 0 + part 1 + ... + part 15.
#pragma once

#include <cstring>
#include <type_traits>

#include "runtime/cuda/platform.h"
#include "runtime/cuda/product_store.cuh"
#include "runtime/cuda/ptx.h"
#include "runtime/cuda/routing.h"
#include "runtime/cuda/row_vector.cuh"

namespace folkmoot::cuda {

constexpr int kRouterParts = 16;
constexpr int kSlab = 128;
constexpr int kSlabChunk = 32;
constexpr int kSlabChunks = kSlab / kSlabChunk;
constexpr int kLaneElements = 8;  // of a chunk, neighbours

// Terms of weights of type W.
template <typename W>
constexpr int kTermsOf = std::is_same_v<W, __nv_bfloat16> ? 1
                         : std::is_same_v<W, __half>      ? 2
                                                          : 3;

// Eight numbers as sums of bfloat16 numbers, in pairs, the first in the low half.
template <int kTerms>
struct SplitEight {
  uint32_t pairs[kTerms][kLaneElements / 2];
};

// The upper halves of two float32 numbers: bfloat16 numbers that are nearer to zero.
__device__ inline uint32_t UpperHalves(float low, float high) {
  return __byte_perm(__float_as_uint(low), __float_as_uint(high), 0x7632);
}
__device__ inline float WithoutUpperHalf(float x) {
  return __fsub_rn(x, __uint_as_float(__float_as_uint(x) & 0xffff0000u));
}

// Exact: 24 bits of a float32 are three times 8.
template <int kTerms>
__device__ inline void Split(const float (&x)[kLaneElements], SplitEight<kTerms>& to) {
#pragma unroll
  for (int i = 0; i < kLaneElements / 2; ++i) {
    float low = x[2 * i];
    float high = x[2 * i + 1];
#pragma unroll
    for (int term = 0; term < kTerms; ++term) {
      to.pairs[term][i] = UpperHalves(low, high);
      low = WithoutUpperHalf(low);
      high = WithoutUpperHalf(high);
    }
  }
}

// Eight weights as they lie in memory.
template <typename W>
struct EightWeights {
  uint4 bits[sizeof(W) / 2];
};

template <typename W>
__device__ inline void Split(const EightWeights<W>& w, SplitEight<kTermsOf<W>>& to) {
  if constexpr (kTermsOf<W> == 1) {
    memcpy(to.pairs[0], w.bits, sizeof(w.bits));
  } else {
    float x[kLaneElements];
    if constexpr (sizeof(W) == 4) {
      memcpy(x, w.bits, sizeof(x));
    } else {
      uint32_t pairs[kLaneElements / 2];
      memcpy(pairs, w.bits, sizeof(pairs));
#pragma unroll
      for (int i = 0; i < kLaneElements / 2; ++i) {
        x[2 * i] = ElementPair<W>::Low(pairs[i]);
        x[2 * i + 1] = ElementPair<W>::High(pairs[i]);
      }
    }
    Split(x, to);
  }
}

// Sums of 16 rows and 8 experts by the size of their products, as mma leaves them.
struct LogitSums {
  float of[3][4];
};
__device__ inline void Clear(LogitSums& sums) {
#pragma unroll
  for (int size = 0; size < 3; ++size) {
#pragma unroll
    for (int i = 0; i < 4; ++i) sums.of[size][i] = 0.0f;
  }
}
__device__ inline float PartOf(const LogitSums& sums, int i) {
  return __fadd_rn(sums.of[0][i], __fadd_rn(sums.of[1][i], sums.of[2][i]));
}

// Adds the products of a chunk: of this lane's elements of rows g and, where kTwo, g + 8 with those
// of expert g.
template <bool kTwo, int kTerms>
__device__ inline void AddChunk(const SplitEight<3>& row, const SplitEight<3>& row8,
                                const SplitEight<kTerms>& w, LogitSums& sums) {
#pragma unroll
  for (int step = 0; step < 2; ++step) {
#pragma unroll
    for (int size = 0; size < 3; ++size) {
#pragma unroll
      for (int term = 0; term < kTerms && term <= size; ++term) {
        const uint32_t* const x = row.pairs[size - term] + 2 * step;
        const uint32_t* const x8 = row8.pairs[size - term] + 2 * step;
        const uint32_t a[4] = {x[0], kTwo ? x8[0] : 0, x[1], kTwo ? x8[1] : 0};
        const uint32_t b[2] = {w.pairs[term][2 * step], w.pairs[term][2 * step + 1]};
        MmaBf16(sums.of[size], a, b);
      }
    }
  }
}

// To the type of `out` and back.
__device__ inline float RoundTo(DType dtype, float value) {
  if (dtype == DType::kBF16) return static_cast<float>(__float2bfloat16_rn(value));
  if (dtype == DType::kF16) return static_cast<float>(__float2half_rn(value));
  return value;
}

__device__ inline float4 AddFour(float4 x, float4 y) {
  return make_float4(__fadd_rn(x.x, y.x), __fadd_rn(x.y, y.y), __fadd_rn(x.z, y.z),
                     __fadd_rn(x.w, y.w));
}

__device__ inline float4 Normalised(float4 x, float scale, float4 w) {
  return make_float4(__fmul_rn(__fmul_rn(x.x, scale), w.x), __fmul_rn(__fmul_rn(x.y, scale), w.y),
                     __fmul_rn(__fmul_rn(x.z, scale), w.z), __fmul_rn(__fmul_rn(x.w, scale), w.w));
}

// Eight normalised elements, rounded to `dtype`: what the router sees.
__device__ inline void SplitNormalised(const float* row, const float* weight, float scale,
                                       DType dtype, SplitEight<3>& to) {
  const auto* const x = reinterpret_cast<const float4*>(row);
  const auto* const w = reinterpret_cast<const float4*>(weight);
  const float4 low = Normalised(x[0], scale, w[0]);
  const float4 high = Normalised(x[1], scale, w[1]);
  float values[kLaneElements] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
  if (dtype != DType::kF32) {
#pragma unroll
    for (int i = 0; i < kLaneElements; ++i) values[i] = RoundTo(dtype, values[i]);
  }
  Split(values, to);
}

// The type to which the router's input is rounded.
__device__ inline DType RouterInputType(const RouteStepInput& step) {
  return step.wide_logits ? DType::kF32 : step.out.dtype;
}

// Rows in shared memory are so far apart that lanes with neighbouring rows read different banks.
constexpr int RowPitch(int elements) { return (elements + 31) / 32 * 32 + 4; }

// What the sum of squares of a row makes of it.
__device__ inline float ScaleOf(float squares, int hidden, float eps) {
  const float mean = __fdiv_rn(squares, static_cast<float>(hidden));
  return __fdiv_rn(1.0f, __fsqrt_rn(__fadd_rn(mean, eps)));
}

// Elements i .. i + 3 of the row `out[row]` (and `wide`).
__device__ inline void StoreNormalised(const RouteStepInput& step, int64_t row, int i, float4 x) {
  const auto hidden = static_cast<int>(step.out.cols);
  if (step.wide != nullptr) StoreFour(x, step.wide + row * hidden, i, hidden, true);
  const int64_t first = row * step.out.stride;
  if (step.out.dtype == DType::kBF16) {
    StoreFour(x, static_cast<__nv_bfloat16*>(step.out.data) + first, i, hidden, true);
  } else if (step.out.dtype == DType::kF16) {
    StoreFour(x, static_cast<__half*>(step.out.data) + first, i, hidden, true);
  } else {
    StoreFour(x, static_cast<float*>(step.out.data) + first, i, hidden, true);
  }
}

}  // namespace folkmoot::cuda
