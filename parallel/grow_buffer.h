// SPDX-License-Identifier: Apache-2.0
// Memory that is kept from use to use, so that a steady loop allocates nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

#include "runtime/memory.h"

namespace folkmoot {

// At least `bytes` of uninitialised, 64-byte aligned memory; what was in it is lost.
class GrowBuffer {
 public:
  std::byte* Get(int64_t bytes) {
    if (bytes > capacity_) {
      const int64_t capacity = bytes + bytes / 2;  // few steps to the greatest batch
      storage_.reset(AllocateAligned(FaultPoint::kBufferAllocate, capacity, kAlignment));
      capacity_ = capacity;
    }
    return storage_.get();
  }
  float* GetFloats(int64_t count) {
    return reinterpret_cast<float*>(Get(count * static_cast<int64_t>(sizeof(float))));
  }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Free {
    void operator()(std::byte* memory) const { operator delete[](memory, kAlignment); }
  };

  std::unique_ptr<std::byte[], Free> storage_;
  int64_t capacity_ = 0;
};

}  // namespace folkmoot
