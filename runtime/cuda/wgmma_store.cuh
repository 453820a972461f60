// SPDX-License-Identifier: Apache-2.0
// Where the sums of wgmma_product.cu go. The four lanes that hold a position exchange them first,
// so that each writes 16 bytes, and the four of them 64 bytes in a row.
#pragma once

#include "runtime/cuda/product_store.cuh"
#include "runtime/cuda/wgmma.h"

namespace folkmoot::cuda {

// Lane q of each four gets v[q] of lane i in v[i].
__device__ inline void TransposeInFour(uint32_t (&v)[4]) {
  const int q = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
  for (int bit = 1; bit <= 2; bit *= 2) {
    const bool upper = (q & bit) != 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if ((i & bit) != 0) continue;
      const uint32_t other = __shfl_xor_sync(kFullMask, upper ? v[i] : v[i + bit], bit);
      (upper ? v[i] : v[i + bit]) = other;
    }
  }
}

// For results that are rounded to 16 bits: the relative error is about 2^-22 (1 + |x|).
__device__ inline float SiluApprox(float x) {
  return x * ReciprocalApprox(1.0f + Exp2Approx(-1.44269504f * x));
}

// The sums of one thread of a warpgroup over 64 positions times N rows of w: positions g and g + 8
// of its warp's 16, rows 8 j + 2 q + {0, 1} (g = lane / 4, q = lane % 4). Made before the sums are,
// so that the rows of out are known when they are needed.
template <typename T, int N>
class WgmmaStore {
 public:
  __device__ WgmmaStore(const ProductTask& task, const ExpertTile& tile, int first_position,
                        int first_row)
      : task_(task), first_row_(first_row) {
    const int thread = static_cast<int>(threadIdx.x) % 128;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int position = first_position + thread / 32 * 16 + thread % 32 / 4 + h * 8;
      out_row_[h] = position < tile.count ? OutputRow(task, tile.first + position) : -1;
    }
  }

  __device__ void Store(const float (&sums)[N / 2]) const {
    const bool aligned =
        task_.out_stride % 8 == 0 && reinterpret_cast<uintptr_t>(task_.out) % 16 == 0;
    const bool silu = static_cast<Activation>(task_.activation) == Activation::kSilu;
    if (aligned && task_.gated && silu && !task_.out_float) {
      StoreGated(sums);
    } else if (aligned && !task_.gated && task_.out_float && task_.bias == nullptr &&
               task_.n % 8 == 0) {
      StoreFloats(sums);
    } else {
      StoreAny(sums);
    }
  }

 private:
  __device__ static int Quarter() { return static_cast<int>(threadIdx.x) % 4; }
  template <typename E>
  __device__ E* Out(int h) const {
    return static_cast<E*>(task_.out) + int64_t{max(out_row_[h], 0)} * task_.out_stride;
  }

  // Blocks of 8 columns of out: a lane packs two columns of each of 4 blocks, and writes one block.
  __device__ void StoreGated(const float (&sums)[N / 2]) const {
    const int q = Quarter();
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      T* out = Out<T>(h);
#pragma unroll
      for (int m = 0; m < N / 64; ++m) {
        uint32_t v[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float* gate = &sums[8 * (4 * m + i) + 2 * h];
          const float* up = gate + 4;
          v[i] = ElementPair<T>::Bits(SiluApprox(gate[0]) * up[0]) |
                 ElementPair<T>::Bits(SiluApprox(gate[1]) * up[1]) << 16;
        }
        TransposeInFour(v);
        const int row = first_row_ + 16 * (4 * m + q);
        if (out_row_[h] >= 0 && row < task_.n) {
          *reinterpret_cast<uint4*>(out + row / 2) = make_uint4(v[0], v[1], v[2], v[3]);
        }
      }
    }
  }

  // Of two blocks of 8 rows, even lanes write halves of the first and odd ones of the second.
  __device__ void StoreFloats(const float (&sums)[N / 2]) const {
    const int q = Quarter();
    const bool odd = q % 2 != 0;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      float* out = Out<float>(h);
#pragma unroll
      for (int j = 0; j < N / 8; j += 2) {
        const float* low = &sums[4 * j + 2 * h];
        const float* high = low + 4;
        const float x = __shfl_xor_sync(kFullMask, odd ? low[0] : high[0], 1);
        const float y = __shfl_xor_sync(kFullMask, odd ? low[1] : high[1], 1);
        const int row = first_row_ + 8 * (j + (odd ? 1 : 0)) + q / 2 * 4;
        if (out_row_[h] >= 0 && row < task_.n) {
          const float4 four =
              odd ? make_float4(x, y, high[0], high[1]) : make_float4(low[0], low[1], x, y);
          *reinterpret_cast<float4*>(out + row) = four;
        }
      }
    }
  }

  __device__ void StoreAny(const float (&sums)[N / 2]) const {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      if (out_row_[h] < 0) continue;
      const int row = first_row_ + Quarter() * 2;
#pragma unroll
      for (int j = 0; j < N / 8; j += 2) {
        const float* low = &sums[4 * j + 2 * h];
        const float* high = low + 4;
        StoreTwoRows<T>(task_, out_row_[h], row + 8 * j, low[0], high[0]);
        StoreTwoRows<T>(task_, out_row_[h], row + 8 * j + 1, low[1], high[1]);
      }
    }
  }

  const ProductTask& task_;
  const int first_row_;
  int out_row_[2];  // -1: none
};

}  // namespace folkmoot::cuda
