// SPDX-License-Identifier: Apache-2.0
// A gate turns router logits into a Routing: scores, selection, extra-expert policy, capacity,
// overflow, weights. One configuration space covers all published routers; see gate_config.h and
// docs/gates.md.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "layers/gates/gate_config.h"
#include "parallel/communicator.h"
#include "parallel/routing.h"
#include "runtime/status.h"
#include "runtime/tensor.h"
#include "runtime/workspace.h"

namespace folkmoot {

// The rows of one sequence in this step; rows are consecutive positions.
struct GateSequence {
  int64_t first_row = 0;
  int64_t rows = 0;
  int64_t start = 0;  // position of the first row in its sequence
  int64_t order = 0;  // admission order over all ranks: sorts tokens in `step` groups
  // `sequence` capacity: the rows are a whole source, one group. Else each row is one.
  bool whole = false;
  // sequence_chunk capacity: places taken per expert [E] in the current chunk of this sequence and
  // layer. The caller keeps it between steps, zero at the start of a sequence; Route updates it.
  // Empty when config().NeedsChunkCounters() is false.
  std::span<int32_t> taken = {};
  // With token_major order, for caches that share prefixes by page: a copy of `taken` as it stands
  // after each row that ends a page of page_size positions, [E] at page_ends[i] + page_offset for
  // the i-th such row.
  std::span<int32_t* const> page_ends = {};
  int64_t page_offset = 0;
  int64_t page_size = 0;
};

struct GateInput {
  ConstMatrix logits;                            // [T, E and shared_sinks] float32
  std::span<const GateSequence> sequences = {};  // cover rows 0..T in order
  // [T] prefix hash of the tokens up to and including this one, or sequence id. May be empty when
  // config().UsesRandom() is false.
  std::span<const uint64_t> streams = {};
  std::span<const int32_t> token_ids = {};  // [T]; only read where a token_table is
  int layer = 0;
  int64_t top_k = 0;  // of ChoicesOfLayer
  int64_t step = -1;
  // [E] of this layer's weights; where not empty they replace the vectors of the config.
  std::span<const float> router_bias = {};
  std::span<const float> selection_bias = {};
  // Experts of each token id, token_experts in a row: of a layer whose tokens have the experts that
  // a table says (DeepSeek-V4). Scores weigh them, and selection = token_table has its own table.
  std::span<const int32_t> token_table = {};
  int64_t token_experts = 0;  // at least ChoicesOfLayer
  // Tests and `folkmoot route` inject these; empty in serving.
  std::span<const float> uniforms = {};  // [T] for all extra slots of a token, or [T, K - 1]
  std::span<const uint8_t> valid = {};   // [T] 0 = padding: no place, weight 0, not counted in S
  std::span<uint8_t> rerouted = {};      // [T, K] output: 1 where `reroute` moved a choice
};

// How many experts a gate chooses in a layer whose tokens get at most top_k; 0: as many as it says.
// A table of tokens has its own number. With that number the config must be valid.
int ChoicesOfLayer(const GateConfig& gate, int64_t top_k);

class Gate {
 public:
  virtual ~Gate() = default;
  virtual const GateConfig& config() const = 0;
  // Collective over `comm` only when config().CanDrop() and its group is kStep (all tokens of the
  // step are ranked together); ranks without tokens take part. Routing memory comes from
  // `workspace`, and nothing is allocated once that has warmed up.
  //
  // Padding rows come back as kRejected with weight 0. `place` of an overflowed choice is the
  // position it would have had (>= C); of a rejected one -1. A row with NaN or infinite logits is
  // marked in Routing::bad and treated as padding: it is never routed and takes no place from
  // others.
  virtual absl::StatusOr<Routing> Route(const GateInput& input, Communicator& comm,
                                        Workspace& workspace) const = 0;
};

// The config must be valid (GateConfig::Validate), also with what ChoicesOfLayer makes of each of
// `layer_top_k`: the numbers other than 0 that GateInput::top_k will have.
std::unique_ptr<Gate> MakeGate(const GateConfig& config, std::span<const int64_t> layer_top_k = {});

}  // namespace folkmoot
