// SPDX-License-Identifier: Apache-2.0
// Random matrices in the element types of the device, for tests of its matrix products.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "runtime/check.h"
#include "runtime/cuda/views.h"
#include "runtime/dtype.h"
#include "runtime/quant/code_matrix.h"
#include "tests/runtime/cuda/cuda_testing.h"

namespace folkmoot::cuda {

inline float RoundTo(DType dtype, float value) {
  if (dtype == DType::kBF16) return BF16ToFloat(FloatToBF16(value));
  if (dtype == DType::kF16) return F16ToFloat(FloatToF16(value));
  return value;
}

// The bytes of `values` as `dtype`.
inline std::vector<uint8_t> Encode(DType dtype, const std::vector<float>& values) {
  std::vector<uint8_t> bytes(values.size() * static_cast<size_t>(DTypeBytes(dtype)));
  for (size_t i = 0; i < values.size(); ++i) {
    if (dtype == DType::kF32) {
      std::memcpy(&bytes[4 * i], &values[i], 4);
    } else {
      const uint16_t bits = dtype == DType::kBF16 ? FloatToBF16(values[i]) : FloatToF16(values[i]);
      std::memcpy(&bytes[2 * i], &bits, 2);
    }
  }
  return bytes;
}

inline std::vector<float> Decode(DType dtype, const std::vector<uint8_t>& bytes) {
  std::vector<float> values(bytes.size() / static_cast<size_t>(DTypeBytes(dtype)));
  for (size_t i = 0; i < values.size(); ++i) {
    if (dtype == DType::kF32) {
      std::memcpy(&values[i], &bytes[4 * i], 4);
    } else {
      uint16_t bits = 0;
      std::memcpy(&bits, &bytes[2 * i], 2);
      values[i] = dtype == DType::kBF16 ? BF16ToFloat(bits) : F16ToFloat(bits);
    }
  }
  return values;
}

// [rows, cols] on the host, without gaps, of numbers that `dtype` can hold.
struct HostMatrix {
  int64_t rows = 0;
  int64_t cols = 0;
  std::vector<float> values;
  // Where it is made of codes: values[r, c] = number of codes[r, c] * scales[r, c / 128].
  std::vector<uint8_t> codes;
  std::vector<float> scales;

  float at(int64_t r, int64_t c) const { return values[static_cast<size_t>(r * cols + c)]; }
};

inline HostMatrix RandomMatrix(DType dtype, int64_t rows, int64_t cols, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, 1.0f);
  HostMatrix matrix{rows, cols, std::vector<float>(static_cast<size_t>(rows * cols))};
  for (float& value : matrix.values) value = RoundTo(dtype, normal(random));
  return matrix;
}

// Of E4M3 codes, NaN left out, with scales as weights have them.
inline HostMatrix RandomCodes(int64_t rows, int64_t cols, uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(0.0005f, 0.005f);
  HostMatrix matrix{.rows = rows, .cols = cols};
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) {
      if (c % 128 == 0) matrix.scales.push_back(uniform(random));
      auto code = static_cast<uint8_t>(random());
      if ((code & 0x7f) == 0x7f) code = 0;
      matrix.codes.push_back(code);
      matrix.values.push_back(CodeNumber(CodeType::kFp8, code) * matrix.scales.back());
    }
  }
  return matrix;
}

inline MatrixRef RefOf(const Memory& memory, DType dtype, int64_t rows, int64_t cols) {
  return {memory.data(), dtype, rows, cols, cols};
}

}  // namespace folkmoot::cuda
