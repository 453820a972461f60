// SPDX-License-Identifier: Apache-2.0
// The contract between the scheduler and the ranks: all that a step needs, decided in one place.
// Plain structs here, Protobuf on the wire (proto/step.proto).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/sampler.h"

namespace folkmoot {

// Some consecutive tokens of one sequence: a piece of its prompt, or the token that was sampled
// last.
struct SequenceSlice {
  int64_t id = 0;     // also the admission order: smaller came first
  int64_t start = 0;  // position of the first token
  int64_t prompt_length = 0;
  std::vector<int32_t> token_ids;
  std::vector<int32_t> blocks;  // all pages of the sequence on its rank
  std::vector<int32_t>
      targets;  // per row the token whose log-probability is wanted, -1: none; or empty
  int32_t top_logprobs = 0;
  bool sample = false;  // choose the next token after the last row
  bool trace_routing = false;
  bool layer_digests = false;
  SamplingParams sampling;
};

struct StepPlan {
  int64_t epoch = 0;  // life of the engine; a replayed step of an earlier one is refused
  int64_t step = 0;   // consecutive
  bool shutdown = false;
  std::vector<std::vector<SequenceSlice>> ranks;  // what each rank computes
  std::vector<int64_t> finished;                  // sequences whose state the ranks may forget

  int64_t tokens() const {
    int64_t total = 0;
    for (const auto& slices : ranks) {
      for (const SequenceSlice& slice : slices)
        total += static_cast<int64_t>(slice.token_ids.size());
    }
    return total;
  }
};

// What one MoE layer decided for one sequence's tokens of a step. experts, weight, state, place:
// [tokens, K].
struct RoutingTrace {
  int32_t layer = 0;
  int32_t top_k = 0;
  std::vector<int32_t> expert;
  std::vector<float> weight;
  std::vector<uint8_t> state;  // SlotState
  std::vector<int32_t> place;
};

// Choices that a sequence lost in one MoE layer; zeros included.
struct DropCounts {
  int32_t layer = 0;
  int64_t rejected = 0;
  int64_t overflow = 0;
};

struct SequenceResult {
  int64_t id = 0;
  int32_t token = -1;  // sampled, or -1
  float token_logprob = 0;
  std::vector<float> target_logprobs;      // one per target that is not -1
  std::vector<TokenLogprob> top_logprobs;  // K per such target
  std::vector<DropCounts> drops;           // every MoE layer, when the gate can lose choices
  std::vector<RoutingTrace> routing;
  std::vector<uint64_t> layer_digests;  // of all rows of the sequence so far
  std::string error;                    // not empty: the sequence cannot go on
};

struct StepResult {
  std::vector<SequenceResult> sequences;
  std::vector<int64_t> expert_tokens;  // [MoE layers, E] kept choices of this rank's tokens
};

}  // namespace folkmoot
