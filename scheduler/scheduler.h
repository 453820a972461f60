// SPDX-License-Identifier: Apache-2.0
// Decides what every rank computes in the next step: continuous batching with chunked prefill,
// paged KV caches with prefix sharing, preemption by recomputation. scheduler/README.md lists the
// rules.
//
// Pure host logic: no device, no communicator, no clock; time is counted in steps. The same calls
// give the same schedule. Not thread-safe.
//
// Reading order: Schedule (scheduler_plan.cc), Update (scheduler_update.cc), the rest.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/status.h"
#include "scheduler/rank_state.h"
#include "scheduler/request.h"
#include "scheduler/sequence.h"
#include "scheduler/speculation.h"
#include "scheduler/step_plan.h"
#include "scheduler/waiting_queue.h"

namespace folkmoot {

enum class Policy : uint8_t { kFcfs, kPriority };

struct SchedulerOptions {
  int ranks = 1;
  int64_t vocab = 0;
  int64_t max_model_len = 0;         // prompt and output together
  int64_t max_sequences = 64;        // running at once, over all ranks
  int64_t max_batched_tokens = 512;  // per rank and step
  int64_t prefill_chunk = 512;       // of one sequence in one step
  int64_t blocks_per_rank = 0;
  int64_t block_size = 16;
  // Sequences that a rank can hold at once, beside what their pages allow; 0: any number.
  int64_t slots_per_rank = 0;
  // Copies of recurrent state that a rank keeps for pages of the prefix cache. Above 0: pages are
  // read up to such a copy only. 0: the model has no such state, or its pages are not shared.
  int64_t snapshots_per_rank = 0;
  // Of a model whose windows keep the prompt: tokens of a window. Pages are shared as far as it
  // hides nothing; what is computed behind depends on where the prompt ends. 0: there is no such
  // window. Not beside snapshots: no model has both.
  int64_t output_window = 0;
  bool prefix_caching = true;
  Policy policy = Policy::kFcfs;
  bool plan_ahead = false;  // one step may be planned while another is under way
  // Whether what a gate with these overrides computes for a token is a function of the tokens
  // before it alone. Only then may pages be shared. Empty: always.
  std::function<bool(const std::string&)> gate_is_cacheable;
  uint64_t hash_seed = 0;  // of the prefix cache: a number that clients cannot know
  SpeculationOptions speculation;
  // Whether a gate with these overrides computes the same for a token whatever other rows are in
  // its step. Only then are there guesses. Empty: always.
  std::function<bool(const std::string&)> gate_can_speculate;
};

// Something that happened to one choice of a request. The last event of a choice, and no other, has
// a finish reason.
struct RequestEvent {
  int64_t id = 0;  // of the request
  int32_t choice = 0;
  const SequenceResult* result = nullptr;  // of the step; null when it ended outside a step
  FinishReason finish = FinishReason::kNone;
  int64_t cached_tokens = 0;  // of the prompt, from the prefix cache
  bool first = false;         // the first answer of the choice
  int64_t drafted = 0;        // guesses in the step's rows; with the step's first event
  bool accepted = false;      // the token had been guessed
  bool crashed = false;       // with kError: the ranks failed whenever they computed it
};

// The error of a choice that crashed.
inline constexpr char kCrashedError[] =
    "the engine failed each time it computed this request, also with nothing beside it";

class Scheduler {
 public:
  static constexpr int32_t kMaxChoices = 1024;
  static constexpr int kSuspectFailures = 2;

  explicit Scheduler(const SchedulerOptions& options);

  // Queues a request and returns its id: 0, 1, 2 ... Errors say what is wrong with it: an empty
  // prompt, an id outside the vocabulary, a length beyond the context or beyond all pages.
  absl::StatusOr<int64_t> Add(Request request);
  // What Add would say.
  absl::Status Check(const Request& request) const;
  // An id that no request will have.
  int64_t ReserveId() { return next_request_++; }
  int64_t vocab() const { return options_.vocab; }
  // Ends a request early: an event with kAborted for each unfinished choice comes with the next
  // Update or TakeEvents. Results of steps under way are dropped. Unknown ids are ignored (the
  // request may just have ended).
  void Abort(int64_t id);
  // Ends one choice early; the others go on. Until the request is admitted, the next choice takes
  // the place of the first in everything; then scores of the prompt end with it.
  void Abort(int64_t id, int32_t choice);
  // Events that no step brought: aborted choices, and choices whose constraint allows no first
  // token (kStop). Whoever does not take them gets them from the next Update, before its own.
  std::vector<RequestEvent> TakeEvents();

