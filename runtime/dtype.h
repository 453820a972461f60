// SPDX-License-Identifier: Apache-2.0
// Element types of tensors on disk and in memory, and conversions of the 16-bit floats.
#pragma once

#include <bit>
#include <cstdint>
#include <string_view>

namespace folkmoot {

// The types that a safetensors file can name. Kernels compute in kF32 and read plain weights as
// kF32, kBF16 or kF16. Quantised ones have codes and what belongs to them in kF8E4M3, kF8E8M0,
// kI64, kI32, kI8 and kU8 too; the others are carried so that a file that holds them can be
// described.
enum class DType : uint8_t {
  kF64,
  kF32,
  kF16,
  kBF16,
  kF8E4M3,
  kF8E5M2,
  kF8E8M0,
  kI64,
  kI32,
  kI16,
  kI8,
  kU8,
  kBool
};

int64_t DTypeBytes(DType dtype);
std::string_view DTypeName(DType dtype);  // as safetensors spells it: "F32", "BF16", ...

inline float BF16ToFloat(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}
// Round to nearest, ties to even; NaN stays NaN.
uint16_t FloatToBF16(float value);
float F16ToFloat(uint16_t bits);
uint16_t FloatToF16(float value);

// Element i of an array of kF32, kBF16 or kF16, widened or rounded.
inline float LoadElement(const void* data, DType dtype, int64_t i) {
  if (dtype == DType::kF32) return static_cast<const float*>(data)[i];
  const uint16_t bits = static_cast<const uint16_t*>(data)[i];
  return dtype == DType::kBF16 ? BF16ToFloat(bits) : F16ToFloat(bits);
}
inline void StoreElement(float value, void* data, DType dtype, int64_t i) {
  if (dtype == DType::kF32) {
    static_cast<float*>(data)[i] = value;
  } else {
    static_cast<uint16_t*>(data)[i] =
        dtype == DType::kBF16 ? FloatToBF16(value) : FloatToF16(value);
  }
}

}  // namespace folkmoot
