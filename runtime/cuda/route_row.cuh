// SPDX-License-Identifier: Apache-2.0
// One warp decides one row: the stages of layers/gates/token_stage.cc and, where places are not
// counted, of FinishToken in layers/gates/gate.cc. Lane j stands for slot j. All lanes of the warp
// call every function here.
#pragma once

#include "runtime/cuda/platform.h"
#include "runtime/cuda/routing.h"
#include "runtime/exact_math.h"
#include "runtime/random.h"

namespace folkmoot::cuda {

// The enumerators of gate_config.h and parallel/routing.h, which runtime/ does not see;
// layers/gpu/device_gate.cc asserts that they are the same.
enum RoutingEnumerators : uint8_t {
  kScoreSoftmax = 0,
  kScoreSigmoid = 1,
  kScoreSqrtSoftplus = 2,
  kScoreLogits = 3,
  kGroupMax = 0,
  kGroupSumTop2 = 1,
  kGroupSumTopn = 2,
  kNormalizeNone = 0,
  kNormalizeBeforeDrop = 1,
  kNormalizeAfterDrop = 2,
  kExtraAll = 0,
  kExtraNone = 1,
  kExtraThreshold = 2,
  kExtraRandom = 3,
  kExtraSample = 4,
  kActionNone = 0,
  kActionExpert = 1,
  kActionIdentity = 2,
};

// What RoutingRef::state holds; kClaimPadding only until the row is finished. A choice is wanted
// until it is placed, and kept then.
enum RowClaim : uint8_t {
  kClaimKept = 0,
  kClaimRejected = 1,
  kClaimOverflow = 2,
  kClaimPadding = 3
};

// Shared memory of one warp, [E] each.
struct RowScratch {
  double* logits;
  double* score;
  double* key;
};
inline size_t RowScratchBytes(int experts) {
  return 3 * sizeof(double) * static_cast<size_t>(experts);
}
__device__ inline RowScratch RowScratchAt(unsigned char* shared, int warp, int experts) {
  double* begin = reinterpret_cast<double*>(shared) + 3 * warp * experts;
  return {begin, begin + experts, begin + 2 * experts};
}

// The decision of one slot.
struct SlotDecision {
  int32_t expert;
  double raw;  // weight before normalisation
  uint8_t claim;
};

__device__ inline int Lane() { return static_cast<int>(threadIdx.x % kWarp); }

// Unsigned numbers in the order of the doubles; -0 as 0.
__device__ inline uint64_t OrderedBits(double value) {
  const auto bits = std::bit_cast<uint64_t>(exact::Add(value, 0.0));
  return (bits >> 63) != 0 ? ~bits : bits | (uint64_t{1} << 63);
}

struct KeyedIndex {
  uint64_t key;    // OrderedBits; 0: none
  uint32_t index;  // UINT32_MAX: none
};

// Does `a` come before `b`: the greater key, or the lower index of equal ones?
__device__ inline bool ComesBefore(KeyedIndex a, KeyedIndex b) {
  return a.key > b.key || (a.key == b.key && a.index < b.index);
}

// The first of all lanes.
__device__ inline KeyedIndex WarpFirst(KeyedIndex mine) {
  const auto high = static_cast<unsigned>(mine.key >> 32);
  const auto low = static_cast<unsigned>(mine.key);
  const unsigned best_high = __reduce_max_sync(kFullMask, high);
  const unsigned best_low = __reduce_max_sync(kFullMask, high == best_high ? low : 0u);
  const uint64_t key = uint64_t{best_high} << 32 | best_low;
  return {key, __reduce_min_sync(kFullMask, mine.key == key ? mine.index : UINT32_MAX)};
}

__device__ inline double WarpMax(double value) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    value = exact::Max(value, __shfl_xor_sync(kFullMask, value, offset));
  }
  return value;
}

// The sum over slots by rising index, of those with `counts`.
__device__ inline double SumSlots(int k, double value, bool counts) {
  const unsigned counted = __ballot_sync(kFullMask, counts ? 1 : 0);
  double sum = 0.0;
  for (int j = 0; j < k; ++j) {
    const double term = __shfl_sync(kFullMask, value, j);
    if ((counted >> j & 1u) != 0) sum = exact::Add(sum, term);
  }
  return sum;
}