  // Requests without their last event: there is, or will be, something to plan.
  bool has_work() const { return !requests_.empty(); }
  // No work, nothing under way, no events left.
  bool idle() const { return !has_work() && flights_.empty() && pending_events_.empty(); }

  // The next step. Plans are numbered; each must be answered by Update, in order, before the next
  // is asked for, or with plan_ahead before the next but one. With a step under way the plan may be
  // empty (its tokens() are 0): it is a valid step, but TakeBack is cheaper.
  StepPlan Schedule();
  // The last plan was empty and no rank has seen it: as if it had not been made.
  void TakeBack(const StepPlan& plan);
  // results[r] is rank r's answer to the oldest plan: one result per slice, or one per token of a
  // slice with guesses, in the order of the slices; only slices that neither sample nor score may
  // lack one. Events, and the results that they point to, are valid until the next Update.
  const std::vector<RequestEvent>& Update(std::vector<StepResult> results);

  // The ranks have failed, and know no sequence any more. Steps under way are as if they had never
  // been planned, and running sequences wait again before all others. Pages that were published
  // stay cached: those of answered steps, which nobody has written to since. `begun`: the ranks may
  // have begun the oldest step under way. A request that was in the begun step of kSuspectFailures
  // failures and came no further between them is a suspect: it goes on with nobody else admitted
  // until it does, and when the ranks fail while it is alone, it ends with kError.
  void Restart(bool begun);
  // After Restart and before the next step: this rank has lost its pages too.
  void ForgetPages(int rank);

  int ranks() const { return options_.ranks; }
  int64_t next_step() const { return next_step_; }
  int64_t steps_under_way() const { return static_cast<int64_t>(flights_.size()); }

  // Metrics. Blocks: free + used + cached == total.
  const KvPool& pool(int rank) const { return ranks_[static_cast<size_t>(rank)]->pool; }
  int64_t free_blocks(int rank) const { return pool(rank).free(); }
  int64_t used_blocks(int rank) const { return pool(rank).used(); }
  int64_t cached_blocks(int rank) const { return pool(rank).cached(); }
  int64_t total_blocks() const { return options_.ranks * options_.blocks_per_rank; }
  int64_t free_blocks() const;
  int64_t used_blocks() const;
  int64_t cached_blocks() const;
  int64_t waiting() const { return queue_.sequences() + held_; }  // sequences
  int64_t waiting_tokens() const { return queue_.tokens(); }
  int64_t running() const { return running_; }
  int64_t running(int rank) const;
  int64_t preemptions() const { return preemptions_; }
  int64_t suspects() const { return static_cast<int64_t>(suspects_.size()); }  // requests
  // Requests so far that are gone and have perhaps brought the ranks down: Restart has ended them,
  // or they were aborted between a failure and what would have cleared them.
  int64_t culprits() const { return culprits_; }
  // Tokens that were looked up in the prefix cache when a sequence began or began again, and those
  // found. Sharing among the choices of one request with prefix caching off does not count.
  int64_t prefix_query_tokens() const { return prefix_query_tokens_; }
  int64_t prefix_hit_tokens() const { return prefix_hit_tokens_; }
  bool speculates() const { return options_.speculation.tokens > 0; }
  const SpeculationCounts& speculation() const { return speculation_; }

 private:
  // A slice of a step that is not answered yet.
  struct FlightSlice {
    int64_t id = 0;
    int64_t life = 0;
    int64_t count = 0;
    int64_t drafts = 0;  // rows of guesses behind them
    int64_t end = 0;     // position behind the last row that is no guess
    bool sample = false;
    int rank = 0;
    int32_t snapshot = -1;  // that is written behind it
  };
  struct Flight {
    int64_t step = 0;
    std::vector<std::vector<FlightSlice>> ranks;
  };

  // scheduler.cc
  absl::Status CheckSoFar(const Request& request) const;
  void GiveTokens(Sequence* sequence) const;
  void DecideSharing(RequestState* state) const;
  void EndAll(RequestState* request, FinishReason finish);
  void End(Sequence* sequence, bool failed);
  void ReleaseSiblings(RequestState* request);
  void PromoteSibling(RequestState* request);
  RequestEvent EventOf(const Sequence& sequence, FinishReason finish) const;
  bool by_priority() const { return options_.policy == Policy::kPriority; }

