// SPDX-License-Identifier: Apache-2.0
// The free pages of one rank's KV cache. Lowest page first, so that a schedule is a function of its
// requests.
#pragma once

#include <cstdint>
#include <vector>

namespace folkmoot {

class BlockAllocator {
 public:
  explicit BlockAllocator(int64_t blocks);

  int64_t total() const { return total_; }
  int64_t free() const { return static_cast<int64_t>(free_.size()); }

  // Takes `count` pages, or none and returns false.
  bool Allocate(int64_t count, std::vector<int32_t>* blocks);
  // Gives pages back; each must be taken.
  void Free(const std::vector<int32_t>& blocks);

 private:
  int64_t total_;
  std::vector<int32_t> free_;  // a min-heap
  std::vector<bool> taken_;
};

}  // namespace folkmoot
