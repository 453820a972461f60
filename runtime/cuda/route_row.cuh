// SPDX-License-Identifier: Apache-2.0
// One warp decides one row: the stages of layers/gates/token_stage.cc and, where places are not
// counted, of FinishToken in layers/gates/gate.cc. Lane j stands for slot j. All lanes of the warp
// call every function here.
#pragma once

#include <limits>

#include "runtime/cuda/platform.h"
#include "runtime/cuda/route_choose.cuh"
#include "runtime/cuda/routing.h"
#include "runtime/exact_math.h"
#include "runtime/random.h"

namespace folkmoot::cuda {

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

__device__ inline double WarpMax(double value) {
  const uint64_t key = OrderedBits(value);
  const auto high = static_cast<unsigned>(key >> 32);
  const unsigned best = __reduce_max_sync(kFullMask, high);
  const unsigned low = __reduce_max_sync(kFullMask, high == best ? static_cast<unsigned>(key) : 0u);
  return FromOrderedBits(uint64_t{best} << 32 | low);
}

// The sum over slots by rising index, of those with `counts`.
__device__ inline double SumSlots(int k, double value, bool counts) {
  const unsigned counted = __ballot_sync(kFullMask, counts ? 1 : 0);
  double sum = 0.0;
#pragma unroll 8
  for (int j = 0; j < k; ++j) {
    const double next = exact::Add(sum, __shfl_sync(kFullMask, value, j));
    sum = (counted >> j & 1u) != 0 ? next : sum;
  }
  return sum;
}

// Calls f(i, e) for experts e of this lane, kAtOnce at a time, whose instructions can overlap; past
// the last expert e repeats it. then(i, e) follows for those that are there.
constexpr int kAtOnce = 4;
template <typename F, typename Then>
__device__ inline void ForExperts(int experts, const F& f, const Then& then) {
#pragma unroll 1
  for (int first = Lane(); first < experts + Lane(); first += kAtOnce * kWarp) {
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) f(i, min(first + i * kWarp, experts - 1));
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      if (first + i * kWarp < experts) then(i, first + i * kWarp);
    }
  }
}

// To the nearest bfloat16, ties to even, as in layers/gates/scores.cc.
__device__ inline double ThroughBf16(double value) {
  const auto bits = std::bit_cast<uint32_t>(static_cast<float>(value));
  const uint32_t rounded = bits + 0x7FFFu + ((bits >> 16) & 1u);
  return static_cast<double>(std::bit_cast<float>(rounded & 0xFFFF0000u));
}

// RouterLogits, and the largest of them. Returns whether all logits are finite; where not, zeros
// take their place. `bias` gets what is added for the selection: loads are on their way together.
__device__ inline bool LoadLogits(const RoutingParams& params, const float* logits, double* out,
                                  double* bias, double* largest) {
  float value[kAtOnce];
  float added[kAtOnce];
  bool finite = true;
  ForExperts(
      params.experts,
      [&](int i, int e) {
        value[i] = logits[e];
        added[i] = params.selection_bias == nullptr ? 0.0f : params.selection_bias[e];
      },
      [&](int i, int e) {
        finite = finite && (std::bit_cast<uint32_t>(value[i]) & 0x7f800000u) != 0x7f800000u;
        out[e] = static_cast<double>(value[i]);
        bias[e] = static_cast<double>(added[i]);
      });
  finite = __all_sync(kFullMask, finite ? 1 : 0) != 0;
  double most = -std::numeric_limits<double>::infinity();
  for (int e = Lane(); e < params.experts; e += kWarp) {
    double logit = finite ? out[e] : 0.0;
    if (params.router_bias != nullptr) logit = exact::Add(logit, params.router_bias[e]);
    if (params.round_to_bf16) logit = ThroughBf16(logit);
    out[e] = logit;
    most = exact::Max(most, logit);
  }
  *largest = WarpMax(most);
  __syncwarp();
  return finite;
}