  // scheduler_plan.cc
  static int64_t Pending(const Sequence& sequence);
  static bool Decodes(const Sequence& sequence, int64_t rows);
  int64_t ChunkLimit(const Sequence& sequence) const;
  int64_t StepRows(const Sequence& sequence, int64_t budget) const;
  void Divide(RankState& rank) const;
  void Grow(RankState& rank);
  void GrowOne(RankState& rank, size_t i);
  static bool StandsStill(const RankState& rank);
  bool TakePages(RankState& rank, Sequence* sequence) const;
  static void Measure(RankState& rank);
  void Preempt(Sequence* sequence);
  void Requeue(Sequence* sequence);
  void Admit();
  Sequence* NextToAdmit() const;
  int64_t CacheLimit(const Sequence& sequence) const;
  void FindPrefixes(const Sequence& head);
  bool HasSlot(const RankState& rank) const;
  bool Fits(const RankState& rank, const Sequence& head, const KvPool::Match& match,
            int64_t extra_pages) const;
  static int64_t FirstTokens(const Sequence& head, const KvPool::Match& match);
  int Place(const Sequence& head);
  bool Displace(const Sequence& head);
  void Start(Sequence* head, int r);
  StepPlan Commit();
  void PlanSlice(Sequence* sequence, RankPlan* plan, std::vector<FlightSlice>* flight);

  // scheduler_snapshot.cc
  void BeginAtSnapshot(Sequence* sequence, int64_t known_pages) const;
  int64_t UpToSnapshot(const Sequence& sequence, int64_t rows) const;
  int32_t TakeSnapshot(const Sequence& sequence, int64_t end) const;
  void SettleSnapshot(const FlightSlice& slice, Sequence* sequence) const;

  bool PrepareMask(Sequence* sequence) const;

  // scheduler_restart.cc
  std::vector<RequestState*> RequestsUnderWay() const;
  void Blame(RequestState* request, bool alone);
  void Trust(RequestState* request);

  // scheduler_draft.cc
  void Draft(RankState& rank);
  int64_t MostDrafts(const RankState& rank, Sequence* sequence) const;
  void Guess(int64_t most, Sequence* sequence) const;
  void MaskGuesses(Sequence* sequence) const;

  // scheduler_update.cc
  void Apply(Sequence* sequence, const FlightSlice& slice, std::span<const SequenceResult> results);
  // One token further, `accepted` when it was guessed. False: the sequence has ended and is gone.
  bool ApplyOne(Sequence* sequence, const FlightSlice& slice, const SequenceResult* result,
                bool accepted);
  FinishReason Append(Sequence* sequence, int32_t token, bool accepted) const;
  void PublishPages(Sequence* sequence);

  SchedulerOptions options_;
  std::vector<std::unique_ptr<RankState>> ranks_;
  WaitingQueue queue_;
  absl::flat_hash_map<int64_t, std::unique_ptr<RequestState>> requests_;
  absl::flat_hash_map<int64_t, Sequence*> sequences_;  // by id
  std::deque<Flight> flights_;
  std::vector<int64_t> suspects_;  // requests that go on alone, one by one
  std::vector<RequestEvent> pending_events_;
  std::vector<RequestEvent> events_;
  std::vector<StepResult> results_;  // keeps what events point to
  // What the prefix caches hold of the head of the queue, by rank.
  std::vector<KvPool::Match> matches_;
  std::vector<int64_t> known_pages_;             // that were found, beyond the last snapshot too
  std::pair<int64_t, int64_t> matched_{-1, -1};  // its id and life
  int64_t next_request_ = 0;
  int64_t next_sequence_ = 0;
  int64_t next_ticket_ = 0;
  int64_t next_step_ = 0;
  int64_t running_ = 0;
  int64_t held_ = 0;  // choices that wait for the first one of their request
  int64_t preemptions_ = 0;
  int64_t culprits_ = 0;
  int64_t prefix_query_tokens_ = 0;
  int64_t prefix_hit_tokens_ = 0;
  SpeculationCounts speculation_;
};

}  // namespace folkmoot
