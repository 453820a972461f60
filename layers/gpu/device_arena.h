// SPDX-License-Identifier: Apache-2.0
// Cuts one piece of memory into parts. The same code runs twice: without memory, to count what it
// takes, and with it, so that the count cannot be wrong.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/cuda/views.h"

namespace folkmoot {

class DeviceArena {
 public:
  DeviceArena() = default;  // counts; its parts are null
  explicit DeviceArena(void* base) : base_(static_cast<std::byte*>(base)) {}

  int64_t bytes() const { return used_; }

  // 256-byte aligned, so that any kernel may load any part in 16-byte pieces.
  template <typename T>
  T* Take(int64_t count) {
    const int64_t at = used_;
    used_ += (count * static_cast<int64_t>(sizeof(T)) + 255) / 256 * 256;
    return base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + at);
  }
  // Rows begin at multiples of 8 elements.
  cuda::MatrixRef Matrix(DType dtype, int64_t rows, int64_t cols) {
    const int64_t stride = (cols + 7) / 8 * 8;
    return {Take<std::byte>(rows * stride * DTypeBytes(dtype)), dtype, rows, cols, stride};
  }

 private:
  std::byte* base_ = nullptr;
  int64_t used_ = 0;
};

// The first `rows` rows of a matrix that was made for more.
inline cuda::MatrixRef FirstRows(cuda::MatrixRef matrix, int64_t rows) {
  matrix.rows = rows;
  return matrix;
}
// Rows first .. first + rows.
inline cuda::MatrixRef SomeRows(cuda::MatrixRef matrix, int64_t first, int64_t rows) {
  auto* data = static_cast<std::byte*>(matrix.data);
  matrix.data = data + first * matrix.stride * DTypeBytes(matrix.dtype);
  matrix.rows = rows;
  return matrix;
}
inline cuda::MatrixRef FloatMatrix(float* data, int64_t rows, int64_t cols) {
  return {data, DType::kF32, rows, cols, cols};
}

}  // namespace folkmoot