// value[0] + ... + value[count - 1] in this order, by each lane alone; the next eight are on their
// way meanwhile.
__device__ inline double SumInOrder(const double* value, int count) {
  constexpr int kAhead = 8;
  double sum = 0.0;
  double next[kAhead];
#pragma unroll
  for (int i = 0; i < kAhead; ++i) next[i] = value[min(i, count - 1)];
  int first = 0;
#pragma unroll 1
  for (; first + kAhead <= count; first += kAhead) {
    double now[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; ++i) now[i] = next[i];
#pragma unroll
    for (int i = 0; i < kAhead; ++i) next[i] = value[min(first + kAhead + i, count - 1)];
#pragma unroll
    for (int i = 0; i < kAhead; ++i) sum = exact::Add(sum, now[i]);
  }
#pragma unroll
  for (int i = 0; i < kAhead; ++i) {
    if (first + i < count) sum = exact::Add(sum, next[i]);
  }
  return sum;
}

// Scores of a softmax before they are divided by their sum, which is returned.
__device__ inline double SoftmaxTerms(int experts, double largest, const double* logits,
                                      double* score) {
  double value[kAtOnce];
  ForExperts(
      experts,
      [&](int i, int e) { value[i] = exact::ExpOfNegative(exact::Sub(logits[e], largest)); },
      [&](int i, int e) { score[e] = value[i]; });
  __syncwarp();
  return SumInOrder(score, experts);
}

__device__ inline void DivideScores(int experts, double divisor, double* score) {
  __syncwarp();
#pragma unroll 1
  for (int e = Lane(); e < experts; e += kWarp) score[e] = exact::Div(score[e], divisor);
  __syncwarp();
}

// exact::Sigmoid, several at a time.
__device__ inline void SigmoidScores(int experts, const double* logits, double* score) {
  double x[kAtOnce];
  double power[kAtOnce];
  ForExperts(
      experts,
      [&](int i, int e) {
        x[i] = logits[e];
        power[i] = exact::ExpOfNegative(x[i] >= 0 ? -x[i] : x[i]);
      },
      [&](int i, int e) {
        score[e] = exact::Div(x[i] >= 0 ? 1.0 : power[i], exact::Add(1.0, power[i]));
      });
}

// ScoreRow, but for a division of all scores by what is returned.
__device__ inline double Score(const RoutingParams& params, double largest, const double* logits,
                               double* score) {
  if (params.score_fn == kScoreSoftmax) {
    return SoftmaxTerms(params.experts, largest, logits, score);
  }
  if (params.score_fn == kScoreSigmoid) {
    SigmoidScores(params.experts, logits, score);
  } else {
    const bool plain = params.score_fn == kScoreLogits;
#pragma unroll 1
    for (int e = Lane(); e < params.experts; e += kWarp) {
      score[e] = plain ? logits[e] : exact::Sqrt(exact::Softplus(logits[e]));
    }
  }
  __syncwarp();
  return 1.0;
}

// `expert` in lanes 0..k are the first k + 1 by terms of a softmax. Are the first k the same by
// scores? A division may make different terms equal; then lower indices come first.
__device__ inline bool SameByScore(const RoutingParams& params, int32_t expert, const double* term,
                                   double divisor) {
  const int slot = Lane();
  const bool there = slot < params.experts;
  const double mine = there ? term[expert] : -1.0;
  const double score = there ? exact::Div(mine, divisor) : -1.0;
  const double next = __shfl_down_sync(kFullMask, mine, 1);
  const double next_score = __shfl_down_sync(kFullMask, score, 1);
  const bool same = slot >= params.k || score > next_score || (slot + 1 < params.k && mine == next);
  return __all_sync(kFullMask, same ? 1 : 0) != 0;
}

