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

// What a row is decided by fits into one warp and its shared memory.
constexpr int kMaxRoutedExperts = 2048;
constexpr int kMaxRoutedChoices = 32;  // per row
constexpr int kMaxExpertGroups = 32;

// The part of a GateConfig (layers/gates/gate_config.h) that the device carries out, with the
// enumerators of that header as numbers. Vectors lie on the device. layers/gpu/device_gate.h makes
// it.
struct RoutingParams {  // NOLINT(clang-analyzer-optin.performance.Padding): in order of use
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
  // Places per expert; null: no limit. With capacity_of_chunk [1], for a chunk of chunk_size
  // positions of a sequence; else [rows + 1], by the number of real rows with finite logits, as all
  // rows of the step are one group.
  const int32_t* capacity = nullptr;
  bool capacity_of_chunk = false;
  int chunk_size = 0;
  bool slot_major = true;  // else token_major
  bool passthrough = false;
  double scale = 1.0;
  int zero_experts = 0;
  uint64_t seed = 0;
  int layer = 0;
};

// Counters of sequence chunks: how many places of each expert a sequence has taken in its current
// chunk. In and out; zero at the start of a sequence. Only with capacity_of_chunk.
struct ChunkCounters {
  int32_t* taken = nullptr;        // sequence s: [E] at index[s] * stride
  const int32_t* index = nullptr;  // [sequences]; null: s itself
  int64_t stride = 0;
  // For prefixes that are shared by pages: a copy as it stands after each row that ends a page of
  // page_size positions, [E] at (id of the page) * page_stride. Null: not wanted.
  int32_t* page_taken = nullptr;
  int64_t page_stride = 0;
  int page_size = 0;
};

// What a step gives to its routing beside logits.
struct RoutingInput {
  StepRows rows;
  StepSequences sequences;
  ChunkCounters counters;
  // [rows] the rows by admission order of their sequence and position, in which they claim places;
  // entries from *rows.valid on are not read. Null: as they stand.
  const int32_t* arrival = nullptr;
  // Injected draws of the extra slots, [rows, uniforms_per_row] (1 or K - 1): by tests.
  const float* uniforms = nullptr;
  int uniforms_per_row = 0;
};

// logits float32 [T, E]. Fills all of `routing`; padding rows (from *valid on, or of sequence -1)
// get action 0, rows whose logits are not finite too, and are marked in `bad`. routing.place may be
// null where nothing has a capacity: then nobody counts places, and this is one kernel.
void RouteRows(Stream& stream, const RoutingParams& params, const RoutingInput& input,
               const float* logits, const RoutingRef& routing);

// Groups the choices with action 1; choices of experts that are not here are left out. Device-side
// counts: no host wait.
struct ChoiceGrouping {
  const int32_t* slot_of_expert = nullptr;  // [E] local slot or -1 (another rank's expert)
  GroupedRows groups;
};
void GroupChoices(Stream& stream, const RoutingRef& routing, const ChoiceGrouping& grouping);

// The step from the attention's output to grouped choices, in one kernel where there are few rows:
//   residual += delta, out = RmsNorm(residual, norm_weight)   with the bits of AddRmsNorm (rows.h)
//   logits = out * router^T                                   [T, E], kept for the caller
//   RouteRows, GroupChoices
// Logits have the precision of float32 and are sums in one order for any number of rows
// (route_logits.cuh), which is not that of Gemm: a model whose rows must have the same bits in
// every batch takes one or the other for all steps. H is a multiple of 8, at most 16384; addresses
// are multiples of 16 bytes.
struct RouteStepInput {
  const float* delta = nullptr;        // [T, H]
  const float* norm_weight = nullptr;  // [H]
  float eps = 0;
  float* residual = nullptr;  // [T, H]
  MatrixRef out;              // [T, H]
  // Do logits come from the normalised rows before they are rounded to the type of `out`, as on the
  // CPU? Then `wide` [T, H], if not null, gets those.
  bool wide_logits = false;
  float* wide = nullptr;
  MatrixRef router;              // [E, H], kF32 or the type of `out`
  float* logits = nullptr;       // [T, E]
  uint32_t* arrivals = nullptr;  // [RouteStepCounters(T)], zero before the first step
};
// Up to so many rows are one kernel; beyond, what needs all rows is done by kernels of its own.
constexpr int kMaxFusedRows = 64;
inline int RouteStepCounters(int rows) { return rows + 1; }
void RouteStep(Stream& stream, const RouteStepInput& step, const RoutingParams& params,
               const RoutingInput& input, const RoutingRef& routing,
               const ChoiceGrouping& grouping);

// At most so many tiles: for GroupedRows::max_tiles.
inline int MaxTiles(int choices, int slots, int tile_rows) {
  const int full = choices / tile_rows;
  const int partly = choices < slots ? choices : slots;
  return full + partly;
}

}  // namespace folkmoot::cuda