// To the nearest bfloat16, ties to even, as in layers/gates/scores.cc.
__device__ inline double ThroughBf16(double value) {
  const auto bits = std::bit_cast<uint32_t>(static_cast<float>(value));
  const uint32_t rounded = bits + 0x7FFFu + ((bits >> 16) & 1u);
  return static_cast<double>(std::bit_cast<float>(rounded & 0xFFFF0000u));
}

// RouterLogits. Returns whether all logits are finite; where not, zeros take their place.
__device__ inline bool LoadLogits(const RoutingParams& params, const float* logits, double* out) {
  bool finite = true;
  for (int e = Lane(); e < params.experts; e += kWarp) {
    finite = finite && (std::bit_cast<uint32_t>(logits[e]) & 0x7f800000u) != 0x7f800000u;
  }
  finite = __all_sync(kFullMask, finite ? 1 : 0) != 0;
  for (int e = Lane(); e < params.experts; e += kWarp) {
    double value = finite ? static_cast<double>(logits[e]) : 0.0;
    if (params.router_bias != nullptr) value = exact::Add(value, params.router_bias[e]);
    out[e] = params.round_to_bf16 ? ThroughBf16(value) : value;
  }
  __syncwarp();
  return finite;
}

// ScoreRow.
__device__ inline void Score(const RoutingParams& params, const double* logits, double* score) {
  const int experts = params.experts;
  if (params.score_fn == kScoreSoftmax) {
    double largest = logits[0];
    for (int e = Lane(); e < experts; e += kWarp) largest = exact::Max(largest, logits[e]);
    largest = WarpMax(largest);
    for (int e = Lane(); e < experts; e += kWarp) {
      score[e] = exact::Exp(exact::Sub(logits[e], largest));
    }
    __syncwarp();
    double sum = 0.0;  // in one order, so by each lane alone
#pragma unroll 8
    for (int e = 0; e < experts; ++e) sum = exact::Add(sum, score[e]);
    __syncwarp();
    for (int e = Lane(); e < experts; e += kWarp) score[e] = exact::Div(score[e], sum);
  } else {
    for (int e = Lane(); e < experts; e += kWarp) {
      const double x = logits[e];
      score[e] = params.score_fn == kScoreSigmoid        ? exact::Sigmoid(x)
                 : params.score_fn == kScoreSqrtSoftplus ? exact::Sqrt(exact::Softplus(x))
                                                         : x;
    }
  }
  __syncwarp();
}

// The sum of the `count` best of key[0..width), best first. By one lane.
__device__ inline double SumOfBest(const double* key, int width, int count) {
  double sum = 0.0;
  KeyedIndex last = {UINT64_MAX, 0};
  for (int i = 0; i < count; ++i) {
    KeyedIndex best = {0, UINT32_MAX};
    for (int e = 0; e < width; ++e) {
      const KeyedIndex candidate = {OrderedBits(key[e]), static_cast<uint32_t>(e)};
      if (ComesBefore(last, candidate) && ComesBefore(candidate, best)) best = candidate;
    }
    if (best.index == UINT32_MAX) break;
    sum = exact::Add(sum, key[best.index]);
    last = best;
  }
  return sum;
}

// LimitGroups of layers/gates/selection.cc; lane g scores group g.
__device__ inline void LimitGroups(const RoutingParams& params, double* key) {
  const int width = params.experts / params.groups;
  const int wanted = params.group_score == kGroupMax       ? 1
                     : params.group_score == kGroupSumTop2 ? 2
                                                           : params.k / params.kept_groups;
  KeyedIndex mine = {0, UINT32_MAX};
  if (Lane() < params.groups) {
    const double score = SumOfBest(key + Lane() * width, width, wanted < width ? wanted : width);
    mine = {OrderedBits(score), static_cast<uint32_t>(Lane())};
  }
  unsigned kept = 0;
  for (int i = 0; i < params.kept_groups; ++i) {
    const KeyedIndex best = WarpFirst(mine);
    kept |= 1u << (best.index % kWarp);
    if (best.index == mine.index) mine = {0, UINT32_MAX};
  }
  __syncwarp();
  for (int e = Lane(); e < params.experts; e += kWarp) {
    if ((kept >> (e / width) & 1u) == 0) key[e] = params.group_fill;
  }
  __syncwarp();
}

