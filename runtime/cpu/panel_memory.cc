// SPDX-License-Identifier: Apache-2.0
// Where packed weights lie. A matrix is often smaller than a huge page, and mapped by itself it
// gets none: then a step that reads all weights once looks up a page for every 4 KiB, which halves
// what one core reads. So matrices lie one behind the other in large regions.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "runtime/cpu/gemm.h"
#include "runtime/memory.h"

namespace folkmoot::cpu {
namespace {

constexpr int64_t kHugePage = int64_t{1} << 21;
constexpr int64_t kRegion = int64_t{1} << 26;

int64_t RoundUp(int64_t bytes, int64_t unit) { return (bytes + unit - 1) / unit * unit; }

int64_t PagesOf(int64_t bytes) {
  static const int64_t page = sysconf(_SC_PAGESIZE);
  return RoundUp(bytes, page);
}

void Unmap(std::byte* data, int64_t bytes) {
  if (bytes > 0) (void)munmap(data, static_cast<size_t>(bytes));
}

// A region that begins with a huge page.
std::byte* MapRegion(int64_t bytes) {
  std::byte* data = MapPages(FaultPoint::kPanelsAllocate, bytes + kHugePage);
  const auto address = static_cast<int64_t>(reinterpret_cast<intptr_t>(data));
  const int64_t before = RoundUp(address, kHugePage) - address;
  Unmap(data, before);
  Unmap(data + before + bytes, kHugePage - before);
  // Only a wish: without huge pages everything works the same.
  (void)madvise(data + before, static_cast<size_t>(bytes), MADV_HUGEPAGE);
  return data + before;
}

// The rest of the region that matrices are put into. What a matrix had is never used again.
struct Rest {
  std::mutex mutex;
  std::byte* data = nullptr;
  int64_t bytes = 0;
};

Rest& TheRest() {
  static Rest rest;
  return rest;
}

}  // namespace

std::byte* AllocatePanels(int64_t bytes) {
  if (bytes == 0) return nullptr;
  const int64_t size = PagesOf(bytes);
  if (size >= kRegion) return MapRegion(size);
  Rest& rest = TheRest();
  const std::lock_guard lock(rest.mutex);
  if (rest.bytes < size) {
    std::byte* region = MapRegion(kRegion);
    Unmap(rest.data, rest.bytes);
    rest.data = region;
    rest.bytes = kRegion;
  } else {
    RefuseMemoryIfDue(FaultPoint::kPanelsAllocate, bytes);
  }
  rest.bytes -= size;
  return std::exchange(rest.data, rest.data + size);
}

void FreePanels(std::byte* data, int64_t bytes) { Unmap(data, PagesOf(bytes)); }

}  // namespace folkmoot::cpu
