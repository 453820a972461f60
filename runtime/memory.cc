// SPDX-License-Identifier: Apache-2.0
#include "runtime/memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

namespace folkmoot {
namespace {

[[noreturn]] void Throw(FaultPoint point, int64_t bytes) {
  throw OutOfMemory(fmt::format("{}: {} bytes of memory cannot be had: {}", InfoOf(point).what,
                                bytes, std::strerror(errno == 0 ? ENOMEM : errno)));
}

}  // namespace

void RefuseMemoryIfDue(FaultPoint point, int64_t bytes) {
  if (FaultAt(point)) Throw(point, bytes);
}

std::byte* AllocateAligned(FaultPoint point, int64_t bytes, std::align_val_t alignment) {
  errno = ENOMEM;
  std::byte* memory = FaultAt(point) ? nullptr
                                     : new (alignment, std::nothrow)
                                           std::byte[static_cast<size_t>(bytes)];
  if (memory == nullptr) Throw(point, bytes);
  return memory;
}

std::byte* MapPages(FaultPoint point, int64_t bytes) {
  void* data = FaultAt(point) ? MAP_FAILED
                              : mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE,
                                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) Throw(point, bytes);
  return static_cast<std::byte*>(data);
}

}  // namespace folkmoot
