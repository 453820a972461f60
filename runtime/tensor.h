// SPDX-License-Identifier: Apache-2.0
// A view of float rows in memory that somebody else owns. Activations are always float32 and
// row-major on the CPU; weights live in PackedMatrix (runtime/ops/gemm.h).
#pragma once

#include <cstdint>
#include <span>

#include "runtime/check.h"

namespace folkmoot {

// [rows, cols] floats; row r starts at data + r * stride. T is float or const float. Two words of
// shape and no ownership: pass by value.
template <typename T>
struct MatrixView {
  T* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;

  MatrixView() = default;
  MatrixView(T* data_in, int64_t rows_in, int64_t cols_in)
      : MatrixView(data_in, rows_in, cols_in, cols_in) {}
  MatrixView(T* data_in, int64_t rows_in, int64_t cols_in, int64_t stride_in)
      : data(data_in), rows(rows_in), cols(cols_in), stride(stride_in) {
    FM_CHECK(rows >= 0 && cols >= 0 && stride >= cols);
  }

  T* Row(int64_t r) const { return data + r * stride; }
  std::span<T> RowSpan(int64_t r) const { return {Row(r), static_cast<size_t>(cols)}; }
  MatrixView Rows(int64_t first, int64_t count) const {
    FM_CHECK(first >= 0 && count >= 0 && first + count <= rows);
    return {data + first * stride, count, cols, stride};
  }
  MatrixView Columns(int64_t first, int64_t count) const {
    FM_CHECK(first >= 0 && count >= 0 && first + count <= cols);
    return {data + first, rows, count, stride};
  }
  operator MatrixView<const T>() const { return {data, rows, cols, stride}; }  // NOLINT
};

using Matrix = MatrixView<float>;
using ConstMatrix = MatrixView<const float>;

}  // namespace folkmoot
