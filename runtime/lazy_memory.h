// SPDX-License-Identifier: Apache-2.0
// Zeroed memory of caches, which the system gives page by page as it is touched: what is never used
// costs nothing. Throws OutOfMemory (runtime/memory.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace folkmoot {

class LazyMemory {
 public:
  LazyMemory() = default;
  explicit LazyMemory(int64_t bytes);

  std::byte* data() const { return memory_.get(); }  // null: no bytes
  int64_t bytes() const { return memory_.get_deleter().bytes; }

 private:
  struct Unmap {
    int64_t bytes;
    void operator()(std::byte* p) const;
  };
  std::unique_ptr<std::byte[], Unmap> memory_{nullptr, Unmap{0}};
};

}  // namespace folkmoot