// The selection of learned experts by lanes 0..k-1. Scores are divided one by one later where the
// order does not need it; else here, and the divisor is 1 then.
__device__ inline int32_t SelectExperts(const RoutingParams& params, const RowScratch& row,
                                        double* divisor) {
  const bool biased = params.selection_bias != nullptr;
  const bool keyed = biased || params.groups > 1;  // keys of their own
  const bool terms = params.score_fn == kScoreSoftmax && !params.select_on_logit;
  bool divided = !terms;
  if (terms && (keyed || params.k >= kWarp)) {
    DivideScores(params.experts, *divisor, row.score);
    *divisor = 1.0;
    divided = true;
  }
  const double* key = params.select_on_logit ? row.logits : row.score;
  if (keyed) {
    for (int e = Lane(); e < params.experts; e += kWarp) {
      row.key[e] = biased ? exact::Add(key[e], row.key[e]) : key[e];
    }
    __syncwarp();
    key = row.key;
  }
  if (params.groups > 1) LimitGroups(params, row.key);
  while (true) {
    const int32_t expert = TopExperts(params, key, divided ? params.k : params.k + 1);
    if (divided || SameByScore(params, expert, row.score, *divisor)) return expert;
    DivideScores(params.experts, *divisor, row.score);
    *divisor = 1.0;
    divided = true;
  }
}

// SampleSecond: the second expert drawn from the softmax without the first.
__device__ inline int32_t SampleSecond(const RoutingParams& params, DrawKey key, int32_t expert,
                                       const double* logits) {
  key.purpose = DrawPurpose::kGumbel;
  const auto first = static_cast<int>(__shfl_sync(kFullMask, expert, 0));
  KeyedIndex best = {0, UINT32_MAX};
#pragma unroll 1
  for (int e = Lane(); e < params.experts; e += kWarp) {
    if (e == first) continue;
    const auto index = static_cast<uint32_t>(e);
    const auto u = static_cast<double>(ToUnit(UncheckedDrawWord(key, index)));
    const KeyedIndex candidate = {OrderedBits(exact::Add(logits[e], exact::Gumbel(u))), index};
    if (ComesBefore(candidate, best)) best = candidate;
  }
  const uint32_t second = __shfl_sync(kFullMask, best.index, FirstLane(best));
  return Lane() == 1 ? static_cast<int32_t>(second) : expert;
}

__device__ inline double NormDivisorOf(const RoutingParams& params, double sum) {
  return params.clamp_eps ? exact::Max(sum, params.norm_eps) : exact::Add(sum, params.norm_eps);
}

// Weigh, without the normalised weights.
__device__ inline double RawWeight(const RoutingParams& params, int32_t expert,
                                   const RowScratch& row, double divisor) {
  const bool is_slot = Lane() < params.k;
  const double* from = params.softmax_selected ? row.logits : row.score;
  double raw = is_slot ? from[expert] : 0.0;
  if (!params.softmax_selected) return exact::Div(raw, divisor);
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
  const int valid = *input.rows.valid;
  const int sequence = input.rows.sequence == nullptr ? 0 : input.rows.sequence[row];
  double largest = 0.0;
  const bool finite = LoadLogits(params, logits, scratch.logits, scratch.key, &largest);
  const bool padding = row >= valid || sequence < 0;
  *bad = !finite && !padding;
  double divisor = 1.0;
  if (!params.select_on_logit || !params.softmax_selected) {
    divisor = Score(params, largest, scratch.logits, scratch.score);
  }
  int32_t expert = 0;
  if (params.token_table == nullptr) {
    expert = SelectExperts(params, scratch, &divisor);
  } else if (Lane() < params.k) {
    int id = input.rows.token_ids[row];
    if (id < 0 || id >= params.token_ids) id = 0;  // padding may hold anything
    expert = params.token_table[int64_t{id} * params.k + Lane()];
  }
  const DrawKey key = DrawKeyOf(params, input.rows, row);
  if (params.extra_policy == kExtraSample) {
    expert = SampleSecond(params, key, expert, scratch.logits);
  }
  SlotDecision slot = {expert, RawWeight(params, expert, scratch, divisor), kClaimKept};
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
