// SPDX-License-Identifier: Apache-2.0
#include "scheduler/state_snapshots.h"

#include "runtime/check.h"

namespace folkmoot {

StateSnapshots::StateSnapshots(int64_t count, int64_t pages)
    : places_(static_cast<size_t>(count)), of_page_(static_cast<size_t>(pages), -1) {
  for (int64_t i = count - 1; i >= 0; --i) free_.push_back(static_cast<int32_t>(i));
}

int32_t StateSnapshots::Take() {
  if (free_.empty() && !kept_.empty()) Return(kept_.front());
  if (free_.empty()) return -1;
  const int32_t snapshot = free_.back();
  free_.pop_back();
  return snapshot;
}

void StateSnapshots::Keep(int32_t snapshot, int32_t page) {
  FM_CHECK(places_[static_cast<size_t>(snapshot)].page < 0);
  Drop(page);
  of_page_[static_cast<size_t>(page)] = snapshot;
  places_[static_cast<size_t>(snapshot)] = {page, kept_.insert(kept_.end(), snapshot)};
}

void StateSnapshots::Return(int32_t snapshot) {
  Leave(snapshot);
  free_.push_back(snapshot);
}

void StateSnapshots::Use(int32_t page) {
  const int32_t snapshot = OfPage(page);
  FM_CHECK(snapshot >= 0);
  kept_.splice(kept_.end(), kept_, places_[static_cast<size_t>(snapshot)].in_kept);
}

void StateSnapshots::Drop(int32_t page) {
  if (OfPage(page) >= 0) Return(OfPage(page));
}

void StateSnapshots::Leave(int32_t snapshot) {
  Place& place = places_[static_cast<size_t>(snapshot)];
  if (place.page < 0) return;
  of_page_[static_cast<size_t>(place.page)] = -1;
  kept_.erase(place.in_kept);
  place.page = -1;
}

}  // namespace folkmoot
