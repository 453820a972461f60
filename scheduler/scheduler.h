// SPDX-License-Identifier: Apache-2.0
// Decides what every rank computes in the next step: continuous batching with chunked prefill.
//
// Pure host logic: no device, no communicator, no clock. The same requests give the same schedule.
// Not thread-safe.
//
// A sequence lives on one rank (the one with the least work when it is admitted) and holds all
// pages that it may ever need from then on, so it never has to be evicted. Admission is first come,
// first served.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "runtime/status.h"
#include "scheduler/block_allocator.h"
#include "scheduler/request.h"
#include "scheduler/step_plan.h"

namespace folkmoot {

struct SchedulerOptions {
  int ranks = 1;
  int64_t vocab = 0;
  int64_t max_model_len = 0;         // prompt and output together
  int64_t max_sequences = 64;        // running at once, over all ranks
  int64_t max_batched_tokens = 512;  // per rank and step
  int64_t prefill_chunk = 512;       // of one sequence in one step
  int64_t blocks_per_rank = 0;
  int64_t block_size = 16;
};

// Something that happened to a request.
struct RequestEvent {
  int64_t id = 0;
  const SequenceResult* result = nullptr;  // of the step; valid until the next Update
  FinishReason finish = FinishReason::kNone;
};

class Scheduler {
 public:
  explicit Scheduler(const SchedulerOptions& options);

  // Queues a request and returns its id. Errors say what is wrong with it: an empty prompt, an id
  // outside the vocabulary, a length beyond the context or beyond all pages.
  absl::StatusOr<int64_t> Add(Request request);
  // Ends a request early; no event follows. Unknown ids are ignored (it may just have ended).
  void Abort(int64_t id);

  bool idle() const { return waiting_.empty() && running_.empty(); }

  // The next step. Plans are numbered; each must be answered by Update before the next is asked
  // for.
  StepPlan Schedule();
  // results[r] is rank r's answer to the last plan. Returned events are valid until the next call.
  const std::vector<RequestEvent>& Update(std::vector<StepResult> results);

  // For tests and metrics.
  int64_t free_blocks(int rank) const { return pools_[static_cast<size_t>(rank)].free(); }
  int64_t waiting() const { return static_cast<int64_t>(waiting_.size()); }
  int64_t running() const { return static_cast<int64_t>(running_.size()); }

 private:
  struct Sequence {
    int64_t id = 0;
    Request request;
    int rank = 0;
    std::vector<int32_t> blocks;
    std::vector<int32_t> tokens;  // prompt and output
    int64_t computed = 0;         // tokens whose keys and values are in the cache
    int64_t planned = 0;          // tokens of the step under way
    int64_t prompt_length() const { return static_cast<int64_t>(request.prompt.size()); }
    int64_t length() const { return static_cast<int64_t>(tokens.size()); }
  };

  absl::Status Check(const Request& request) const;
  void Admit();
  int LeastLoadedRank(int64_t blocks) const;           // -1: none has the pages
  int64_t ChunkLimit(const Sequence& sequence) const;  // tokens of it in one step
  SequenceSlice Slice(Sequence& sequence, int64_t count) const;
  FinishReason Apply(Sequence& sequence, const SequenceResult& result);
  void Finish(Sequence& sequence);

  SchedulerOptions options_;
  std::vector<BlockAllocator> pools_;  // by rank
  std::deque<std::unique_ptr<Sequence>> waiting_;
  std::map<int64_t, std::unique_ptr<Sequence>> running_;  // by id: admission order
  std::vector<int64_t> finished_;                         // told to the ranks with the next plan
  std::vector<RequestEvent> events_;
  std::vector<StepResult> results_;  // keeps what events point to
  int64_t next_id_ = 0;
  int64_t next_step_ = 0;
};

}  // namespace folkmoot
