// SPDX-License-Identifier: Apache-2.0
#include "runtime/grammar/path_set.h"

#include <algorithm>
#include <bit>

namespace folkmoot {
namespace {

constexpr size_t kFirstSlots = 64;

}  // namespace

PathSet::PathSet() : slots_(kFirstSlots) {}

// Where `path` is, or where it would go.
PathSet::Slot* PathSet::Find(const GrammarPath& path) {
  const auto frame = std::bit_cast<uintptr_t>(path.frame);
  const uint64_t hash = (static_cast<uint64_t>(path.node) ^ (frame << 20)) * 0x9E3779B97F4A7C15u;
  const size_t mask = slots_.size() - 1;
  for (size_t i = static_cast<size_t>(hash >> 32);; ++i) {
    Slot& slot = slots_[i & mask];
    if (slot.round != round_ || paths_[slot.path] == path) return &slot;
  }
}

bool PathSet::Insert(const GrammarPath& path) {
  Slot* slot = Find(path);
  if (slot->round == round_) return false;
  *slot = {.round = round_, .path = static_cast<uint32_t>(paths_.size())};
  paths_.push_back(path);
  if (paths_.size() * 2 > slots_.size()) Grow();
  return true;
}

void PathSet::Grow() {
  slots_.assign(slots_.size() * 2, Slot());
  for (size_t i = 0; i < paths_.size(); ++i) {
    *Find(paths_[i]) = {.round = round_, .path = static_cast<uint32_t>(i)};
  }
}

void PathSet::Clear() {
  paths_.clear();
  if (++round_ != 0) return;
  std::fill(slots_.begin(), slots_.end(), Slot());
  round_ = 1;
}

}  // namespace folkmoot
