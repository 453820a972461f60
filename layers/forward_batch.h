// SPDX-License-Identifier: Apache-2.0
// The tokens that one rank computes in one step: prefill chunks and single decode tokens, mixed.
// The layers see rows and positions, never requests.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "layers/gates/gate.h"
#include "runtime/ops/attention.h"
#include "runtime/sampling_params.h"

namespace folkmoot {

// The rows of one sequence: consecutive positions start .. start + rows.
struct BatchSequence {
  int64_t first_row = 0;
  int64_t rows = 0;
  int64_t start = 0;
  int64_t order = 0;                // admission order over all ranks
  std::span<const int32_t> blocks;  // pages of the KV cache, enough for start + rows positions
  // [MoE layers, E] counters of sequence_chunk capacity, or empty.
  std::span<int32_t> expert_places = {};
  // Where the counters go as they stand at the end of each page that these rows fill, each [MoE
  // layers, E]; empty: nowhere.
  std::span<int32_t* const> page_ends = {};
  int64_t page_size = 0;  // positions in a page of the KV cache
  int32_t gate = 0;       // index in ForwardBatch::gates
  int32_t slot = -1;      // of recurrent state; -1: the model has none
  int64_t source = 0;     // the first so many positions are the encoder's, all in one step
  int64_t prompt = 0;     // the first so many positions were given; behind them is output
};

// A step over all ranks, for what ranks must agree on before they exchange rows.
struct WidestStep {
  int64_t rows = 0;      // the most of any rank
  int64_t length = 0;    // of the longest sequence, its new rows included
  bool single = true;    // no rank has more than one row of a sequence
  bool sources = false;  // some rank has rows of a source
};

// How the token after a row is chosen where the row's logits are all that counts: by the rules of
// runtime/sampler.h.
struct TokenChoice {
  bool wanted = false;
  PlainSampling how;
};

struct ChosenToken {
  int32_t token = -1;  // none: the row's logits are not finite numbers
  float logprob = 0;   // of the model, before any filter
};

struct ForwardBatch {
  // Per row. Streams are keys of random draws: a hash of the tokens up to and including this one,
  // or the sequence's id.
  std::vector<int32_t> token_ids;
  std::vector<int32_t> positions;
  std::vector<int32_t> rope_lengths;  // see Rope::Fill
  std::vector<uint64_t> streams;
  std::vector<BatchSequence> sequences;  // cover the rows in order
  std::vector<int32_t> logit_rows;       // rows whose logits are wanted, ascending
  std::vector<TokenChoice> choices;      // one per logit row, or empty; see Model::chosen
  // The gates of this step, the same on all ranks also where no sequence uses one. Empty: the
  // model's own for all.
  std::vector<const Gate*> gates;
  WidestStep widest;  // the same on all ranks

  int64_t tokens() const { return static_cast<int64_t>(token_ids.size()); }
  // Empties the batch and keeps its memory.
  void Clear() {
    token_ids.clear();
    positions.clear();
    rope_lengths.clear();
    streams.clear();
    sequences.clear();
    logit_rows.clear();
    choices.clear();
    gates.clear();
    widest = {};
  }
};

}  // namespace folkmoot
