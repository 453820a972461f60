// SPDX-License-Identifier: Apache-2.0
#include "scheduler/scheduler.h"

#include <algorithm>
#include <limits>

#include "runtime/check.h"

namespace folkmoot {

const char* FinishReasonName(FinishReason reason) {
  switch (reason) {
    case FinishReason::kNone:
      return "none";
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kAborted:
      return "aborted";
    case FinishReason::kError:
      return "error";
  }
  FM_CHECK(false);
  return "";
}

namespace {

// What an encoder computes of a source depends on all of it: who shares its pages has the same one.
std::string SourceScope(const Request& request) {
  std::string scope;
  for (int64_t i = 0; i < request.source; ++i) {
    scope += fmt::format(" {}", request.prompt[static_cast<size_t>(i)]);
  }
  return scope;
}

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options)
    : options_(options), queue_(options.policy == Policy::kPriority) {
  FM_CHECK(options.ranks > 0 && options.max_sequences > 0);
  FM_CHECK(options.max_batched_tokens > 0 && options.prefill_chunk > 0);
  FM_CHECK(options.output_window == 0 || options.snapshots_per_rank == 0);
  for (int r = 0; r < options.ranks; ++r) {
    ranks_.push_back(std::make_unique<RankState>(options.blocks_per_rank, options.block_size,
                                                 options.snapshots_per_rank, options.hash_seed));
  }
  matches_.resize(ranks_.size());
  known_pages_.resize(ranks_.size());
}

// Tokens of an earlier life are taken as they are, if they can be.
absl::Status Scheduler::CheckSoFar(const Request& request) const {
  if (request.so_far.empty()) return absl::OkStatus();
  if (request.so_far.size() != static_cast<size_t>(request.n)) {
    return InvalidArgument("{} of {} choices go on", request.so_far.size(), request.n);
  }
  bool open = false;
  for (const ChoiceSoFar& choice : request.so_far) {
    open = open || !choice.ended;
    if (!choice.ended && static_cast<int64_t>(choice.tokens.size()) >= request.max_tokens) {
      return InvalidArgument("a choice goes on after {} of {} tokens", choice.tokens.size(),
                             request.max_tokens);
    }
    for (const int32_t token : choice.tokens) {
      if (token < 0 || token >= options_.vocab) {
        return InvalidArgument("a choice goes on after token {}: ids are 0 to {}", token,
                               options_.vocab - 1);
      }
    }
  }
  return open ? absl::OkStatus() : InvalidArgument("every choice has ended: nothing goes on");
}

absl::Status Scheduler::Check(const Request& request) const {
  const auto prompt = static_cast<int64_t>(request.prompt.size());
  if (prompt == 0) return InvalidArgument("the prompt is empty: give at least one token");
  if (request.max_tokens < 0) {
    return InvalidArgument("max_tokens is {}: it must be 0 or more", request.max_tokens);
  }
  if (request.n < 1 || request.n > kMaxChoices) {
    return InvalidArgument("n is {}: it must be 1 to {}", request.n, kMaxChoices);
  }
  if (request.pooling != Pooling::kNone && (request.max_tokens != 0 || request.n != 1)) {
    return InvalidArgument(
        "max_tokens is {} and n is {}: a prompt that becomes an embedding generates nothing, so "
        "they must be 0 and 1",
        request.max_tokens, request.n);
  }
  if (request.source < 0 || (request.source > 0 && request.source >= prompt)) {
    return InvalidArgument(
        "the source has {} of the {} tokens of the prompt: at least one token must follow, with "
        "which the output begins",
        request.source, prompt);
  }
  if (request.written < 0 || request.written >= prompt) {
    return InvalidArgument("{} of the {} tokens of the prompt are output: at least one must not be",
                           request.written, prompt);
  }
  if (request.source > options_.max_batched_tokens) {
    return InvalidArgument(
        "the source has {} tokens, but a step computes at most {}, and an encoder reads a source "
        "in one step: shorten it or raise --max-num-batched-tokens",
        request.source, options_.max_batched_tokens);
  }
  const int64_t most = std::numeric_limits<int64_t>::max() - prompt;
  const int64_t asked = prompt + std::min(request.max_tokens, most);
  if (asked > options_.max_model_len) {
    return InvalidArgument(
        "this model's maximum context length is {} tokens, but {} were asked for ({} in the "
        "prompt, {} to generate): shorten the prompt, lower max_tokens or raise --max-model-len",
        options_.max_model_len, asked, prompt, request.max_tokens);
  }
  for (size_t i = 0; i < request.prompt.size(); ++i) {
    if (request.prompt[i] < 0 || request.prompt[i] >= options_.vocab) {
      return InvalidArgument("prompt token {} is {}: ids of this model are 0 to {}", i,
                             request.prompt[i], options_.vocab - 1);
    }
  }
  FM_RETURN_IF_ERROR(CheckSoFar(request));
  const int64_t blocks = (asked + options_.block_size - 1) / options_.block_size;
  if (blocks > options_.blocks_per_rank) {
    return ResourceExhausted(
        "the request needs {} KV pages of {} tokens, but a rank has only {}: raise "
        "--kv-cache-blocks or ask for less",
        blocks, options_.block_size, options_.blocks_per_rank);
  }
  return absl::OkStatus();
}

// With prefix caching off, or for a request that may not read the cache, choices still share the
// prompt, in a scope of the request's own that leaves nothing behind.
void Scheduler::DecideSharing(RequestState* state) const {
  const Request& request = state->request;
  const bool cacheable = !options_.gate_is_cacheable || options_.gate_is_cacheable(request.gate);
  // Digests and means run over all rows, and every choice owes its own traces.
  const bool sums_rows = request.layer_digests || request.pooling == Pooling::kMean;
  const bool needs_all_rows = sums_rows || request.trace_routing;
  const bool reads_others = options_.prefix_caching && request.prefix_cache;
  const bool resumes = !request.so_far.empty();  // some choices are further than their prompt
  state->shares_prompt = cacheable && request.n > 1 && !needs_all_rows && !resumes;
  const bool own_scope = state->shares_prompt && !reads_others;
  state->reads_cache = cacheable && !sums_rows && (reads_others || own_scope);
  state->publishes = cacheable && (options_.prefix_caching || own_scope);
  // The mask behind a guess needs the guess, which draft models make elsewhere.
  state->speculates = options_.speculation.tokens > 0 &&
                      (!options_.gate_can_speculate || options_.gate_can_speculate(request.gate)) &&
                      (request.constraint == nullptr ||
                       options_.speculation.method != SpeculationMethod::kDraftModel);
  state->scope = {.gate = request.gate + SourceScope(request),
                  .salt = request.cache_salt,
                  .owner = own_scope ? state->id : int64_t{-1}};
}

// The prompt, and what its choice has given already: as after a preemption.
void Scheduler::GiveTokens(Sequence* sequence) const {
  const Request& request = sequence->request->request;
  sequence->tokens = request.prompt;
  if (request.so_far.empty()) return;
  const auto& tokens = request.so_far[static_cast<size_t>(sequence->choice)].tokens;
  if (tokens.empty()) return;
  sequence->tokens.insert(sequence->tokens.end(), tokens.begin(), tokens.end());
  sequence->heard = true;
  sequence->answered = static_cast<int64_t>(sequence->tokens.size()) - 1;
  if (request.constraint == nullptr) return;
  sequence->constraint = request.constraint->Clone();
  for (const int32_t token : tokens) sequence->constraint->Accept(token);
}

absl::StatusOr<int64_t> Scheduler::Add(Request request) {
  FM_RETURN_IF_ERROR(Check(request));
  auto state = std::make_unique<RequestState>();
  state->id = next_request_++;
  state->request = std::move(request);
  std::sort(state->request.stop_ids.begin(), state->request.stop_ids.end());
  const std::vector<ChoiceSoFar>& so_far = state->request.so_far;
  const auto ended = [&](int32_t i) {
    return !so_far.empty() && so_far[static_cast<size_t>(i)].ended;
  };
  DecideSharing(state.get());
  for (int32_t i = 0; i < state->request.n; ++i) {
    if (ended(i)) {
      ++next_sequence_;
      state->choices.push_back(nullptr);
      continue;
    }
    if (state->open++ == 0) state->first = i;
    auto sequence = std::make_unique<Sequence>();
    sequence->request = state.get();
    sequence->id = next_sequence_++;
    sequence->choice = i;
    sequence->phase = SequencePhase::kHeld;
    sequences_.emplace(sequence->id, sequence.get());
    state->choices.push_back(std::move(sequence));
  }
  state->held = state->open - 1;
  held_ += state->held;
  Sequence* first = state->choices[static_cast<size_t>(state->first)].get();
  GiveTokens(first);
  queue_.Add(first, next_step_);
  const int64_t id = state->id;
  requests_.emplace(id, std::move(state));
  return id;
}

RequestEvent Scheduler::EventOf(const Sequence& sequence, FinishReason finish) const {
  return {.id = sequence.request->id,
          .choice = sequence.choice,
          .finish = finish,
          .cached_tokens = std::max<int64_t>(0, sequence.cached_tokens)};
}

void Scheduler::Abort(int64_t id) {
  const auto found = requests_.find(id);
  if (found != requests_.end()) EndAll(found->second.get(), FinishReason::kAborted);
}

// Ends every choice, with an event for each; kError: because it crashed.
void Scheduler::EndAll(RequestState* request, FinishReason finish) {
  const size_t at = pending_events_.size();
  // The first choice goes last: it would set the others free.
  for (size_t i = request->choices.size(), open = static_cast<size_t>(request->open); open > 0;) {
    Sequence* sequence = request->choices[--i].get();
    if (sequence == nullptr) continue;
    --open;
    pending_events_.push_back(EventOf(*sequence, finish));
    pending_events_.back().crashed = finish == FinishReason::kError;
    End(sequence, false);  // with the last one the request is gone
  }
  std::reverse(pending_events_.begin() + static_cast<std::ptrdiff_t>(at), pending_events_.end());
}

void Scheduler::Abort(int64_t id, int32_t choice) {
  const auto found = requests_.find(id);
  if (found == requests_.end()) return;
  const auto& choices = found->second->choices;
  if (choice < 0 || static_cast<size_t>(choice) >= choices.size()) return;
  Sequence* sequence = choices[static_cast<size_t>(choice)].get();
  if (sequence == nullptr) return;  // it has just ended
  pending_events_.push_back(EventOf(*sequence, FinishReason::kAborted));
  RequestState* request = found->second.get();
  if (choice == request->first && request->ticket < 0 && request->held > 0) {
    PromoteSibling(request);
  }
  End(sequence, false);
}

std::vector<RequestEvent> Scheduler::TakeEvents() {
  std::vector<RequestEvent> events = std::move(pending_events_);
  pending_events_.clear();
  return events;
}

// Further choices of an admitted request get in line before everybody who was not admitted yet.
void Scheduler::ReleaseSiblings(RequestState* request) {
  if (request->held == 0) return;
  if (request->ticket < 0) request->ticket = next_ticket_++;
  for (const auto& sequence : request->choices) {
    if (sequence == nullptr || sequence->phase != SequencePhase::kHeld) continue;
    GiveTokens(sequence.get());
    queue_.AddFront(sequence.get(), next_step_);
  }
  held_ -= request->held;
  request->held = 0;
}

// The first choice leaves a request that nobody was admitted of: the next one gets its place in the
// queue.
void Scheduler::PromoteSibling(RequestState* request) {
  const auto next = std::find_if(request->choices.begin(), request->choices.end(),
                                 [](const std::unique_ptr<Sequence>& s) {
                                   return s != nullptr && s->phase == SequencePhase::kHeld;
                                 });
  FM_CHECK(next != request->choices.end());
  Sequence* sequence = next->get();
  request->first = sequence->choice;
  --request->held;
  --held_;
  GiveTokens(sequence);
  queue_.Add(sequence, next_step_);
}

// A choice had its last event. Its sequence is gone afterwards, and so is the request with its last
// choice. `failed`: what it computed is not to be trusted.
void Scheduler::End(Sequence* sequence, bool failed) {
  RequestState* request = sequence->request;
  if (failed && request->publishes) {
    for (const auto& rank : ranks_) {
      rank->pool.Forget(request->scope, sequence->tokens, sequence->first_own_page);
    }
  }
  switch (sequence->phase) {
    case SequencePhase::kHeld:
      --held_;
      --request->held;
      break;
    case SequencePhase::kWaiting:
      queue_.Remove(sequence);
      break;
    case SequencePhase::kRunning: {
      RankState& rank = *ranks_[static_cast<size_t>(sequence->rank)];
      rank.Erase(sequence);
      if (sequence->started) rank.finished.push_back(sequence->id);
      rank.LeavePages(sequence);
      --running_;
      break;
    }
  }
  if (sequence->choice == request->first) ReleaseSiblings(request);
  sequences_.erase(sequence->id);
  request->choices[static_cast<size_t>(sequence->choice)].reset();
  if (--request->open > 0) return;
  if (request->failures > 0) ++culprits_;
  Trust(request);
  const int64_t id = request->id;
  requests_.erase(id);
}

int64_t Scheduler::running(int rank) const {
  return static_cast<int64_t>(ranks_[static_cast<size_t>(rank)]->running.size());
}

int64_t Scheduler::free_blocks() const {
  int64_t blocks = 0;
  for (const auto& rank : ranks_) blocks += rank->pool.free();
  return blocks;
}

int64_t Scheduler::used_blocks() const {
  int64_t blocks = 0;
  for (const auto& rank : ranks_) blocks += rank->pool.used();
  return blocks;
}

int64_t Scheduler::cached_blocks() const {
  int64_t blocks = 0;
  for (const auto& rank : ranks_) blocks += rank->pool.cached();
  return blocks;
}

}  // namespace folkmoot
