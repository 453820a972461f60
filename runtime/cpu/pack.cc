// SPDX-License-Identifier: Apache-2.0
// Packing of weights into panels, once at load time (layouts: runtime/cpu/panel_kernel-inl.h).
#include <algorithm>
#include <cstring>

#include "runtime/cpu/gemm.h"

namespace folkmoot::cpu {
namespace {

constexpr int64_t kPanel = PackedMatrix::kPanel;
constexpr int64_t kBlock = 64;  // values of k whose slice of the panel stays in L1 while it fills

template <typename T>
void PackByK(const PanelPart& part, T* panel) {
  const int64_t k = part.weight.k;
  const T* data = static_cast<const T*>(part.weight.data) + part.first * k;
  for (int64_t first = 0; first < k; first += kBlock) {
    const int64_t last = std::min(first + kBlock, k);
    for (int64_t r = 0; r < part.rows; ++r) {
      T* column = panel + part.column + r;
      for (int64_t i = first; i < last; ++i) column[i * kPanel] = data[r * k + i];
    }
  }
}

// [ceil(k / 2)][32] pairs: on a little-endian machine the low half of a pair is its first element.
void PackPairs(const PanelPart& part, uint16_t* panel) {
  const int64_t k = part.weight.k;
  const auto* data = static_cast<const uint16_t*>(part.weight.data) + part.first * k;
  for (int64_t first = 0; first < k; first += kBlock) {
    const int64_t last = std::min(first + kBlock, k);
    for (int64_t r = 0; r < part.rows; ++r) {
      uint16_t* column = panel + (part.column + r) * 2;
      for (int64_t i = first; i < last; ++i) {
        column[i / 2 * (kPanel * 2) + i % 2] = data[r * k + i];
      }
    }
  }
}

}  // namespace

int64_t PanelBytes(DType dtype, int64_t k) {
  if (dtype == DType::kBF16) return (k + 1) / 2 * kPanel * 4;
  return k * kPanel * DTypeBytes(dtype);
}

void PackPanel(const PanelPart& part, std::byte* panel) {
  switch (part.weight.dtype) {
    case DType::kF32:
      return PackByK(part, reinterpret_cast<float*>(panel));
    case DType::kF16:
      return PackByK(part, reinterpret_cast<uint16_t*>(panel));
    default:
      return PackPairs(part, reinterpret_cast<uint16_t*>(panel));
  }
}

}  // namespace folkmoot::cpu
