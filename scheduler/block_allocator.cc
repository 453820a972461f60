// SPDX-License-Identifier: Apache-2.0
#include "scheduler/block_allocator.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "runtime/check.h"

namespace folkmoot {

BlockAllocator::BlockAllocator(int64_t blocks)
    : total_(blocks), free_(static_cast<size_t>(blocks)), taken_(static_cast<size_t>(blocks)) {
  std::iota(free_.begin(), free_.end(), 0);  // ascending order is a min-heap
}

bool BlockAllocator::Allocate(int64_t count, std::vector<int32_t>* blocks) {
  if (count > free()) return false;
  for (int64_t i = 0; i < count; ++i) {
    std::pop_heap(free_.begin(), free_.end(), std::greater<>());
    taken_[static_cast<size_t>(free_.back())] = true;
    blocks->push_back(free_.back());
    free_.pop_back();
  }
  return true;
}

void BlockAllocator::Free(const std::vector<int32_t>& blocks) {
  for (const int32_t block : blocks) {
    FM_CHECK(taken_[static_cast<size_t>(block)]);
    taken_[static_cast<size_t>(block)] = false;
    free_.push_back(block);
    std::push_heap(free_.begin(), free_.end(), std::greater<>());
  }
}

}  // namespace folkmoot