// TopIndices: lane j gets the j-th best.
__device__ inline int32_t TopExperts(const RoutingParams& params, const double* key) {
  int32_t chosen = 0;
  KeyedIndex last = {UINT64_MAX, 0};
  for (int j = 0; j < params.k; ++j) {
    KeyedIndex best = {0, UINT32_MAX};
    for (int e = Lane(); e < params.experts; e += kWarp) {
      const KeyedIndex candidate = {OrderedBits(key[e]), static_cast<uint32_t>(e)};
      if (ComesBefore(last, candidate) && ComesBefore(candidate, best)) best = candidate;
    }
    last = WarpFirst(best);
    if (Lane() == j) chosen = static_cast<int32_t>(last.index);
  }
  return chosen;
}

// SampleSecond: the second expert drawn from the softmax without the first.
__device__ inline int32_t SampleSecond(const RoutingParams& params, DrawKey key, int32_t expert,
                                       const double* logits) {
  key.purpose = DrawPurpose::kGumbel;
  const auto first = static_cast<int>(__shfl_sync(kFullMask, expert, 0));
  KeyedIndex best = {0, UINT32_MAX};
  for (int e = Lane(); e < params.experts; e += kWarp) {
    if (e == first) continue;
    const auto index = static_cast<uint32_t>(e);
    const auto u = static_cast<double>(ToUnit(UncheckedDrawWord(key, index)));
    const KeyedIndex candidate = {OrderedBits(exact::Add(logits[e], exact::Gumbel(u))), index};
    if (ComesBefore(candidate, best)) best = candidate;
  }
  best = WarpFirst(best);
  return Lane() == 1 ? static_cast<int32_t>(best.index) : expert;
}

__device__ inline double NormDivisorOf(const RoutingParams& params, double sum) {
  return params.clamp_eps ? exact::Max(sum, params.norm_eps) : exact::Add(sum, params.norm_eps);
}

// Weigh, without the normalised weights.
__device__ inline double RawWeight(const RoutingParams& params, int32_t expert,
                                   const RowScratch& row) {
  const bool is_slot = Lane() < params.k;
  const double* from = params.softmax_selected ? row.logits : row.score;
  double raw = is_slot ? from[expert] : 0.0;
  if (!params.softmax_selected) return raw;
  const double first = __shfl_sync(kFullMask, raw, 0);
  const double largest = WarpMax(is_slot ? raw : first);
  raw = exact::Exp(exact::Sub(raw, largest));
  const double sum = SumSlots(params.k, raw, is_slot);
  return exact::Div(raw, sum);
}

__device__ inline bool WantsSlot(const RoutingParams& params, const RoutingInput& input, int row,
                                 DrawKey key, double raw) {
  const int slot = Lane();
  if (params.extra_policy == kExtraAll || params.extra_policy == kExtraSample) return true;
  if (params.extra_policy == kExtraNone) return slot == 0;
  const double divisor = NormDivisorOf(params, SumSlots(params.k, raw, slot < params.k));
  const double normed = divisor > 0 ? exact::Div(raw, divisor) : 0.0;
  const double gate = params.extra_raw ? raw : normed;
  if (slot == 0 || slot >= params.k) return true;
  if (params.extra_policy == kExtraThreshold) return gate > params.extra_threshold;
  double u = 0.0;
  if (input.uniforms == nullptr) {
    key.purpose = DrawPurpose::kExtraExpert;
    u = static_cast<double>(ToUnit(UncheckedDrawWord(key, static_cast<uint32_t>(slot))));
  } else {
    const int width = input.uniforms_per_row;
    const int at = (slot < width ? slot : width) - 1;
    u = static_cast<double>(input.uniforms[int64_t{row} * width + at]);
  }
  return exact::Mul(u, params.extra_threshold) < gate;
}

__device__ inline bool IsPaddingRow(const StepRows& rows, int row) {
  return row >= *rows.valid || (rows.sequence != nullptr && rows.sequence[row] < 0);
}

