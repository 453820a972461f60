// SPDX-License-Identifier: Apache-2.0
// What a rank keeps of its sequences between steps, besides keys and values, and of the pages that
// sequences may share.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "layers/gates/gate.h"
#include "runtime/token_history.h"
#include "scheduler/step_plan.h"

namespace folkmoot {

struct SequenceState {
  SequenceStart start;          // its tokens and blocks have moved to the vectors below
  std::vector<int32_t> tokens;  // prompt, and the output as far as it is known
  std::vector<int32_t> blocks;  // pages
  int32_t slot = -1;            // of recurrent state; -1: the model has none
  int64_t computed = 0;         // positions whose keys and values are in the pages
  int64_t drafted = 0;          // the same for the pages of the draft model
  uint64_t stream = 0;          // hash of the tokens at those positions
  int64_t last_step = -1;       // in which it had a slice
  std::string error;            // not empty: it cannot go on, its slices are ignored

  // Of a slice with guesses that is under way: the guesses, which stand behind `tokens` while the
  // layers run, and what was before them.
  std::vector<int32_t> draft;
  uint64_t stream_before = 0;
  std::vector<int32_t> places_before;

  // The gate that routes it, null for dense models, and what follows from its configuration.
  std::shared_ptr<const Gate> gate;
  bool can_lose = false;     // choices may be rejected or overflow: they are counted
  bool keeps_pages = false;  // counters are kept beside pages, for sequences that share them

  std::vector<int32_t> expert_places;  // [MoE layers, E], sequence_chunk capacity; or empty
  std::vector<DropCounts> drops;       // [MoE layers] if can_lose
  std::vector<uint64_t> digests;       // [layers] if asked for
  std::vector<double> hidden_sum;      // [H] with pooling by the mean: of the computed rows
  TokenHistory history;                // if its sampling needs one
};

// A hash of one more token.
uint64_t ExtendStream(uint64_t stream, int32_t token);

// What stands beside each page of the KV cache: a check of its content, and, for gates that can
// lose choices, what a sequence that begins after the page must know of it. A record is written
// while its page is filled, and lives as long as the page is not filled anew.
class PageLedger {
 public:
  PageLedger(int64_t blocks, int64_t block_size, int64_t moe_layers, int64_t experts);

  int64_t blocks() const { return static_cast<int64_t>(records_.size()); }
  int64_t block_size() const { return block_size_; }

  // A sequence writes positions begin .. end, all of whose tokens are known; `stream` is the hash
  // of the tokens before `begin`. Appends to page_ends where the chunk counters go at the end of
  // each page that is filled.
  void Write(const SequenceState& state, int64_t begin, int64_t end, uint64_t stream,
             std::vector<int32_t*>* page_ends);
  // Choices that a token lost in a MoE layer; before the token is added to state.drops.
  void CountLost(const SequenceState& state, size_t moe_layer, int64_t position, int rejected,
                 int overflow);

  // Fills what the state must know of state.computed positions in shared pages: the hash of the
  // tokens, chunk counters, lost choices. DataLoss when a page holds something else.
  absl::Status Restore(SequenceState* state) const;

 private:
  struct Record {
    uint64_t content = 0;  // of all tokens up to the page's end, and of the gate; 0: not full
    std::vector<int32_t> places;  // [MoE layers, E] after the last token
    // [MoE layers, 1 + block_size, 2] rejected and overflow: all before the page, then by token.
    std::vector<int32_t> lost;
  };
  static uint64_t Content(const SequenceState& state, uint64_t stream);
  void RestoreLost(SequenceState* state) const;
  void AddLost(const SequenceState& state, int64_t positions, bool prompt,
               std::vector<DropCounts>* drops) const;

  int64_t block_size_;
  int64_t moe_layers_;
  int64_t experts_;
  std::vector<Record> records_;
};

}  // namespace folkmoot
