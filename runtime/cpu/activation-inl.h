// SPDX-License-Identifier: Apache-2.0
// act(gate) * up on vectors, for every Activation.
#include <cmath>

#include "runtime/cpu/simd-inl.h"
#include "runtime/ops/gemm.h"

#if defined(FOLKMOOT_RUNTIME_CPU_ACTIVATION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOLKMOOT_RUNTIME_CPU_ACTIVATION_INL_H_
#undef FOLKMOOT_RUNTIME_CPU_ACTIVATION_INL_H_
#else
#define FOLKMOOT_RUNTIME_CPU_ACTIVATION_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace folkmoot::cpu {
namespace HWY_NAMESPACE {

// x / (1 + e^-(scaled x)): SiLU for scaled = x.
HWY_INLINE VF TimesSigmoid(VF x, VF scaled) {
  const DF d;
  return hn::Div(x, hn::Add(hn::Set(d, 1.0f), Exp(hn::Neg(scaled))));
}

// 0.5 x (1 + tanh(y)) = x sigmoid(2 y), y = sqrt(2 / pi) (x + 0.044715 x^3).
HWY_INLINE VF GeluTanh(VF x) {
  const DF d;
  const VF cube = hn::Mul(hn::Mul(x, x), x);
  const VF y = Fma(cube, hn::Set(d, 0.044715f), x);
  return TimesSigmoid(x, hn::Mul(y, hn::Set(d, 1.5957691216057308f)));
}

HWY_INLINE VF Gelu(VF x) {
  const DF d;
  HWY_ALIGN float lanes[kVector];
  hn::Store(x, d, lanes);
  for (size_t i = 0; i < kVector; ++i) {
    lanes[i] = 0.5f * lanes[i] * (1.0f + std::erf(lanes[i] * 0.70710678118654752f));
  }
  return hn::Load(d, lanes);
}

HWY_INLINE VF Activate(Activation activation, VF x) {
  const DF d;
  switch (activation) {
    case Activation::kGelu:
      return Gelu(x);
    case Activation::kGeluTanh:
      return GeluTanh(x);
    case Activation::kRelu:
      return hn::Max(x, hn::Zero(d));
    case Activation::kReluSquared: {
      const VF positive = hn::Max(x, hn::Zero(d));
      return hn::Mul(positive, positive);
    }
    case Activation::kSilu:
    case Activation::kClampedSwiglu:     // ClampedSwiglu
    case Activation::kLimitedSwiglu:     // LimitedSwiglu
    case Activation::kCappedSwiglu:      // CappedSwiglu
    case Activation::kSoftcappedSwiglu:  // SoftcappedSwiglu
      break;
  }
  return TimesSigmoid(x, x);
}

// Unlike Min and Max, these keep NaN.
HWY_INLINE VF AtMost(VF x, VF top) { return hn::IfThenElse(hn::Gt(x, top), top, x); }
HWY_INLINE VF Within(VF x, float limit) {
  const DF d;
  const VF bottom = hn::Set(d, -limit);
  const VF most = AtMost(x, hn::Set(d, limit));
  return hn::IfThenElse(hn::Lt(most, bottom), bottom, most);
}

HWY_INLINE VF ClampedSwiglu(VF gate, VF up, float limit) {
  const DF d;
  const VF g = AtMost(gate, hn::Set(d, limit));
  const VF u = Within(up, limit);
  return hn::Mul(hn::Add(u, hn::Set(d, 1.0f)), TimesSigmoid(g, hn::Mul(g, hn::Set(d, 1.702f))));
}

HWY_INLINE VF LimitedSwiglu(VF gate, VF up, float limit) {
  return hn::Mul(AtMost(TimesSigmoid(gate, gate), hn::Set(DF(), limit)), Within(up, limit));
}

HWY_INLINE VF CappedSwiglu(VF gate, VF up, float limit) {
  const VF g = AtMost(gate, hn::Set(DF(), limit));
  return hn::Mul(TimesSigmoid(g, g), Within(up, limit));
}

HWY_INLINE VF SoftCapped(VF x, float limit) {
  const VF most = hn::Set(DF(), limit);
  return hn::Mul(most, Tanh(hn::Div(x, most)));
}

HWY_INLINE VF SoftcappedSwiglu(VF gate, VF up, float limit, float up_limit) {
  return hn::Mul(TimesSigmoid(SoftCapped(gate, limit), gate), SoftCapped(up, up_limit));
}

}  // namespace HWY_NAMESPACE
}  // namespace folkmoot::cpu
HWY_AFTER_NAMESPACE();
#endif  // FOLKMOOT_RUNTIME_CPU_ACTIVATION_INL_H_
