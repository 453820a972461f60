// SPDX-License-Identifier: Apache-2.0
// Elementary functions with the same bits on every CPU and GPU, for decisions that several devices
// take alike (layers/gates, runtime/cuda/routing). They consist of IEEE 754 additions,
// multiplications and divisions in double, each rounded once, in a written order: no libm, whose
// results differ by version, and no fused multiply-add. Errors stay below one unit in the last
// place; subnormal numbers, infinities and NaN are handled.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "runtime/host_device.h"

namespace folkmoot::exact {

// One operation, one rounding. nvcc would otherwise contract a product and a sum; host code is
// compiled with -ffp-contract=off.
#ifdef __CUDA_ARCH__
__device__ inline double Add(double a, double b) { return __dadd_rn(a, b); }
__device__ inline double Sub(double a, double b) { return __dadd_rn(a, -b); }
__device__ inline double Mul(double a, double b) { return __dmul_rn(a, b); }
__device__ inline double Div(double a, double b) { return __ddiv_rn(a, b); }
__device__ inline double Sqrt(double a) { return __dsqrt_rn(a); }
#else
FOLKMOOT_HOST_DEVICE inline double Add(double a, double b) { return a + b; }
FOLKMOOT_HOST_DEVICE inline double Sub(double a, double b) { return a - b; }
FOLKMOOT_HOST_DEVICE inline double Mul(double a, double b) { return a * b; }
FOLKMOOT_HOST_DEVICE inline double Div(double a, double b) { return a / b; }
FOLKMOOT_HOST_DEVICE inline double Sqrt(double a) { return std::sqrt(a); }
#endif

// The larger of two numbers, the first if they are equal; not for NaN.
FOLKMOOT_HOST_DEVICE inline double Max(double a, double b) { return a < b ? b : a; }

namespace internal {

// ln 2 in two parts; the first has 21 trailing zeros, so that k * kLn2High is exact for any
// exponent k.
inline constexpr double kLn2High = 0x1.62e42feep-1;
inline constexpr double kLn2Low = 0x1.a39ef35793c76p-33;
inline constexpr double kInverseLn2 = 0x1.71547652b82fep+0;

// 2^k for -1022 <= k <= 1023.
FOLKMOOT_HOST_DEVICE inline double PowerOf2(int k) {
  return std::bit_cast<double>(static_cast<uint64_t>(k + 1023) << 52);
}

// A positive normal number as 2^exponent * (1 + fraction), sqrt(1/2) <= 1 + fraction < sqrt(2).
struct SplitNumber {
  int exponent;
  double fraction;
};
FOLKMOOT_HOST_DEVICE inline SplitNumber Split(double x) {
  constexpr uint64_t kRootOfHalf = 0x3fe6a09e667f3bcd;
  const auto bits = std::bit_cast<uint64_t>(x);
  const int64_t exponent = static_cast<int64_t>(bits - kRootOfHalf) >> 52;
  const auto mantissa = std::bit_cast<double>(bits - (static_cast<uint64_t>(exponent) << 52));
  return {static_cast<int>(exponent), Sub(mantissa, 1.0)};
}

// k ln 2 + log(1 + f) + correction. With s = f / (2 + f), log(1 + f) = 2 atanh(s) = 2 s + s R,
// R = sum over n >= 1 of 2 s^2n / (2n + 1); and 2 s = f - s f = f - h + s h for h = f^2 / 2, which
// leaves the exact f for the last step.
FOLKMOOT_HOST_DEVICE inline double LogOfSplit(const SplitNumber& number, double correction) {
  const double f = number.fraction;
  const double k = number.exponent;
  const double half_square = Mul(0.5, Mul(f, f));
  const double s = Div(f, Add(2.0, f));
  const double z = Mul(s, s);
  double r = 2.0 / 21;
  r = Add(2.0 / 19, Mul(z, r));
  r = Add(2.0 / 17, Mul(z, r));
  r = Add(2.0 / 15, Mul(z, r));
  r = Add(2.0 / 13, Mul(z, r));
  r = Add(2.0 / 11, Mul(z, r));
  r = Add(2.0 / 9, Mul(z, r));
  r = Add(2.0 / 7, Mul(z, r));
  r = Add(2.0 / 5, Mul(z, r));
  r = Add(2.0 / 3, Mul(z, r));
  r = Mul(z, r);
  const double low = Add(Mul(k, kLn2Low), correction);
  const double small = Sub(half_square, Add(Mul(s, Add(half_square, r)), low));
  return Sub(Mul(k, kLn2High), Sub(small, f));
}

}  // namespace internal

// Exp where it is a positive finite number, without a branch: -745.2 <= x <= 709.79. x = k ln 2 + r
// with |r| <= 0.35, and the power series of e^r to r^13.
FOLKMOOT_HOST_DEVICE inline double ExpInRange(double x) {
  const double scaled = Mul(x, internal::kInverseLn2);
  const int k = static_cast<int>(Add(scaled, scaled < 0 ? -0.5 : 0.5));
  const double high = Sub(x, Mul(k, internal::kLn2High));
  const double low = Mul(k, internal::kLn2Low);
  const double r = Sub(high, low);
  const double lost = Sub(Sub(high, r), low);
  double q = 1.0 / 6227020800;  // 1 / 13!
  q = Add(1.0 / 479001600, Mul(r, q));
  q = Add(1.0 / 39916800, Mul(r, q));
  q = Add(1.0 / 3628800, Mul(r, q));
  q = Add(1.0 / 362880, Mul(r, q));
  q = Add(1.0 / 40320, Mul(r, q));
  q = Add(1.0 / 5040, Mul(r, q));
  q = Add(1.0 / 720, Mul(r, q));
  q = Add(1.0 / 120, Mul(r, q));
  q = Add(1.0 / 24, Mul(r, q));
  q = Add(1.0 / 6, Mul(r, q));
  q = Add(0.5, Mul(r, q));
  const double y = Add(1.0, Add(r, Add(lost, Mul(Mul(r, r), q))));
  // In two steps, because 2^k alone may be out of range; only the second can round.
  const int half = k / 2;
  return Mul(Mul(y, internal::PowerOf2(half)), internal::PowerOf2(k - half));
}

// e^x
FOLKMOOT_HOST_DEVICE inline double Exp(double x) {
  if (x != x) return x;
  if (x > 709.79) return std::numeric_limits<double>::infinity();
  if (x < -745.2) return 0.0;
  return ExpInRange(x);
}

// Exp for x <= 0, without a branch: threads of a GPU can work on several at a time.
FOLKMOOT_HOST_DEVICE inline double ExpOfNegative(double x) {
  const double y = ExpInRange(Max(x, -745.2));
  return x < -745.2 ? 0.0 : y;
}

// Natural logarithm; -infinity at 0, NaN below.
FOLKMOOT_HOST_DEVICE inline double Log(double x) {
  if (x != x || x == std::numeric_limits<double>::infinity()) return x;
  if (x < 0) return std::numeric_limits<double>::quiet_NaN();
  if (x == 0) return -std::numeric_limits<double>::infinity();
  const bool subnormal = x < std::numeric_limits<double>::min();
  internal::SplitNumber number = internal::Split(subnormal ? Mul(x, 0x1p54) : x);
  if (subnormal) number.exponent -= 54;
  return internal::LogOfSplit(number, 0.0);
}

// log(1 + x), accurate also where x is small.
FOLKMOOT_HOST_DEVICE inline double Log1p(double x) {
  if (x != x || x == std::numeric_limits<double>::infinity()) return x;
  if (x < -1) return std::numeric_limits<double>::quiet_NaN();
  if (x == -1) return -std::numeric_limits<double>::infinity();
  if (x > -0x1p-54 && x < 0x1p-54) return x;
  if (x > -0.29 && x < 0.41) return internal::LogOfSplit({0, x}, 0.0);
  const double u = Add(1.0, x);
  // What the rounding of u lost, relative to u.
  const double lost = x > 1 ? Sub(1.0, Sub(u, x)) : Sub(x, Sub(u, 1.0));
  return internal::LogOfSplit(internal::Split(u), Div(lost, u));
}

FOLKMOOT_HOST_DEVICE inline double Sigmoid(double x) {
  if (x >= 0) return Div(1.0, Add(1.0, Exp(-x)));
  const double e = Exp(x);
  return Div(e, Add(1.0, e));
}

// log(1 + e^x)
FOLKMOOT_HOST_DEVICE inline double Softplus(double x) {
  return Add(Max(x, 0.0), Log1p(Exp(x < 0 ? x : -x)));
}

// Standard Gumbel noise of a uniform number on the grid of runtime/random.h; the half step keeps
// both logarithms finite.
FOLKMOOT_HOST_DEVICE inline double Gumbel(double uniform) {
  return -Log(-Log(Add(uniform, 0x1p-25)));
}

}  // namespace folkmoot::exact
