// SPDX-License-Identifier: Apache-2.0
// What all kernels share, compiled once per target. Kernels work on blocks of kLanes floats made of
// as many vectors as the target needs, so lane l of a block always holds element l (mod kLanes) and
// reductions have one order on every instruction set.
#include <cmath>
#include <cstdint>
#include <cstring>

#include "hwy/highway.h"
#include "runtime/dtype.h"

#if defined(FOLKMOOT_RUNTIME_CPU_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOLKMOOT_RUNTIME_CPU_SIMD_INL_H_
#undef FOLKMOOT_RUNTIME_CPU_SIMD_INL_H_
#else
#define FOLKMOOT_RUNTIME_CPU_SIMD_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace folkmoot::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr size_t kLanes = 16;
using DF = hn::CappedTag<float, kLanes>;
using DU = hn::Rebind<uint32_t, DF>;
using DI = hn::Rebind<int32_t, DF>;
using VF = hn::Vec<DF>;
constexpr size_t kVector = hn::MaxLanes(DF());
constexpr size_t kVectors = kLanes / kVector;  // per block

// a * b + c with one rounding.
HWY_INLINE VF Fma(VF a, VF b, VF c) {
#if HWY_NATIVE_FMA
  return hn::MulAdd(a, b, c);
#else
  const DF d;
  HWY_ALIGN float la[kVector], lb[kVector], lc[kVector];
  hn::Store(a, d, la);
  hn::Store(b, d, lb);
  hn::Store(c, d, lc);
  for (size_t i = 0; i < kVector; ++i) lc[i] = std::fma(la[i], lb[i], lc[i]);
  return hn::Load(d, lc);
#endif
}

HWY_INLINE VF LoadF16(const uint16_t* p) {
  const DF d;
#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128
  HWY_ALIGN float wide[kVector];
  for (size_t i = 0; i < kVector; ++i) wide[i] = F16ToFloat(p[i]);
  return hn::Load(d, wide);
#else
  const hn::Rebind<hwy::float16_t, DF> dh;
  const hn::Rebind<uint16_t, DF> du16;
  return hn::PromoteTo(d, hn::BitCast(dh, hn::LoadU(du16, p)));
#endif
}

// e^x: at most 1 ulp or so from the true value; 0 below -104, infinity above 89; NaN stays NaN.
// Range reduction by ln 2 in two parts, then a polynomial (coefficients as in Cephes expf).
HWY_INLINE VF Exp(VF x) {
  const DF d;
  const DI di;
  const VF clamped = hn::Min(hn::Max(x, hn::Set(d, -104.0f)), hn::Set(d, 89.0f));
  const VF magic = hn::Set(d, 12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const VF shifted = Fma(clamped, hn::Set(d, 1.44269504088896341f), magic);
  const auto n = hn::Sub(hn::BitCast(di, shifted), hn::BitCast(di, magic));
  const VF nf = hn::Sub(shifted, magic);
  VF r = Fma(nf, hn::Set(d, -0.693359375f), clamped);
  r = Fma(nf, hn::Set(d, 2.12194440e-4f), r);
  VF p = hn::Set(d, 1.9875691500e-4f);
  p = Fma(p, r, hn::Set(d, 1.3981999507e-3f));
  p = Fma(p, r, hn::Set(d, 8.3334519073e-3f));
  p = Fma(p, r, hn::Set(d, 4.1665795894e-2f));
  p = Fma(p, r, hn::Set(d, 1.6666665459e-1f));
  p = Fma(p, r, hn::Set(d, 5.0000001201e-1f));
  p = Fma(p, hn::Mul(r, r), r);
  p = hn::Add(p, hn::Set(d, 1.0f));
  // 2^n in two factors, since n may leave the range of the exponent at both ends.
  const auto half = hn::ShiftRight<1>(n);
  const auto bias = hn::Set(di, 127);
  const VF f1 = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(half, bias)));
  const VF f2 = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(hn::Sub(n, half), bias)));
  const VF y = hn::Mul(hn::Mul(p, f1), f2);
  const VF bounded = hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -104.0f)), y);
  return hn::IfThenElse(hn::Eq(x, x), bounded, x);
}

// Hyperbolic tangent: 1 - 2 / (e^2x + 1), and near zero, where that cancels, the odd polynomial of
// Cephes' tanhf.
HWY_INLINE VF Tanh(VF x) {
  const DF d;
  const VF one = hn::Set(d, 1.0f);
  const VF power = Exp(hn::Min(hn::Add(x, x), hn::Set(d, 60.0f)));
  const VF far = hn::Sub(one, hn::Div(hn::Set(d, 2.0f), hn::Add(power, one)));
  const VF square = hn::Mul(x, x);
  VF sum = hn::Set(d, -5.70498872745e-3f);
  for (const float next :
       {2.06390887954e-2f, -5.37397155531e-2f, 1.33314422036e-1f, -3.33332819422e-1f}) {
    sum = Fma(sum, square, hn::Set(d, next));
  }
  const VF near = Fma(hn::Mul(sum, square), x, x);
  const VF result = hn::IfThenElse(hn::Lt(hn::Abs(x), hn::Set(d, 0.625f)), near, far);
  return hn::IfThenElse(hn::Eq(x, x), result, x);  // NaN stays
}

// The block of x that starts at p, zero beyond `count` elements.
struct Block {
  VF v[kVectors];
};
HWY_INLINE Block LoadBlock(const float* p) {
  const DF d;
  Block block;
  for (size_t i = 0; i < kVectors; ++i) block.v[i] = hn::LoadU(d, p + i * kVector);
  return block;
}
HWY_INLINE Block LoadBlockN(const float* p, int64_t count) {
  if (count >= static_cast<int64_t>(kLanes)) return LoadBlock(p);
  HWY_ALIGN float padded[kLanes] = {};
  std::memcpy(padded, p, static_cast<size_t>(count) * sizeof(float));
  return LoadBlock(padded);
}
HWY_INLINE void StoreBlockN(const Block& block, float* p, int64_t count) {
  const DF d;
  if (count >= static_cast<int64_t>(kLanes)) {
    for (size_t i = 0; i < kVectors; ++i) hn::StoreU(block.v[i], d, p + i * kVector);
    return;
  }
  HWY_ALIGN float padded[kLanes];
  for (size_t i = 0; i < kVectors; ++i) hn::StoreU(block.v[i], d, padded + i * kVector);
  std::memcpy(p, padded, static_cast<size_t>(count) * sizeof(float));
}
HWY_INLINE Block ZeroBlock() {
  const DF d;
  Block block;
  for (size_t i = 0; i < kVectors; ++i) block.v[i] = hn::Zero(d);
  return block;
}

// Sum of the lanes in one fixed tree: l + (l + 8), then + 4, + 2, + 1.
HWY_INLINE float SumLanes(const Block& block) {
  const DF d;
  HWY_ALIGN float lanes[kLanes];
  for (size_t i = 0; i < kVectors; ++i) hn::StoreU(block.v[i], d, lanes + i * kVector);
  for (size_t width = kLanes / 2; width > 0; width /= 2) {
    for (size_t i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}

}  // namespace HWY_NAMESPACE
}  // namespace folkmoot::cpu
HWY_AFTER_NAMESPACE();
#endif  // FOLKMOOT_RUNTIME_CPU_SIMD_INL_H_
