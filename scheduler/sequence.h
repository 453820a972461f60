// SPDX-License-Identifier: Apache-2.0
// What the scheduler remembers of a request and of each of its choices.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <tuple>
#include <vector>

#include "runtime/token_constraint.h"
#include "scheduler/kv_pool.h"
#include "scheduler/request.h"
#include "scheduler/speculation.h"

namespace folkmoot {

struct RequestState;

// kHeld: a choice that waits until the first one has computed the prompt that they share.
enum class SequencePhase : uint8_t { kHeld, kWaiting, kRunning };

// One choice of a request. It may live several times: after a preemption it starts again with
// prompt and output as its tokens.
struct Sequence {
  RequestState* request = nullptr;
  int64_t id = 0;  // in order of arrival over all requests
  int32_t choice = 0;
  SequencePhase phase = SequencePhase::kWaiting;
  std::vector<int32_t> tokens;  // prompt and output as far as it is known; empty while held
  int64_t queued_tokens = 0;    // what it counts for in the queue
  int64_t preemptions = 0;
  bool heard = false;          // it had an answer
  int64_t answered = 0;        // rows whose results were delivered in earlier lives
  int64_t cached_tokens = -1;  // of the prompt, from the prefix cache in its first life
  int64_t first_own_page = 0;  // pages before it were others' in each life
  std::unique_ptr<TokenConstraint> constraint;  // from its first sampled token on
  std::vector<uint32_t> allowed;                // mask for its next token, and behind its guesses
  bool mask_ready = false;

  // Steps that were planned and are not updated yet, also those of an earlier life.
  int64_t last_step = -1;
  int64_t rows_in_flight = 0;
  int64_t samples_in_flight = 0;
  int64_t drafts_in_flight = 0;  // guesses among the rows
  DraftPace pace;

  // This life.
  int64_t life = 0;
  int rank = -1;
  bool started = false;        // the rank knows it
  std::vector<int32_t> pages;  // a reference to each
  int64_t cached_pages = 0;    // leading ones that came from the prefix cache
  int64_t new_pages = 0;       // last ones that the rank has not heard of
  int64_t chained_pages = 0;   // leading ones with a place in the prefix tree
  KvPool::Place chain_end;     // the last of those
  int64_t computed = 0;        // rows whose keys and values are in the cache
  int64_t want = 0;            // rows of the step being planned
  int64_t drafts = 0;          // rows of guesses behind them
  std::vector<int32_t> draft;  // the guesses, when they are made here
  // Of models with recurrent state: the snapshot with which it began, -1: none; where steps of its
  // first tokens end, so that one can be made there; and the newest one made while it decodes.
  int32_t snapshot = -1;
  int64_t snapshot_stops[2] = {0, 0};
  int32_t newest_snapshot = -1, newest_page = -1;

  // Length and end of what is computed, when all steps in flight are done. Not known while guesses
  // are in flight.
  int64_t length() const { return static_cast<int64_t>(tokens.size()) + samples_in_flight; }
  int64_t planned() const { return computed + rows_in_flight; }
};

struct RequestState {
  int64_t id = 0;
  Request request;      // stop_ids ascending
  int64_t ticket = -1;  // order of admission; -1: not yet
  std::vector<std::unique_ptr<Sequence>> choices;
  int32_t open = 0;            // choices without a terminal event
  int32_t held = 0;            // of them, choices in phase kHeld
  int32_t first = 0;           // the choice that goes ahead of the others
  bool shares_prompt = false;  // choices wait for the first one's pages
  bool reads_cache = false;
  bool publishes = false;
  bool speculates = false;
  int failures = 0;  // of the ranks, while it was under way and came no further
  CacheScope scope;

  int64_t prompt_length() const { return static_cast<int64_t>(request.prompt.size()); }
  // Rows whose keys and values are a function of the tokens up to them alone, where a window (0:
  // none) hides nothing of the prompt.
  int64_t shared_rows(int64_t window) const {
    if (window == 0) return std::numeric_limits<int64_t>::max();
    return prompt_length() - request.written + window;
  }
  bool ScoresPrompt(const Sequence& sequence) const {  // one answer is enough for all choices
    return request.prompt_logprobs && (sequence.choice == first || !shares_prompt);
  }
};

// Preempted so often, a sequence is not the first to give way any more.
constexpr int64_t kVeteranPreemptions = 3;

// Order in which running sequences get tokens and pages; the last one gives way first. With
// priorities: veterans, then by priority; then by admission.
inline std::tuple<bool, int64_t, int64_t, int64_t> ImportanceKey(const Sequence& sequence,
                                                                 bool by_priority) {
  const bool veteran = sequence.preemptions >= kVeteranPreemptions;
  const RequestState& request = *sequence.request;
  return {by_priority && !veteran, by_priority && !veteran ? request.request.priority : 0,
          request.ticket, sequence.id};
}

}  // namespace folkmoot
