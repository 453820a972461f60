// SPDX-License-Identifier: Apache-2.0
// What the product kernels share: 16-bit elements in pairs, the positions of a tile, activations,
// and where results go.
#pragma once

#include "runtime/cuda/platform.h"
#include "runtime/cuda/product_task.h"
#include "runtime/ops/gemm.h"

namespace folkmoot::cuda {

// Two elements in 32 bits, the first in the low half. Code(): those of two E4M3 codes, each in the
// upper byte of its half; exact: sign, exponent and mantissa get their places, and the exponent's
// bias is made up for by a factor.
template <typename T>
struct ElementPair;
template <>
struct ElementPair<__nv_bfloat16> {
  static __device__ float Low(uint32_t bits) { return __uint_as_float(bits << 16); }
  static __device__ float High(uint32_t bits) { return __uint_as_float(bits & 0xffff0000u); }
  static __device__ uint32_t Bits(float value) {
    return __bfloat16_as_ushort(__float2bfloat16_rn(value));
  }
  static __device__ uint32_t Code(uint32_t codes) {
    const uint32_t placed = (codes & 0x80008000u) | (codes & 0x7f007f00u) >> 4;
    return Times(placed, 0x7b80);  // 2^120
  }
  static __device__ uint32_t Times(uint32_t pair, uint16_t factor) {
    const __nv_bfloat16 one = __ushort_as_bfloat16(factor);
    const __nv_bfloat162 product =
        __hmul2(__halves2bfloat162(__ushort_as_bfloat16(static_cast<uint16_t>(pair)),
                                   __ushort_as_bfloat16(static_cast<uint16_t>(pair >> 16))),
                __halves2bfloat162(one, one));
    return __bfloat16_as_ushort(product.x) | uint32_t{__bfloat16_as_ushort(product.y)} << 16;
  }
};
template <>
struct ElementPair<__half> {
  static __device__ float Half(uint32_t bits) {
    return __half2float(__ushort_as_half(static_cast<uint16_t>(bits)));
  }
  static __device__ float Low(uint32_t bits) { return Half(bits & 0xffffu); }
  static __device__ float High(uint32_t bits) { return Half(bits >> 16); }
  static __device__ uint32_t Bits(float value) { return __half_as_ushort(__float2half_rn(value)); }
  static __device__ uint32_t Code(uint32_t codes) {
    const uint32_t placed = (codes & 0x80008000u) | (codes & 0x7f007f00u) >> 1;
    return Times(placed, 0x5c00);  // 2^8
  }
  static __device__ uint32_t Times(uint32_t pair, uint16_t factor) {
    const __half one = __ushort_as_half(factor);
    const __half2 product =
        __hmul2(__halves2half2(__ushort_as_half(static_cast<uint16_t>(pair)),
                               __ushort_as_half(static_cast<uint16_t>(pair >> 16))),
                __halves2half2(one, one));
    return __half_as_ushort(product.x) | uint32_t{__half_as_ushort(product.y)} << 16;
  }
};
// Both scaled and rounded once.
template <typename T>
__device__ inline uint32_t ScalePair(uint32_t bits, float scale) {
  using Pair = ElementPair<T>;
  return Pair::Bits(__fmul_rn(Pair::Low(bits), scale)) |
         Pair::Bits(__fmul_rn(Pair::High(bits), scale)) << 16;
}

template <typename T>
__device__ inline T FromFloat(float value) {
  if constexpr (sizeof(T) == 4) {
    return value;
  } else if constexpr (std::is_same_v<T, __half>) {
    return __float2half_rn(value);
  } else {
    return __float2bfloat16_rn(value);
  }
}

// As runtime/cpu/activation-inl.h.
__device__ inline float Activate(int activation, float x) {
  float scaled = x;
  switch (static_cast<Activation>(activation)) {
    case Activation::kRelu:
      return fmaxf(x, 0.0f);
    case Activation::kGelu:
      return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
    case Activation::kGeluTanh:
      scaled = 1.5957691216057308f * fmaf(x * x * x, 0.044715f, x);
      break;
    case Activation::kSilu:
    case Activation::kClampedSwiglu:  // not on GPUs: WhyCpuOnly
    case Activation::kReluSquared:    // nor these
    case Activation::kLimitedSwiglu:
    case Activation::kCappedSwiglu:
    case Activation::kSoftcappedSwiglu:
      break;
  }
  return x / (1.0f + expf(-scaled));
}

// Tile `index` of a task whose tiles have `tokens` positions; a count of 0: nothing to do.
__device__ inline ExpertTile TileOf(const ProductTask& task, int index, int tokens) {
  if (task.tiles == nullptr) {
    const int first = index * tokens;
    return {0, first, min(tokens, task.rows - first)};
  }
  if (index >= *task.tile_count) return {0, 0, 0};
  return task.tiles[index];
}

// Row of x that a position reads.
__device__ inline int InputRow(const ProductTask& task, int position) {
  return task.gather ? task.choices[position] / task.choices_per_row : position;
}
__device__ inline int OutputRow(const ProductTask& task, int position) {
  return task.scatter ? task.choices[position] : position;
}
__device__ inline float RowScale(const ProductTask& task, int position) {
  return task.row_weight == nullptr ? 1.0f : task.row_weight[task.choices[position]];
}

template <typename T>
__device__ inline void StoreElement(const ProductTask& task, int64_t index, float value) {
  if (task.out_float) {
    static_cast<float*>(task.out)[index] = value;
  } else {
    static_cast<T*>(task.out)[index] = FromFloat<T>(value);
  }
}

// Sums of rows `row` and `row` + 8 of w (row % 16 < 8) for one position: a gate and its up value,
// or two values. T: the type of x.
template <typename T>
__device__ inline void StoreTwoRows(const ProductTask& task, int out_row, int row, float low,
                                    float high) {
  const int64_t base = out_row * task.out_stride;
  if (task.gated) {
    if (row >= task.n) return;
    StoreElement<T>(task, base + row / 16 * 8 + row % 8, Activate(task.activation, low) * high);
    return;
  }
  if (task.bias != nullptr) {
    if (row < task.n) low += task.bias[row];
    if (row + 8 < task.n) high += task.bias[row + 8];
  }
  if (row < task.n) StoreElement<T>(task, base + row, low);
  if (row + 8 < task.n) StoreElement<T>(task, base + row + 8, high);
}

}  // namespace folkmoot::cuda
