// SPDX-License-Identifier: Apache-2.0
// Exponentials of one row of logits. Sums go by lane (index mod 8) in double and end in one tree,
// so they do not depend on the target.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>

#include "runtime/cpu/norm.h"
#include "runtime/cpu/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/softmax.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "runtime/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace folkmoot::cpu {
namespace HWY_NAMESPACE {

constexpr size_t kWide = 8;  // doubles
using DD = hn::CappedTag<double, kWide>;
using DHalf = hn::Rebind<float, DD>;
using DL = hn::Rebind<int64_t, DD>;
using VD = hn::Vec<DD>;
constexpr size_t kWideVector = hn::MaxLanes(DD());
constexpr size_t kWideVectors = kWide / kWideVector;

// e^x for x <= 0, within a few ulp; 0 below -708. Taylor's series after the range reduction, whose
// remainder is below 1e-14 of the value.
HWY_INLINE VD ExpWide(VD x) {
  const DD d;
  const DL dl;
  constexpr double kInverseFactorials[] = {1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320,
                                           1.0 / 5040,     1.0 / 720,     1.0 / 120,    1.0 / 24,
                                           1.0 / 6,        1.0 / 2,       1.0,          1.0};
  const VD clamped = hn::Max(x, hn::Set(d, -708.0));
  const VD magic = hn::Set(d, 6755399441055744.0);  // 1.5 * 2^52: adding it rounds to an integer
  const VD shifted = hn::Add(hn::Mul(clamped, hn::Set(d, 1.4426950408889634)), magic);
  const auto n = hn::Sub(hn::BitCast(dl, shifted), hn::BitCast(dl, magic));
  const VD nf = hn::Sub(shifted, magic);
  VD r = hn::Sub(clamped, hn::Mul(nf, hn::Set(d, 0.693145751953125)));
  r = hn::Sub(r, hn::Mul(nf, hn::Set(d, 1.42860682030941723e-6)));
  VD p = hn::Set(d, kInverseFactorials[0]);
  for (size_t i = 1; i < std::size(kInverseFactorials); ++i) {
    p = hn::Add(hn::Mul(p, r), hn::Set(d, kInverseFactorials[i]));
  }
  const auto power = hn::ShiftLeft<52>(hn::Add(n, hn::Set(dl, 1023)));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -708.0)), hn::Mul(p, hn::BitCast(d, power)));
}

double ExpSum(const float* logits, int64_t count, double top) {
  const DD d;
  const DHalf half;
  VD sums[kWideVectors];
  for (size_t v = 0; v < kWideVectors; ++v) sums[v] = hn::Zero(d);
  HWY_ALIGN float last[kWide];
  for (int64_t i = 0; i < count; i += kWide) {
    const float* block = logits + i;
    if (i + static_cast<int64_t>(kWide) > count) {  // filled up with what adds nothing
      std::fill_n(last, kWide, -std::numeric_limits<float>::infinity());
      std::memcpy(last, block, static_cast<size_t>(count - i) * sizeof(float));
      block = last;
    }
    for (size_t v = 0; v < kWideVectors; ++v) {
      const VD x = hn::PromoteTo(d, hn::LoadU(half, block + v * kWideVector));
      sums[v] = hn::Add(sums[v], ExpWide(hn::Sub(x, hn::Set(d, top))));
    }
  }
  HWY_ALIGN double lanes[kWide];
  for (size_t v = 0; v < kWideVectors; ++v) hn::StoreU(sums[v], d, lanes + v * kWideVector);
  for (size_t width = kWide / 2; width > 0; width /= 2) {
    for (size_t i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}

void ExpRow(const float* logits, int64_t count, float top, float temperature, float* weights) {
  const DF d;
  for (int64_t i = 0; i < count; i += kLanes) {
    Block block = LoadBlockN(logits + i, count - i);
    for (size_t v = 0; v < kVectors; ++v) {
      const VF x = hn::Sub(block.v[v], hn::Set(d, top));
      block.v[v] = Exp(hn::Div(x, hn::Set(d, temperature)));
    }
    StoreBlockN(block, weights + i, count - i);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace folkmoot::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace folkmoot::cpu {
HWY_EXPORT(ExpSum);
HWY_EXPORT(ExpRow);

double LogSumExp(std::span<const float> logits) {
  const double top = logits[static_cast<size_t>(ArgMax(logits))];
  return top + std::log(HWY_DYNAMIC_DISPATCH(ExpSum)(logits.data(),
                                                     static_cast<int64_t>(logits.size()), top));
}

void SoftmaxWeights(std::span<const float> logits, float top, float temperature,
                    std::span<float> weights) {
  HWY_DYNAMIC_DISPATCH(ExpRow)
  (logits.data(), static_cast<int64_t>(logits.size()), top, temperature, weights.data());
}

}  // namespace folkmoot::cpu
#endif  // HWY_ONCE
