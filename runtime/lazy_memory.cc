// SPDX-License-Identifier: Apache-2.0
#include "runtime/lazy_memory.h"

#include <sys/mman.h>

#include "runtime/check.h"
#include "runtime/memory.h"

namespace folkmoot {

LazyMemory::LazyMemory(int64_t bytes) {
  FM_CHECK(bytes >= 0);
  if (bytes == 0) return;
  memory_ = {MapPages(FaultPoint::kKvAllocate, bytes), Unmap{bytes}};
}

void LazyMemory::Unmap::operator()(std::byte* p) const {
  if (p != nullptr) (void)munmap(p, static_cast<size_t>(bytes));
}

}  // namespace folkmoot
