// SPDX-License-Identifier: Apache-2.0
#include "runtime/workspace.h"

#include <algorithm>
#include <bit>

#include "runtime/memory.h"

namespace folkmoot {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kMinBlock = size_t{1} << 20;

}  // namespace

void* Workspace::GetBytes(int64_t bytes) {
  FM_CHECK(bytes >= 0);
  const size_t wanted =
      (static_cast<size_t>(std::max<int64_t>(bytes, 1)) + kAlignment - 1) / kAlignment * kAlignment;
  while (position_.block < blocks_.size()) {
    Block& block = blocks_[position_.block];
    if (position_.used + wanted <= block.size) {
      std::byte* result = block.begin + position_.used;
      position_.used += wanted;
      return result;
    }
    position_ = {position_.block + 1, 0};
  }
  Block block;
  block.size = std::max(kMinBlock, std::bit_ceil(wanted));
  RefuseMemoryIfDue(FaultPoint::kScratchAllocate, static_cast<int64_t>(block.size));
  block.storage = std::make_unique_for_overwrite<std::byte[]>(block.size + kAlignment);
  const auto address = reinterpret_cast<uintptr_t>(block.storage.get());
  block.begin = block.storage.get() + (kAlignment - address % kAlignment) % kAlignment;
  blocks_.push_back(std::move(block));
  position_ = {blocks_.size() - 1, wanted};
  return blocks_.back().begin;
}

}  // namespace folkmoot
