// SPDX-License-Identifier: Apache-2.0
#include "scheduler/rank_state.h"

#include <algorithm>

#include "runtime/check.h"

namespace folkmoot {

void RankState::Insert(Sequence* sequence, bool by_priority) {
  const auto less = [by_priority](const Sequence* a, const Sequence* b) {
    return ImportanceKey(*a, by_priority) < ImportanceKey(*b, by_priority);
  };
  running.insert(std::upper_bound(running.begin(), running.end(), sequence, less), sequence);
}

void RankState::Erase(const Sequence* sequence) {
  const auto at = std::find(running.begin(), running.end(), sequence);
  FM_CHECK(at != running.end());
  running.erase(at);
}

void RankState::LeavePages(Sequence* sequence) {
  if (sequence->rows_in_flight > 0) {
    parked.push_back({.step = sequence->last_step, .pages = std::move(sequence->pages)});
  } else {
    pool.Release(sequence->pages);
  }
  sequence->pages.clear();
}

void RankState::ReleaseParked(int64_t step) {
  const auto over = std::stable_partition(
      parked.begin(), parked.end(), [step](const Parked& entry) { return entry.step > step; });
  for (auto entry = over; entry != parked.end(); ++entry) pool.Release(entry->pages);
  parked.erase(over, parked.end());
}

int64_t RankState::ParkedPages() const {
  int64_t pages = 0;
  for (const Parked& entry : parked) pages += pool.CountUnshared(entry.pages);
  return pages;
}

}  // namespace folkmoot
