// SPDX-License-Identifier: Apache-2.0
// Copies of recurrent state for the prefix cache: a page is of use to a model with such state where
// the state behind it is known. Copies are made where somebody is likely to go on: behind the last
// full page of a prompt; where a prompt leaves what the cache knows already, as prompts do that
// begin alike; and behind the page that a sequence has just filled while it decodes.
#include <algorithm>
#include <utility>

#include "scheduler/scheduler.h"

namespace folkmoot {

// `known_pages`: leading pages of its tokens that the cache has, also without a copy.
void Scheduler::BeginAtSnapshot(Sequence* sequence, int64_t known_pages) const {
  sequence->snapshot = -1;
  sequence->newest_snapshot = sequence->newest_page = -1;
  if (options_.snapshots_per_rank == 0) return;
  StateSnapshots& snapshots = ranks_[static_cast<size_t>(sequence->rank)]->pool.snapshots();
  if (sequence->cached_pages > 0) {
    const int32_t page = sequence->chain_end.page;
    sequence->snapshot = snapshots.OfPage(page);
    snapshots.Use(page);
  }
  // Not behind the last token: its row is computed in any case.
  const auto pages = (std::ssize(sequence->tokens) - 1) / options_.block_size;
  sequence->snapshot_stops[0] = known_pages * options_.block_size;
  sequence->snapshot_stops[1] = pages * options_.block_size;
  for (int64_t& stop : sequence->snapshot_stops) {
    if (stop < sequence->request->request.source) stop = 0;  // a source is computed in one step
  }
}

// At most `rows`, which end where a copy will be made.
int64_t Scheduler::UpToSnapshot(const Sequence& sequence, int64_t rows) const {
  if (options_.snapshots_per_rank == 0 || !sequence.request->publishes) return rows;
  for (const int64_t stop : sequence.snapshot_stops) {
    const int64_t left = stop - sequence.planned();
    if (left > 0) rows = std::min(rows, left);
  }
  return rows;
}

// The copy to be made behind a slice that ends at `end`; -1: none.
int32_t Scheduler::TakeSnapshot(const Sequence& sequence, int64_t end) const {
  if (options_.snapshots_per_rank == 0 || !sequence.request->publishes) return -1;
  const auto& stops = sequence.snapshot_stops;
  if (end % options_.block_size != 0 || (end != stops[0] && end < stops[1])) return -1;
  StateSnapshots& snapshots = ranks_[static_cast<size_t>(sequence.rank)]->pool.snapshots();
  // Rather its own than that of somebody else.
  const int32_t page = sequence.newest_page;
  const bool has_one = page >= 0 && snapshots.OfPage(page) == sequence.newest_snapshot;
  if (snapshots.free() == 0 && has_one) snapshots.Drop(page);
  return snapshots.Take();
}

// The copy behind a slice is there. `sequence`: whose pages are published so far; null: they are
// not, and nobody will ask for it.
void Scheduler::SettleSnapshot(const FlightSlice& slice, Sequence* sequence) const {
  if (slice.snapshot < 0) return;
  StateSnapshots& snapshots = ranks_[static_cast<size_t>(slice.rank)]->pool.snapshots();
  if (sequence == nullptr) return snapshots.Return(slice.snapshot);
  const int32_t page = sequence->chain_end.page;
  snapshots.Keep(slice.snapshot, page);
  if (slice.end <= sequence->snapshot_stops[1]) return;
  // Decoding: one copy that moves along.
  const int32_t old_page = std::exchange(sequence->newest_page, page);
  const int32_t old = std::exchange(sequence->newest_snapshot, slice.snapshot);
  if (old_page >= 0 && old_page != page && snapshots.OfPage(old_page) == old) {
    snapshots.Drop(old_page);
  }
}

}  // namespace folkmoot
