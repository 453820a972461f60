// SPDX-License-Identifier: Apache-2.0
// The contract between the scheduler and the ranks: all that a step needs, decided in one place.
// Plain structs here, Protobuf on the wire (proto/step.proto).
//
// A sequence's rank hears once what does not change (SequenceStart) and then, step by step, only
// what is new (SequenceSlice). A rank keeps the tokens of its sequences, so a step can be planned
// before the token that the step before it samples is known.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/sampling_params.h"
#include "scheduler/pooling.h"

namespace folkmoot {

// A sequence begins on a rank, or begins again after it was preempted.
struct SequenceStart {
  int64_t id = 0;               // also the admission order: smaller came first
  std::vector<int32_t> tokens;  // prompt, and the output so far when it begins again
  int64_t prompt_length = 0;
  int64_t source = 0;   // Request::source; one slice computes it all
  int64_t written = 0;  // Request::written
  // Leading tokens whose keys and values are in `cached_blocks` already (prefix cache): whole
  // pages, and fewer than tokens.size().
  int64_t cached = 0;
  std::vector<int32_t> cached_blocks;
  // The copy of recurrent state with which it goes on behind them; -1: there is none, it begins at
  // its first token, or the model has no such state.
  int32_t snapshot = -1;
  // Positions before this one have been answered in an earlier life: no prompt log-probabilities
  // and routing traces for them.
  int64_t answered = 0;
  std::string gate;  // overrides of the model's gate; empty: none
  SamplingParams sampling;
  int32_t logprobs = -1;
  bool prompt_logprobs = false;
  int32_t top_logprobs = 0;
  bool trace_routing = false;
  bool layer_digests = false;
  Pooling pooling = Pooling::kNone;  // of the prompt
};

// The next `count` tokens of one sequence, from position `start`: a piece of what it began with, or
// the token that it sampled last. Guesses may follow (scheduler/speculation.h).
struct SequenceSlice {
  int64_t id = 0;
  int64_t start = 0;
  int64_t count = 0;
  std::vector<int32_t> new_blocks;  // appended to the sequence's pages
  bool sample = false;              // choose the token after the last of these
  // A row more for each of `drafts` guesses of the tokens behind them; only with `sample`. The
  // guesses are in `draft`, or, where that is empty, they are the rank's own draft model's.
  int64_t drafts = 0;
  std::vector<int32_t> draft;
  // Where a copy of the recurrent state behind the last of these goes, once the step is computed;
  // starts of the same step read what was there before. -1: nowhere.
  int32_t snapshot = -1;
  // Bit mask over the vocabulary for the choice after the last token, then one for the choice after
  // each guess; empty: all may come.
  std::vector<uint32_t> allowed;

  int64_t rows() const { return count + drafts; }
  int64_t end() const { return start + rows(); }
};

struct RankPlan {
  std::vector<int64_t> finished;  // forget these first (preempted ones too)
  std::vector<SequenceStart> starts;
  std::vector<SequenceSlice> slices;
};

struct StepPlan {
  int64_t epoch = 0;  // life of the engine; a replayed step of an earlier one is refused
  int64_t step = 0;   // consecutive
  bool shutdown = false;
  uint64_t placement_version = 0;  // of the experts
  // Gate overrides in use in this step, ascending, each once, "" included. All ranks route once per
  // entry, with zero rows where they have none.
  std::vector<std::string> gates;
  std::vector<RankPlan> ranks;  // what each rank computes

  // Rows to compute, those of guesses included.
  int64_t tokens() const {
    int64_t total = 0;
    for (const RankPlan& rank : ranks) {
      for (const SequenceSlice& slice : rank.slices) total += slice.rows();
    }
    return total;
  }
};

// What one MoE layer decided for one sequence's tokens of a step. expert, weight, state, place:
// [tokens, K].
struct RoutingTrace {
  int32_t layer = 0;
  int32_t top_k = 0;
  std::vector<int32_t> expert;
  std::vector<float> weight;
  std::vector<uint8_t> state;  // SlotState
  std::vector<int32_t> place;
};

// Choices that a sequence has lost in one MoE layer from its first token on, those of cached pages
// included. Each result replaces the one before.
struct DropCounts {
  int32_t layer = 0;
  int64_t rejected = 0;
  int64_t overflow = 0;
  int64_t prompt_rejected = 0;  // of them, by tokens of the prompt
  int64_t prompt_overflow = 0;
};

// The answer to a slice. A slice with guesses has one for each token that it gives, 1 to 1 +
// drafts, each what a step of its own would have answered.
struct SequenceResult {
  int64_t id = 0;
  int32_t token = -1;  // sampled, or -1
  float token_logprob = 0;
  std::vector<TokenLogprob> token_top;     // SequenceStart::logprobs best, when sampled
  std::vector<float> target_logprobs;      // of the prompt tokens that follow the slice's rows
  std::vector<int32_t> target_ranks;       // 1: the most probable token
  std::vector<TokenLogprob> top_logprobs;  // top_logprobs best per target
  std::vector<DropCounts> drops;           // every MoE layer, when the gate can lose choices
  std::vector<RoutingTrace> routing;
  std::vector<uint64_t> layer_digests;  // of all rows of the sequence so far
  std::vector<float> embedding;         // [H] with the last row of a prompt that is pooled
  std::string error;                    // not empty: the sequence cannot go on
};

struct StepResult {
  std::vector<SequenceResult> sequences;  // in the order of the slices
  // [MoE layers, E] kept choices of this rank's tokens; guesses that were wrong do not count.
  std::vector<int64_t> expert_tokens;
  std::vector<int64_t> expert_overflow;  // [MoE layers, E] choices that found no place
};

}  // namespace folkmoot
