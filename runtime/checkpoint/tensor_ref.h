// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

namespace folkmoot {

// A place in a checkpoint where a matrix [n, k] is stored: n rows first_row, first_row + row_step,
// .. of a tensor [slice_rows, k], or of slice `slice` of a packed expert tensor [slices,
// slice_rows, k].
//
// Or its transpose is: n columns first_row, first_row + row_step, .. of k rows first_k .. of a
// tensor, or slice, [stored_k, slice_rows].
struct TensorRef {
  std::string name;
  int64_t n = 0;
  int64_t k = 0;
  int64_t slices = 0;  // 0: a plain matrix
  int64_t slice = 0;
  int64_t slice_rows = 0;  // of a plain matrix 0 stands for n: all its rows
  int64_t first_row = 0;
  bool exact = false;       // no rounding of WeightOptions touches it: routers
  bool everywhere = false;  // slices that every rank has: experts of attention
  int64_t row_step = 1;     // 2: gate and up rows take turns
  bool transposed = false;
  int64_t stored_k = 0;  // of the transpose; 0 stands for k
  int64_t first_k = 0;

  int64_t rows() const { return slice_rows > 0 ? slice_rows : n; }  // that are stored
  int64_t depth() const { return stored_k > 0 ? stored_k : k; }
  // Rows first .. first + count of these.
  TensorRef Rows(int64_t first, int64_t count) const {
    TensorRef part = *this;
    part.slice_rows = rows();
    part.first_row += first * row_step;
    part.n = count;
    return part;
  }
  // The transpose of these rows of a plain matrix.
  TensorRef Transposed() const {
    TensorRef other = *this;
    other.transposed = true;
    other.n = k;
    other.k = n;
    other.stored_k = rows();
    other.first_k = first_row;
    other.slice_rows = other.first_row = 0;
    return other;
  }
};

}  // namespace folkmoot
