// SPDX-License-Identifier: Apache-2.0
// Scratch memory of one forward step: a bump allocator that grows while it warms up and then never
// allocates again. Everything handed out is dead after Reset(). One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "runtime/tensor.h"

namespace folkmoot {

class Workspace {
 public:
  // The span is 64-byte aligned and uninitialised. T must be trivial.
  template <typename T>
  std::span<T> Get(int64_t count) {
    return {static_cast<T*>(GetBytes(count * static_cast<int64_t>(sizeof(T)))),
            static_cast<size_t>(count)};
  }
  Matrix GetMatrix(int64_t rows, int64_t cols) {
    return {Get<float>(rows * cols).data(), rows, cols};
  }

  // Marks and releases nested scratch: everything taken after Mark() is reusable after Release().
  struct Position {
    size_t block = 0;
    size_t used = 0;
  };
  Position Mark() const { return position_; }
  void Release(Position position) { position_ = position; }
  void Reset() { position_ = {}; }

  // How many times memory was taken from the system: constant in a steady decode loop.
  int64_t allocations() const { return static_cast<int64_t>(blocks_.size()); }

 private:
  struct Block {
    std::unique_ptr<std::byte[]> storage;
    std::byte* begin = nullptr;
    size_t size = 0;
  };
  void* GetBytes(int64_t bytes);

  std::vector<Block> blocks_;
  Position position_;
};

}  // namespace folkmoot
