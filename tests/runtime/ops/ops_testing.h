// SPDX-License-Identifier: Apache-2.0
// What the tests of the kernels share: random data, exact comparison, and running a body on every
// instruction set that this machine has.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <random>
#include <vector>

#define HWY_WANT_AVX3_DL
#include "runtime/cpu/targets.h"
#include "runtime/cpu/tile_registers.h"
//
#include "hwy/highway.h"
#include "runtime/dtype.h"
#include "runtime/ops/gemm.h"
#include "runtime/tensor.h"

namespace folkmoot {

// Floats in (-1, 1) from a seed.
inline std::vector<float> RandomFloats(int64_t count, uint32_t seed) {
  std::minstd_rand generator(seed + 1);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) {
    v = static_cast<float>(static_cast<int64_t>(generator() % 2000001) - 1000000) * 1e-6f;
  }
  return values;
}

// A matrix [n, k] in the bytes of `dtype`, and its values widened.
struct RandomWeight {
  RandomWeight(DType dtype_in, int64_t n_in, int64_t k_in, uint32_t seed)
      : dtype(dtype_in), n(n_in), k(k_in), wide(RandomFloats(n_in * k_in, seed)) {
    for (float& v : wide) {
      if (dtype == DType::kF32) continue;
      bits.push_back(dtype == DType::kBF16 ? FloatToBF16(v) : FloatToF16(v));
      v = dtype == DType::kBF16 ? BF16ToFloat(bits.back()) : F16ToFloat(bits.back());
    }
  }
  WeightView view() const {
    return {dtype == DType::kF32 ? static_cast<const void*>(wide.data()) : bits.data(), dtype, n,
            k};
  }
  float at(int64_t row, int64_t column) const {
    return wide[static_cast<size_t>(row * k + column)];
  }

  DType dtype;
  int64_t n;
  int64_t k;
  std::vector<float> wide;
  std::vector<uint16_t> bits;
};

inline ConstMatrix AsMatrix(const std::vector<float>& values, int64_t rows, int64_t cols) {
  FM_CHECK(static_cast<int64_t>(values.size()) >= rows * cols);
  return {values.data(), rows, cols};
}
inline Matrix AsMatrix(std::vector<float>& values, int64_t rows, int64_t cols) {
  FM_CHECK(static_cast<int64_t>(values.size()) >= rows * cols);
  return {values.data(), rows, cols};
}

// The bits and not the values: -0 and NaN count.
inline std::vector<uint32_t> Bits(const std::vector<float>& values) {
  std::vector<uint32_t> bits;
  for (const float v : values) bits.push_back(std::bit_cast<uint32_t>(v));
  return bits;
}

// Calls body() once per instruction set that was compiled and that this machine runs.
template <typename F>
void ForEachTarget(F body) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    body();
    if (target != HWY_AVX3_DL || !cpu::HasTileRegisters()) continue;
    SCOPED_TRACE("without tile registers");
    cpu::AllowTileRegisters(false);
    body();
    cpu::AllowTileRegisters(true);
  }
  hwy::SetSupportedTargetsForTest(0);
}

}  // namespace folkmoot
