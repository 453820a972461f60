// SPDX-License-Identifier: Apache-2.0
// Pieces of the attention kernels for 16-bit elements: tiles in shared memory and products by
// mma.m16n8k16. Lane l of a warp holds, of a 16 x 8 result, the elements (l / 4, 2 (l % 4) + {0,
// 1}) and the same ones eight rows down.
#pragma once

#include <cstdint>

#include "runtime/cuda/attention_work.cuh"

namespace folkmoot::cuda::attention {

// Rows in shared memory are 16 bytes longer than needed: eight rows then start at eight different
// 16-byte columns, and ldmatrix meets no bank twice.
template <int kDim>
constexpr int kTileStride = kDim + 8;
constexpr int kWeightStride = kTileKeys + 8;

__device__ inline void Multiply(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                                __nv_bfloat16) {
  MmaBf16(d, a, b);
}
__device__ inline void Multiply(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                                __half) {
  MmaFp16(d, a, b);
}

// Two numbers as the halves of a register, the first one low.
__device__ inline uint32_t PackPair(float a, float b, __nv_bfloat16) {
  return static_cast<uint32_t>(__bfloat16_as_ushort(__float2bfloat16_rn(a))) |
         static_cast<uint32_t>(__bfloat16_as_ushort(__float2bfloat16_rn(b))) << 16;
}
__device__ inline uint32_t PackPair(float a, float b, __half) {
  return static_cast<uint32_t>(__half_as_ushort(__float2half_rn(a))) |
         static_cast<uint32_t>(__half_as_ushort(__float2half_rn(b))) << 16;
}

__device__ inline int Lane() { return static_cast<int>(threadIdx.x) % kWarp; }
__device__ inline int Warp() { return static_cast<int>(threadIdx.x) / kWarp; }

// The 16 x 16 block at `tile` as left operand.
template <typename T>
__device__ inline void LoadLeft(uint32_t (&a)[4], const T* tile, int stride) {
  LdMatrixX4(a, tile + Lane() % 16 * stride + Lane() / 16 * 8);
}
// Right operands of two products from 16 keys x 16 elements: result columns are keys.
template <typename T>
__device__ inline void LoadKeys(uint32_t (&b)[4], const T* tile, int stride) {
  LdMatrixX4(b, tile + (Lane() / 16 * 8 + Lane() % 8) * stride + Lane() / 8 % 2 * 8);
}
// Right operands of two products from 16 keys x 16 elements: result columns are elements.
template <typename T>
__device__ inline void LoadValues(uint32_t (&b)[4], const T* tile, int stride) {
  LdMatrixX4Trans(b, tile + Lane() % 16 * stride + Lane() / 16 * 8);
}
template <typename T>
__device__ inline void MultiplyTwo(float (&first)[4], float (&second)[4], const uint32_t (&a)[4],
                                   const uint32_t (&b)[4]) {
  const uint32_t low[2] = {b[0], b[1]};
  const uint32_t high[2] = {b[2], b[3]};
  Multiply(first, a, low, T());
  Multiply(second, a, high, T());
}

// Query rows first .. of an item into shared memory [rows, kTileStride], asynchronously; zero where
// there is none.
template <typename T, int kDim>
__device__ inline void LoadQueries(const AttentionArgs& args, const AttentionItem& item, int rows,
                                   T* to) {
  constexpr int kChunks = kDim / 8;
  const T* q = static_cast<const T*>(args.q);
  for (int i = static_cast<int>(threadIdx.x); i < rows * kChunks; i += kAttentionThreads) {
    const int column = i % kChunks * 8;
    const QueryRow row = RowOf(args, item, i / kChunks);
    const bool valid = row.row >= 0 && column < args.dim;
    const T* from = valid ? q + row.row * args.q_stride + row.head * args.dim + column : q;
    CpAsync16(to + i / kChunks * kTileStride<kDim> + column, from, valid);
  }
}

// A tile of keys or of values into shared memory; rows[key] is its CacheRow.
template <typename T, int kDim>
__device__ inline void LoadTile(const void* pages, const int64_t* rows, int dim, T* to) {
  constexpr int kChunks = kDim / 8;
  const T* from = static_cast<const T*>(pages);
#pragma unroll 4
  for (int i = static_cast<int>(threadIdx.x); i < kTileKeys * kChunks; i += kAttentionThreads) {
    const int key = i / kChunks;
    const int column = i % kChunks * 8;
    const int64_t row = rows[key];
    const bool valid = row >= 0 && column < dim;
    CpAsync16(to + key * kTileStride<kDim> + column, from + (valid ? row + column : 0), valid);
  }
}

// Scores of 16 keys x 2 query rows in the registers of a lane: -infinity for keys that a row does
// not see. `key` is the position of this lane's first.
__device__ inline void HideUnseen(float (&scores)[2][4], int key, const SeenKeys& low,
                                  const SeenKeys& high) {
#pragma unroll
  for (int block = 0; block < 2; ++block) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int position = key + block * 8 + i;
      if (position < low.begin || position >= low.end) scores[block][i] = -INFINITY;
      if (position < high.begin || position >= high.end) scores[block][i + 2] = -INFINITY;
    }
  }
}

// Greatest or sum over the four lanes that share a row.
__device__ inline float QuadMax(float x) {
  x = fmaxf(x, __shfl_xor_sync(kFullMask, x, 1));
  return fmaxf(x, __shfl_xor_sync(kFullMask, x, 2));
}
__device__ inline float QuadSum(float x) {
  x = __fadd_rn(x, __shfl_xor_sync(kFullMask, x, 1));
  return __fadd_rn(x, __shfl_xor_sync(kFullMask, x, 2));
}
// The order in which weights of 16 keys are added in a lane, and the 16-key quarters of all tiles
// of a piece in a row.
__device__ inline float AddFour(float a, float b, float c, float d) {
  return __fadd_rn(__fadd_rn(a, b), __fadd_rn(c, d));
}
__device__ inline float AddWeights(float sum, float rescale, float a, float b, float c, float d) {
  return __fmaf_rn(sum, rescale, AddFour(a, b, c, d));
}
__device__ inline float AddQuarters(float a, float b, float c, float d) {
  return AddFour(a, b, c, d);
}

template <typename T>
__device__ inline void StorePair(const AttentionArgs& args, const QueryRow& row, int column,
                                 float a, float b) {
  if (row.row < 0 || column >= args.dim) return;
  T* to = static_cast<T*>(args.out) + row.row * args.out_stride + row.head * args.dim + column;
  *reinterpret_cast<uint32_t*>(to) = PackPair(a, b, T());
}

}  // namespace folkmoot::cuda::attention
