// SPDX-License-Identifier: Apache-2.0
// Codes as pairs of 16-bit integers, or as four bytes, in words of 32 bits, and sums of their
// products: what code_kernel-inl.h is made of.
#include <cstdint>

#include "runtime/cpu/code_panel.h"
#include "runtime/cpu/simd-inl.h"

#if defined(FOLKMOOT_RUNTIME_CPU_CODE_PAIRS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOLKMOOT_RUNTIME_CPU_CODE_PAIRS_INL_H_
#undef FOLKMOOT_RUNTIME_CPU_CODE_PAIRS_INL_H_
#else
#define FOLKMOOT_RUNTIME_CPU_CODE_PAIRS_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace folkmoot::cpu {
namespace HWY_NAMESPACE {

using VI = hn::Vec<DI>;

HWY_INLINE VF LoadScale(DType type, const std::byte* scales, int64_t column) {
  if (type == DType::kF16) return LoadF16(reinterpret_cast<const uint16_t*>(scales) + column);
  return hn::Load(DF(), reinterpret_cast<const float*>(scales) + column);
}

// Words of two 16-bit halves. AddPairs is sum + low * low + high * high; EvenBytes makes halves of
// bytes 0 and 2 of each word, OddBytes of bytes 1 and 3; NibbleHalves<p> makes halves of nibbles p
// and p + 4, Fp4Halves<p> of the E2M1 codes that they are, doubled to integers.
#if HWY_TARGET == HWY_SCALAR
HWY_INLINE int32_t Halves(int32_t low, int32_t high) {
  return static_cast<int32_t>((static_cast<uint32_t>(low) & 0xffff) | static_cast<uint32_t>(high)
                                                                          << 16);
}
HWY_INLINE VI AddPairs(VI sum, VI w, VI x) {
  const auto low = [](VI v) { return static_cast<int32_t>(static_cast<int16_t>(v.raw)); };
  return VI(sum.raw + low(w) * low(x) + (w.raw >> 16) * (x.raw >> 16));
}
HWY_INLINE VI EvenBytes(VI v) {
  return VI(Halves(static_cast<int8_t>(v.raw), static_cast<int8_t>(v.raw >> 16)));
}
HWY_INLINE VI OddBytes(VI v) { return EvenBytes(VI(v.raw >> 8)); }
template <int kPair>
HWY_INLINE VI NibbleHalves(VI v) {
  return VI((v.raw >> (4 * kPair)) & 0x000f000f);
}
template <int kPair>
HWY_INLINE VI Fp4Halves(VI v) {
  const auto number = [&](int nibble) {
    constexpr int32_t kTwice[8] = {0, 1, 2, 3, 4, 6, 8, 12};
    const auto code = static_cast<uint32_t>(v.raw) >> (4 * nibble) & 15;
    return (code & 8) != 0 ? -kTwice[code & 7] : kTwice[code & 7];
  };
  return VI(Halves(number(kPair), number(kPair + 4)));
}
#else
using D16 = hn::Repartition<int16_t, DI>;
HWY_INLINE VI AddPairs(VI sum, VI w, VI x) {
  [[maybe_unused]] const DI d;
#if HWY_TARGET == HWY_AVX3_DL
  // One instruction for the product and the addition; Highway 1.0 has no name for it.
  asm("vpdpwssd %2, %1, %0" : "+v"(sum.raw) : "v"(w.raw), "v"(x.raw));
  return sum;
#elif HWY_ARCH_X86 && HWY_TARGET != HWY_EMU128
  VI unused = hn::Zero(d);
  sum = hn::ReorderWidenMulAccumulate(d, hn::BitCast(D16(), w), hn::BitCast(D16(), x), sum, unused);
  asm("" : "+v"(sum.raw));  // else GCC adds products in trees, for which there are no registers
  return sum;
#else
  const auto low = [](VI v) HWY_ATTR { return hn::ShiftRight<16>(hn::ShiftLeft<16>(v)); };
  sum = hn::Add(sum, hn::Mul(low(w), low(x)));
  return hn::Add(sum, hn::Mul(hn::ShiftRight<16>(w), hn::ShiftRight<16>(x)));
#endif
}
HWY_INLINE VI EvenBytes(VI v) {
  return hn::BitCast(DI(), hn::ShiftRight<8>(hn::ShiftLeft<8>(hn::BitCast(D16(), v))));
}
HWY_INLINE VI OddBytes(VI v) { return hn::BitCast(DI(), hn::ShiftRight<8>(hn::BitCast(D16(), v))); }
template <int kPair>
HWY_INLINE VI NibbleHalves(VI v) {
  const DI d;
  if constexpr (kVector == 8) {  // two shifts: the sums of a tile leave no register for a mask
    const hn::Repartition<uint16_t, DI> d16;
    const auto halves = hn::ShiftLeft<12 - 4 * kPair>(hn::BitCast(d16, v));
    return hn::BitCast(d, hn::ShiftRight<12>(halves));
  }
  return hn::And(hn::ShiftRight<4 * kPair>(v), hn::Set(d, 0x000f000f));
}
template <int kPair>
HWY_INLINE VI Fp4Halves(VI v) {
  const DI d;
  const hn::Repartition<int8_t, DI> d8;
  HWY_ALIGN static constexpr int8_t kTwice[16] = {0, 1,  2,  3,  4,  6,  8,  12,
                                                  0, -1, -2, -3, -4, -6, -8, -12};
  // The code goes to the upper byte of its half, where what it looks up keeps its sign; the lower
  // byte looks up zero.
  VI codes = v;
  if constexpr (kPair < 2) codes = hn::ShiftLeft<8 - 4 * kPair>(v);
  if constexpr (kPair > 2) codes = hn::ShiftRight<4 * kPair - 8>(v);
  codes = hn::And(codes, hn::Set(d, 0x0f000f00));
  const auto found = hn::TableLookupBytes(hn::LoadDup128(d8, kTwice), hn::BitCast(d8, codes));
  return hn::BitCast(d, hn::ShiftRight<8>(hn::BitCast(D16(), found)));
}
#endif

// How a step of codes, one word per output, turns into words that rows are multiplied with. Part<p>
// is k + 2 p and k + 2 p + 1 of the step, for the outputs of one vector.
struct Pairs {
  static constexpr int64_t kWords = 1;     // per step and output
  static constexpr int64_t kRowBytes = 2;  // per k
  static HWY_INLINE VI Add(VI sum, VI w, VI x) { return AddPairs(sum, w, x); }
};
struct Int8Codes : Pairs {
  static constexpr int64_t kStep = 4;  // k per word
  static constexpr int kParts = 2;
  static constexpr int32_t kZero = 0;  // subtracted from each integer
  template <int kPart>
  static HWY_INLINE VI Part(const int32_t* word) {
    const VI v = hn::Load(DI(), word);
    return kPart == 0 ? EvenBytes(v) : OddBytes(v);
  }
};

template <int32_t kZeroCode>
struct Int4Codes : Pairs {
  static constexpr int64_t kStep = 8;
  static constexpr int kParts = 4;
  static constexpr int32_t kZero = kZeroCode;
  template <int kPart>
  static HWY_INLINE VI Part(const int32_t* word) {
    return NibbleHalves<kPart>(hn::Load(DI(), word));
  }
};

struct Fp4Codes : Pairs {
  static constexpr int64_t kStep = 8;
  static constexpr int kParts = 4;
  static constexpr int32_t kZero = 0;
  template <int kPart>
  static HWY_INLINE VI Part(const int32_t* word) {
    return Fp4Halves<kPart>(hn::Load(DI(), word));
  }
};

struct AsPairs {
  using Int8 = Int8Codes;
  template <int32_t kZeroCode>
  using Int4 = Int4Codes<kZeroCode>;
  using Fp4 = Fp4Codes;
};

// The same as unsigned bytes, four k to a part, beside rows of signed ones. The order of k in a
// part follows from the words: product_rows.cc stores rows in it.
#if HWY_TARGET == HWY_AVX3_DL
struct Bytes {
  static constexpr int64_t kRowBytes = 1;
  static HWY_INLINE VI Add(VI sum, VI w, VI x) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sum.raw) : "v"(w.raw), "v"(x.raw));
    return sum;
  }
};
struct Int8Bytes : Bytes {
  static constexpr int64_t kStep =
      8;  // two words: GCC keeps sums in memory when a step has one part
  static constexpr int64_t kWords = 2;
  static constexpr int kParts = 2;  // k + 0, 2, 1, 3 of a word each
  static constexpr int32_t kZero = 128;
  template <int kPart>
  static HWY_INLINE VI Part(const int32_t* word) {
    const DI d;
    return hn::Xor(hn::Load(d, word + kPart * CodePanelShape::kCols),
                   hn::Set(d, static_cast<int32_t>(0x80808080u)));
  }
};
template <int32_t kZeroCode>
struct Int4Bytes : Bytes {
  static constexpr int64_t kStep = 8;
  static constexpr int64_t kWords = 1;
  static constexpr int kParts = 2;  // k + 0, 4, 1, 5 and k + 2, 6, 3, 7
  static constexpr int32_t kZero = kZeroCode;
  template <int kPart>
  static HWY_INLINE VI Part(const int32_t* word) {
    const DI d;
    return hn::And(hn::ShiftRight<4 * kPart>(hn::Load(d, word)), hn::Set(d, 0x0f0f0f0f));
  }
};
struct Fp4Bytes : Int4Bytes<12> {
  template <int kPart>
  static HWY_INLINE VI Part(const int32_t* word) {
    const DI d;
    const hn::Repartition<int8_t, DI> d8;
    HWY_ALIGN static constexpr int8_t kTwicePlus12[16] = {12, 13, 14, 15, 16, 18, 20, 24,
                                                          12, 11, 10, 9,  8,  6,  4,  0};
    const auto codes = hn::BitCast(d8, Int4Bytes<12>::Part<kPart>(word));
    return hn::BitCast(d, hn::TableLookupBytes(hn::LoadDup128(d8, kTwicePlus12), codes));
  }
};
struct AsBytes {
  using Int8 = Int8Bytes;
  template <int32_t kZeroCode>
  using Int4 = Int4Bytes<kZeroCode>;
  using Fp4 = Fp4Bytes;
};
#endif

}  // namespace HWY_NAMESPACE
}  // namespace folkmoot::cpu
HWY_AFTER_NAMESPACE();
#endif  // FOLKMOOT_RUNTIME_CPU_CODE_PAIRS_INL_H_