__device__ inline DrawKey DrawKeyOf(const RoutingParams& params, const StepRows& rows, int row) {
  return {.seed = params.seed,
          .stream = rows.streams == nullptr ? 0 : rows.streams[row],
          .layer = static_cast<uint32_t>(params.layer),
          .position = rows.positions == nullptr ? 0 : static_cast<uint32_t>(rows.positions[row])};
}

// DecideToken. `logits` [E] of the row; `bad` says whether a real row has logits that are not
// finite. Lanes from k on return nothing of use.
__device__ inline SlotDecision DecideRow(const RoutingParams& params, const RoutingInput& input,
                                         int row, const float* logits, const RowScratch& scratch,
                                         bool* bad) {
  const bool finite = LoadLogits(params, logits, scratch.logits);
  const bool padding = IsPaddingRow(input.rows, row);
  *bad = !finite && !padding;
  Score(params, scratch.logits, scratch.score);

  int32_t expert = 0;
  if (params.token_table == nullptr) {
    const double* base = params.select_on_logit ? scratch.logits : scratch.score;
    for (int e = Lane(); e < params.experts; e += kWarp) {
      const double bias = params.selection_bias == nullptr ? 0.0 : params.selection_bias[e];
      scratch.key[e] = params.selection_bias == nullptr ? base[e] : exact::Add(base[e], bias);
    }
    __syncwarp();
    if (params.groups > 1) LimitGroups(params, scratch.key);
    expert = TopExperts(params, scratch.key);
  } else if (Lane() < params.k) {
    int id = input.rows.token_ids[row];
    if (id < 0 || id >= params.token_ids) id = 0;  // padding may hold anything
    expert = params.token_table[int64_t{id} * params.k + Lane()];
  }
  const DrawKey key = DrawKeyOf(params, input.rows, row);
  if (params.extra_policy == kExtraSample) {
    expert = SampleSecond(params, key, expert, scratch.logits);
  }
  SlotDecision slot = {expert, RawWeight(params, expert, scratch), kClaimKept};
  if (!WantsSlot(params, input, row, key, slot.raw)) slot.claim = kClaimRejected;
  if (padding || !finite) slot.claim = kClaimPadding;
  __syncwarp();
  return slot;
}

// FinishToken: weights, states and actions of a row from the final claims.
__device__ inline void FinishRow(const RoutingParams& params, const SlotDecision& slot, int row,
                                 const RoutingRef& routing) {
  const bool is_slot = Lane() < params.k;
  const bool live = slot.claim == kClaimKept;
  double divisor = 1.0;
  if (params.normalize != kNormalizeNone) {
    const bool counts = is_slot && (live || params.normalize == kNormalizeBeforeDrop);
    divisor = NormDivisorOf(params, SumSlots(params.k, slot.raw, counts));
  }
  if (!is_slot) return;
  const bool passes = slot.claim == kClaimOverflow && params.passthrough;
  const bool zero_expert = slot.expert >= params.experts - params.zero_experts;
  const double weight = divisor > 0 ? exact::Mul(params.scale, exact::Div(slot.raw, divisor)) : 0.0;
  const int64_t at = int64_t{row} * params.k + Lane();
  routing.weight[at] = live || passes ? static_cast<float>(weight) : 0.0f;
  routing.state[at] = slot.claim == kClaimPadding ? uint8_t{kClaimRejected} : slot.claim;
  routing.action[at] = passes || (live && zero_expert) ? kActionIdentity
                       : live                          ? kActionExpert
                                                       : kActionNone;
}

// Decides the row and writes what is known. Where places are counted, weight and action wait.
__device__ inline void RouteRow(const RoutingParams& params, const RoutingInput& input, int row,
                                const float* logits, const RowScratch& scratch,
                                const RoutingRef& routing) {
  bool bad = false;
  const SlotDecision slot = DecideRow(params, input, row, logits, scratch, &bad);
  if (Lane() == 0) routing.bad[row] = bad ? 1 : 0;
  const int64_t at = int64_t{row} * params.k + Lane();
  if (Lane() < params.k) routing.expert[at] = slot.expert;
  if (routing.place == nullptr) {
    FinishRow(params, slot, row, routing);
  } else if (Lane() < params.k) {
    routing.raw[at] = slot.raw;
    routing.state[at] = slot.claim;
    routing.action[at] = kActionNone;
    routing.place[at] = -1;
  }
}

}  // namespace folkmoot::cuda
