// SPDX-License-Identifier: Apache-2.0
// Requests with beam search. Every running beam is a request of its own for one token, whose prompt
// is that of the whole and the beam's output; the prefix cache finds what beams share. So beams
// are scheduled, preempted and spread over ranks as any other requests, and have the same bits.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <cstdint>
#include <map>
#include <vector>

#include "absl/functional/function_ref.h"
#include "launch/beam_search.h"
#include "scheduler/scheduler.h"

namespace folkmoot {

class BeamRequests {
 public:
  // `scheduler` must outlive them.
  explicit BeamRequests(Scheduler& scheduler) : scheduler_(scheduler) {}

  // As Scheduler::Add for a request with beams, and with an id of the same kind. Its events come
  // when the search is done: for each of its n best outputs one for every token.
  absl::StatusOr<int64_t> Add(Request request);
  // False: `id` is not one of these.
  bool Abort(int64_t id);
  bool Has(int64_t id) const { return searches_.contains(id); }
  bool idle() const { return searches_.empty(); }

  // An event of the scheduler. False: it is not about a beam.
  bool Take(const RequestEvent& event);
  // After the events of a step: goes on with all searches whose beams have answered.
  void Advance(absl::FunctionRef<void(const RequestEvent&)> on_event);

 private:
  struct Search {
    Request request;
    BeamSearch beams;
    std::vector<BeamAnswer> answers = {};  // by running beam
    std::vector<int64_t> open = {};        // ids of the requests of running beams; -1: answered
    std::vector<DropCounts> of_prompt = {};
    int64_t cached_tokens = 0;
    std::string error = {};
    bool aborted = false;

    bool waits() const;
  };

  void AbortBeams(Search* search);
  // A request for each running beam.
  absl::Status Ask(int64_t id, Search* search);
  void Step(int64_t id, Search* search);
  void Tell(int64_t id, Search& search, absl::FunctionRef<void(const RequestEvent&)> on_event);

  Scheduler& scheduler_;
  std::map<int64_t, Search> searches_;
  absl::flat_hash_map<int64_t, std::pair<int64_t, size_t>> beam_of_;  // by id of its request
};

}  // namespace folkmoot
