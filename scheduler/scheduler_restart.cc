// SPDX-License-Identifier: Apache-2.0
// Restart: a step has failed. What was heard of it counts, the rest does not: every sequence goes
// on from the tokens that are known, as after a preemption. ForgetPages: a rank has lost its pages.
#include <algorithm>
#include <utility>

#include "runtime/check.h"
#include "scheduler/scheduler.h"

namespace folkmoot {

// Those with a slice in the oldest step that is not answered, in order of arrival. Ranks have not
// seen the one after it.
std::vector<RequestState*> Scheduler::RequestsUnderWay() const {
  std::vector<RequestState*> under_way;
  if (flights_.empty()) return under_way;
  for (const auto& slices : flights_.front().ranks) {
    for (const FlightSlice& slice : slices) {
      const auto found = sequences_.find(slice.id);
      if (found != sequences_.end()) under_way.push_back(found->second->request);
    }
  }
  const auto older = [](const RequestState* a, const RequestState* b) { return a->id < b->id; };
  std::sort(under_way.begin(), under_way.end(), older);
  under_way.erase(std::unique(under_way.begin(), under_way.end()), under_way.end());
  return under_way;
}

void Scheduler::Blame(RequestState* request, bool alone) {
  ++request->failures;
  if (request->failures < kSuspectFailures) return;
  if (request->failures > kSuspectFailures && alone) {
    return EndAll(request, FinishReason::kError);
  }
  if (std::find(suspects_.begin(), suspects_.end(), request->id) == suspects_.end()) {
    suspects_.push_back(request->id);
  }
}

// The request came further than ever before, or it is gone.
void Scheduler::Trust(RequestState* request) {
  request->failures = 0;
  if (!suspects_.empty()) std::erase(suspects_, request->id);
}

void Scheduler::Restart(bool begun) {
  std::vector<RequestState*> under_way;
  if (begun) under_way = RequestsUnderWay();
  for (const Flight& flight : flights_) {
    for (const auto& slices : flight.ranks) {
      for (const FlightSlice& slice : slices) SettleSnapshot(slice, nullptr);
    }
  }
  flights_.clear();
  for (const auto& [id, sequence] : sequences_) {
    sequence->rows_in_flight = sequence->samples_in_flight = sequence->drafts_in_flight = 0;
  }
  for (const auto& rank : ranks_) {
    for (Sequence* sequence : rank->running) {
      rank->LeavePages(sequence);  // those that are published stay cached
      Requeue(sequence);
    }
    rank->running.clear();
    rank->finished.clear();  // ranks forget their sequences
    rank->ReleaseParked(next_step_);
  }
  for (RequestState* request : under_way) Blame(request, under_way.size() == 1);
}

void Scheduler::ForgetPages(int rank) {
  FM_CHECK(running_ == 0);
  ranks_[static_cast<size_t>(rank)] =
      std::make_unique<RankState>(options_.blocks_per_rank, options_.block_size,
                                  options_.snapshots_per_rank, options_.hash_seed);
  matched_ = {-1, -1};
}

// The head of the queue. While there are suspects, only choices of the first of them.
Sequence* Scheduler::NextToAdmit() const {
  if (queue_.empty()) return nullptr;
  if (suspects_.empty()) return queue_.Head();
  for (const auto& sequence : requests_.at(suspects_.front())->choices) {
    if (sequence != nullptr && sequence->phase == SequencePhase::kWaiting) return sequence.get();
  }
  return nullptr;
}

}  // namespace folkmoot
