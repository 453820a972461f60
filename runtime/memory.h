// SPDX-License-Identifier: Apache-2.0
// Memory that may not be there. Allocation lies deep below code that cannot fail otherwise, so that
// here, and only here, an exception carries the news up to where a rank loads or computes a step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <string>
#include <utility>

#include "runtime/fault_points.h"
#include "runtime/status.h"

namespace folkmoot {

class OutOfMemory : public std::bad_alloc {
 public:
  explicit OutOfMemory(std::string what) : what_(std::move(what)) {}
  const char* what() const noexcept override { return what_.c_str(); }

 private:
  std::string what_;
};

// Throws OutOfMemory when a fault of the point is due: before memory is taken in another way.
void RefuseMemoryIfDue(FaultPoint point, int64_t bytes);

// Uninitialised memory, to be given back with operator delete[](p, alignment). Throws OutOfMemory
// that names what the point's memory is for.
std::byte* AllocateAligned(FaultPoint point, int64_t bytes, std::align_val_t alignment);

// Zeroed pages, taken when they are touched, to be given back with munmap. Throws the same.
std::byte* MapPages(FaultPoint point, int64_t bytes);

// What `body` returns, a Status or StatusOr; ResourceExhausted when memory cannot be had.
template <typename Body>
auto OrOutOfMemory(Body&& body) -> decltype(body()) {
  try {
    return std::forward<Body>(body)();
  } catch (const OutOfMemory& error) {
    return ResourceExhausted("{}", error.what());
  } catch (const std::bad_alloc&) {
    return ResourceExhausted("out of memory");
  }
}

}  // namespace folkmoot
