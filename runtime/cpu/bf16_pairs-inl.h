// SPDX-License-Identifier: Apache-2.0
// Products of pairs of bfloat16 in words of 32 bits, which pass for floats.
#include "runtime/cpu/simd-inl.h"

#if defined(FOLKMOOT_RUNTIME_CPU_BF16_PAIRS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOLKMOOT_RUNTIME_CPU_BF16_PAIRS_INL_H_
#undef FOLKMOOT_RUNTIME_CPU_BF16_PAIRS_INL_H_
#else
#define FOLKMOOT_RUNTIME_CPU_BF16_PAIRS_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace folkmoot::cpu {
namespace HWY_NAMESPACE {

// Whether vdpbf16ps is there. Highway 1.0 has no target for it, so the processor is asked.
inline bool HasBf16Products() {
#if HWY_TARGET == HWY_AVX3_DL
  static const bool has = __builtin_cpu_supports("avx512bf16") != 0;
  return has;
#else
  return false;
#endif
}

// The odd halves first, then the even ones, each a fused multiply-add: the order of vdpbf16ps, kept
// on every instruction set. That instruction takes subnormal numbers for zero, what it adds and
// sums among them; in nothing else do they differ.
template <bool kNative>
HWY_INLINE VF AddBf16Pairs(VF x, VF w, VF sum) {
#if HWY_TARGET == HWY_AVX3_DL
  if constexpr (kNative) {
    asm("vdpbf16ps %2, %1, %0" : "+v"(sum.raw) : "v"(w.raw), "v"(x.raw));
    return sum;
  }
#endif
  const auto odd = [](VF v) HWY_ATTR {
    return hn::BitCast(DF(), hn::And(hn::BitCast(DU(), v), hn::Set(DU(), 0xffff0000u)));
  };
  const auto even = [](VF v) HWY_ATTR {
    return hn::BitCast(DF(), hn::ShiftLeft<16>(hn::BitCast(DU(), v)));
  };
  return Fma(even(x), even(w), Fma(odd(x), odd(w), sum));
}

}  // namespace HWY_NAMESPACE
}  // namespace folkmoot::cpu
HWY_AFTER_NAMESPACE();
#endif  // FOLKMOOT_RUNTIME_CPU_BF16_PAIRS_INL_H_
