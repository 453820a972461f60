// SPDX-License-Identifier: Apache-2.0
// From router logits to routed, grouped choices without the host. The rules, their order and their
// arithmetic are those of layers/gates: the same logits give the same experts, states, places and
// weights, bit for bit (exponentials come from runtime/exact_math.h on both sides; sums run by
// rising index in double).
#pragma once

#include <cstdint>

#include "runtime/cuda/device.h"
#include "runtime/cuda/views.h"

namespace folkmoot::cuda {

// The part of a GateConfig (layers/gates/gate_config.h) that the device carries out, with the
// enumerators of that header as numbers. Vectors lie on the device.
struct RoutingParams {
  int experts = 0;
  int k = 0;
  bool round_to_bf16 = false;             // router_dtype
  const float* router_bias = nullptr;     // [E] or null
  uint8_t score_fn = 0;                   // ScoreFn
  bool select_on_logit = false;           // SelectOn
  const float* selection_bias = nullptr;  // [E] or null
  const int32_t* token_table = nullptr;   // [token_ids, K] or null: learned
  int token_ids = 0;
  int groups = 1;
  int kept_groups = 1;
  uint8_t group_score = 0;  // GroupScore
  double group_fill = 0;
  bool softmax_selected = false;  // WeightFrom
  uint8_t normalize = 0;          // Normalize
  bool clamp_eps = false;         // NormEpsMode
  double norm_eps = 0;
  uint8_t extra_policy = 0;  // ExtraPolicy
  bool extra_raw = false;    // ExtraGate
  double extra_threshold = 0.5;
  bool rejected_consumes = false;
  int64_t capacity = -1;           // places per expert of the group; -1: no limit
  bool capacity_of_chunk = false;  // groups are chunks of chunk_size positions of a sequence
  int chunk_size = 0;
  bool slot_major = true;  // else token_major
  bool passthrough = false;
  double scale = 1.0;
  int zero_experts = 0;
  uint64_t seed = 0;
  int layer = 0;
};

// logits float32 [T, E]. Fills all of `routing`; padding rows get action 0, rows whose logits are
// not finite too, and are marked in `bad`. `taken` [sequences, E]: counters of sequence chunks in
// and out, zero at a sequence's start; null unless capacity_of_chunk.
void RouteRows(Stream& stream, const RoutingParams& params, const StepRows& rows,
               const StepSequences& sequences, const float* logits, int32_t* taken,
               const RoutingRef& routing);

// slot_of_expert [E]: local slot or -1 (another rank's expert). Groups the choices with action 1;
// choices of experts that are not here are left out. Device-side counts: no host wait.
void GroupChoices(Stream& stream, const RoutingRef& routing, const int32_t* slot_of_expert,
                  const GroupedRows& groups);

// At most so many tiles: for GroupedRows::max_tiles.
inline int MaxTiles(int choices, int slots, int tile_rows) {
  const int full = choices / tile_rows;
  const int partly = choices < slots ? choices : slots;
  return full + partly;
}

}  // namespace folkmoot::cuda
