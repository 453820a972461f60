// SPDX-License-Identifier: Apache-2.0
// Products of queries with rows of RowPages, which are widened to float32 first. A product runs
// over the numbers of a row in 16 lanes, whose sum is one fixed tree; how many queries share the
// loads of a row cannot be seen in it.
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "runtime/cpu/attention_kernel-inl.h"
#include "runtime/ops/row_pages.h"

#if defined(FOLKMOOT_RUNTIME_CPU_ROW_PRODUCTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOLKMOOT_RUNTIME_CPU_ROW_PRODUCTS_INL_H_
#undef FOLKMOOT_RUNTIME_CPU_ROW_PRODUCTS_INL_H_
#else
#define FOLKMOOT_RUNTIME_CPU_ROW_PRODUCTS_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace folkmoot::cpu {
namespace HWY_NAMESPACE {

constexpr int64_t kRowTile = 4;  // queries that share the loads of a row

// A stored row in float32, padded with zeros: where it lies, or in `wide`.
HWY_INLINE const float* WideRow(const std::byte* row, DType dtype, int64_t stride, float* wide) {
  if (dtype == DType::kF32) return reinterpret_cast<const float*>(row);
  if (dtype == DType::kBF16) {
    WidenBF16(row, stride, wide);
    return wide;
  }
  const DF d;
  const VF scale = hn::Set(d, *reinterpret_cast<const float*>(row + stride));
  for (int64_t i = 0; i < stride; i += static_cast<int64_t>(kVector)) {
    hn::StoreU(hn::Mul(LoadInt8(row + i), scale), d, wide + i);
  }
  return wide;
}

// products[r] = q[r] . row for kQueries queries, `stride` numbers each, one behind the other.
template <int kQueries>
HWY_INLINE void RowProducts(const float* row, const float* q, int64_t stride, float* products) {
  const DF d;
  VF sums[kQueries][kVectors];
  for (int r = 0; r < kQueries; ++r) {
    for (size_t v = 0; v < kVectors; ++v) sums[r][v] = hn::Zero(d);
  }
  for (int64_t i = 0; i < stride; i += kGroup) {
    for (size_t v = 0; v < kVectors; ++v) {
      const VF x = hn::LoadU(d, row + i + v * kVector);
      for (int r = 0; r < kQueries; ++r) {
        sums[r][v] = Fma(hn::LoadU(d, q + r * stride + i + v * kVector), x, sums[r][v]);
      }
    }
  }
  for (int r = 0; r < kQueries; ++r) {
    Block block;
    for (size_t v = 0; v < kVectors; ++v) block.v[v] = sums[r][v];
    products[r] = SumLanes(block);
  }
}

template <int kQueries = kRowTile>
HWY_INLINE void RowProductsOf(int64_t count, const float* row, const float* q, int64_t stride,
                              float* products) {
  if constexpr (kQueries == 1) {
    RowProducts<1>(row, q, stride, products);
  } else {
    if (count >= kQueries) return RowProducts<kQueries>(row, q, stride, products);
    RowProductsOf<kQueries - 1>(count, row, q, stride, products);
  }
}

// `count` queries [count, width] padded with zeros to [count, stride].
HWY_INLINE void PadQueries(const float* q, int64_t count, int64_t width, int64_t stride,
                           float* padded) {
  for (int64_t r = 0; r < count; ++r) {
    std::copy_n(q + r * width, width, padded + r * stride);
    std::fill(padded + r * stride + width, padded + (r + 1) * stride, 0.0f);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace folkmoot::cpu
HWY_AFTER_NAMESPACE();
#endif  // FOLKMOOT_RUNTIME_CPU_ROW_PRODUCTS_INL_H_
