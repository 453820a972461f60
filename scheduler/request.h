// SPDX-License-Identifier: Apache-2.0
// What a caller asks the engine for, and what it hears back.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/sampling_params.h"
#include "runtime/token_constraint.h"
#include "scheduler/pooling.h"

namespace folkmoot {

// What a choice has given in an earlier life of the server.
struct ChoiceSoFar {
  std::vector<int32_t> tokens;
  bool ended = false;
};

// When a search for the most probable output is over: kYes with as many finished outputs as there
// are beams; else when no running one can still be better than the worst of them, by its score
// now, or with kNever by the best it may come to.
enum class EarlyStopping : uint8_t { kNo, kYes, kNever };

// Beam search in place of sampling (launch/beam_search.h); the scheduler knows nothing of it. The
// score of an output is its log-probability divided by its length to the power of length_penalty.
struct BeamParams {
  int32_t width = 0;  // 0: none
  double length_penalty = 1.0;
  EarlyStopping early_stopping = EarlyStopping::kNo;
  int32_t begun = 0;  // tokens at the end of the prompt that count as output: a forced first one
};

struct Request {
  std::vector<int32_t> prompt;
  // The first so many tokens of the prompt are what an encoder reads, in one step; what follows
  // is how the output begins. 0 for models without an encoder.
  int64_t source = 0;
  int64_t written = 0;      // the last so many of the prompt are output already (beam search)
  int64_t max_tokens = 16;  // 0: score the prompt only
  SamplingParams sampling;
  std::vector<int32_t> stop_ids;  // ends after one of these was sampled; it is part of the output
  // Choices: each is a sequence of its own that shares the prompt's pages. Choice i draws with
  // sampling.seed + i.
  int32_t n = 1;
  BeamParams beams;  // with them, the n best outputs

  int32_t logprobs = -1;             // the best K at every generated token; -1: none
  bool prompt_logprobs = false;      // log-probability and rank of every prompt token but the first
  int32_t top_logprobs = 0;          // with prompt_logprobs: the best K per position
  bool trace_routing = false;        // every routing decision
  bool layer_digests = false;        // a hash of the residual stream after each layer
  Pooling pooling = Pooling::kNone;  // the prompt's embedding; max_tokens is 0 and n is 1

  std::string gate;          // overrides of the model's gate ("top_k=1"); validated by the caller
  int32_t priority = 0;      // with the priority policy: lower runs earlier
  uint64_t client = 0;       // who asks: clients take turns when many wait
  uint64_t cache_salt = 0;   // prompts share cached pages only with equal salts
  bool prefix_cache = true;  // may read pages that earlier requests computed
  std::shared_ptr<const TokenConstraint> constraint;  // in its first state; may be null
  // Where it goes on: one for each choice, at least one of which has not ended. Empty: it begins.
  std::vector<ChoiceSoFar> so_far;
};

// kAborted: its caller ended it. kError: it could not go on; SequenceResult::error says why.
enum class FinishReason : uint8_t { kNone, kStop, kLength, kAborted, kError };
const char* FinishReasonName(FinishReason reason);

}  // namespace folkmoot
