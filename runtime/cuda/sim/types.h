// SPDX-License-Identifier: Apache-2.0
// CUDA's vector and 16-bit float types for the simulator, under CUDA's names, sizes and alignments.
#pragma once

#include <bit>
#include <cstdint>

#include "runtime/dtype.h"

// NOLINTBEGIN(readability-identifier-naming,bugprone-reserved-identifier,google-explicit-constructor):
// the names are CUDA's.

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3() = default;
  constexpr dim3(unsigned vx, unsigned vy = 1, unsigned vz = 1) : x(vx), y(vy), z(vz) {}
};

#define FM_SIM_VECTOR2(name, type, bytes) \
  struct alignas(bytes) name {            \
    type x, y;                            \
  };                                      \
  constexpr name make_##name(type x, type y) { return {x, y}; }
#define FM_SIM_VECTOR4(name, type, bytes) \
  struct alignas(bytes) name {            \
    type x, y, z, w;                      \
  };                                      \
  constexpr name make_##name(type x, type y, type z, type w) { return {x, y, z, w}; }
FM_SIM_VECTOR2(char2, signed char, 2)
FM_SIM_VECTOR2(uchar2, unsigned char, 2)
FM_SIM_VECTOR2(short2, int16_t, 4)
FM_SIM_VECTOR2(ushort2, uint16_t, 4)
FM_SIM_VECTOR2(int2, int, 8)
FM_SIM_VECTOR2(uint2, unsigned, 8)
FM_SIM_VECTOR2(float2, float, 8)
FM_SIM_VECTOR2(double2, double, 16)
FM_SIM_VECTOR2(longlong2, long long, 16)
FM_SIM_VECTOR2(ulonglong2, unsigned long long, 16)
FM_SIM_VECTOR4(char4, signed char, 4)
FM_SIM_VECTOR4(uchar4, unsigned char, 4)
FM_SIM_VECTOR4(short4, int16_t, 8)
FM_SIM_VECTOR4(ushort4, uint16_t, 8)
FM_SIM_VECTOR4(int4, int, 16)
FM_SIM_VECTOR4(uint4, unsigned, 16)
FM_SIM_VECTOR4(float4, float, 16)
#undef FM_SIM_VECTOR2
#undef FM_SIM_VECTOR4

namespace folkmoot::cuda::sim {

// As __float2bfloat16_rn: to nearest, ties to even; NaN becomes 0x7fff.
inline uint16_t BF16Bits(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

}  // namespace folkmoot::cuda::sim

struct __nv_bfloat16 {
  uint16_t bits;
  __nv_bfloat16() = default;
  __nv_bfloat16(float value) : bits(folkmoot::cuda::sim::BF16Bits(value)) {}
  operator float() const { return folkmoot::BF16ToFloat(bits); }
};
struct __half {
  uint16_t bits;
  __half() = default;
  __half(float value) : bits(folkmoot::FloatToF16(value)) {}
  operator float() const { return folkmoot::F16ToFloat(bits); }
};
struct alignas(4) __nv_bfloat162 {
  __nv_bfloat16 x, y;
};
struct alignas(4) __half2 {
  __half x, y;
};
using nv_bfloat16 = __nv_bfloat16;
using nv_bfloat162 = __nv_bfloat162;
using half = __half;
using half2 = __half2;

// The functions of cuda_bf16.h and cuda_fp16.h, written once for both types.
#define FM_SIM_HALF(T, T2, word, words, as)                                              \
  inline T __float2##word(float a) { return T(a); }                                      \
  inline T __float2##word##_rn(float a) { return T(a); }                                 \
  inline T __double2##word(double a) { return T(static_cast<float>(a)); }                \
  inline float __##word##2float(T a) { return static_cast<float>(a); }                   \
  inline T2 __float2##words##_rn(float a) { return {T(a), T(a)}; }                       \
  inline T2 __floats2##words##_rn(float a, float b) { return {T(a), T(b)}; }             \
  inline T2 __float22##words##_rn(float2 a) { return {T(a.x), T(a.y)}; }                 \
  inline float2 __##words##2float2(T2 a) {                                               \
    return {static_cast<float>(a.x), static_cast<float>(a.y)};                           \
  }                                                                                      \
  inline T2 __##word##2##words(T a) { return {a, a}; }                                   \
  inline T2 __halves2##words(T a, T b) { return {a, b}; }                                \
  inline float __low2float(T2 a) { return static_cast<float>(a.x); }                     \
  inline float __high2float(T2 a) { return static_cast<float>(a.y); }                    \
  inline uint16_t __##as##_as_ushort(T a) { return a.bits; }                             \
  inline T __ushort_as_##as(uint16_t bits) { return std::bit_cast<T>(bits); }            \
  inline T __hadd(T a, T b) { return T(static_cast<float>(a) + static_cast<float>(b)); } \
  inline T __hsub(T a, T b) { return T(static_cast<float>(a) - static_cast<float>(b)); } \
  inline T __hmul(T a, T b) { return T(static_cast<float>(a) * static_cast<float>(b)); } \
  inline T2 __hadd2(T2 a, T2 b) { return {__hadd(a.x, b.x), __hadd(a.y, b.y)}; }         \
  inline T2 __hsub2(T2 a, T2 b) { return {__hsub(a.x, b.x), __hsub(a.y, b.y)}; }         \
  inline T2 __hmul2(T2 a, T2 b) { return {__hmul(a.x, b.x), __hmul(a.y, b.y)}; }
FM_SIM_HALF(__nv_bfloat16, __nv_bfloat162, bfloat16, bfloat162, bfloat16)
FM_SIM_HALF(__half, __half2, half, half2, half)
#undef FM_SIM_HALF

// NOLINTEND(readability-identifier-naming,bugprone-reserved-identifier,google-explicit-constructor)
