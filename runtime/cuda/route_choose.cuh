// SPDX-License-Identifier: Apache-2.0
// Selection by one warp: the best of keys, the best groups. All lanes of the warp call every
// function here, but for SumOfBest.
#pragma once

#include "runtime/cuda/platform.h"
#include "runtime/cuda/routing.h"
#include "runtime/exact_math.h"

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

__device__ inline double FromOrderedBits(uint64_t bits) {
  return std::bit_cast<double>((bits >> 63) != 0 ? bits ^ (uint64_t{1} << 63) : ~bits);
}

// The lane whose candidate is the first of all. Mostly the upper halves of the keys tell.
__device__ inline int FirstLane(KeyedIndex mine) {
  const auto high = static_cast<unsigned>(mine.key >> 32);
  const unsigned best_high = __reduce_max_sync(kFullMask, high);
  unsigned best = __ballot_sync(kFullMask, high == best_high ? 1 : 0);
  if (__popc(best) > 1) {
    const auto low = static_cast<unsigned>(mine.key);
    const bool is_high = high == best_high;
    const unsigned best_low = __reduce_max_sync(kFullMask, is_high ? low : 0u);
    const bool is_best = is_high && low == best_low;
    const unsigned index = __reduce_min_sync(kFullMask, is_best ? mine.index : UINT32_MAX);
    best = __ballot_sync(kFullMask, is_best && mine.index == index ? 1 : 0);
  }
  return __ffs(static_cast<int>(best)) - 1;
}

// The best of key[begin], key[begin + step], .. below `end` that comes after `last`.
__device__ inline KeyedIndex BestAfter(KeyedIndex last, const double* key, int begin, int end,
                                       int step) {
  KeyedIndex best = {0, UINT32_MAX};
#pragma unroll 1
  for (int e = begin; e < end; e += step) {
    const KeyedIndex candidate = {OrderedBits(key[e]), static_cast<uint32_t>(e)};
    if (ComesBefore(last, candidate) && ComesBefore(candidate, best)) best = candidate;
  }
  return best;
}

// The sum of the `count` best of key[0..width), best first. By one lane.
__device__ inline double SumOfBest(const double* key, int width, int count) {
  double sum = 0.0;
  KeyedIndex last = {UINT64_MAX, 0};
#pragma unroll 1
  for (int i = 0; i < count; ++i) {
    const KeyedIndex best = BestAfter(last, key, 0, width, 1);
    if (best.index == UINT32_MAX) break;
    sum = exact::Add(sum, key[best.index]);
    last = best;
  }
  return sum;
}

// The sum of the best one or two keys of group `lane / lanes`, whose lanes share its experts; the
// same in all of them.
__device__ inline double SumOfBestTwo(const double* key, int width, int lanes, bool two) {
  const int part = Lane() % lanes;
  const int steps = (width + lanes - 1) / lanes;
  uint64_t best = 0;
  uint64_t second = 0;
  // Groups begin at different steps, so that lanes read different banks.
  int step = Lane() / lanes % steps;
#pragma unroll 4
  for (int i = 0; i < steps; ++i) {
    const int e = part + step * lanes;
    const uint64_t bits = e < width ? OrderedBits(key[e]) : 0;
    second = max(second, min(best, bits));
    best = max(best, bits);
    step = step + 1 == steps ? 0 : step + 1;
  }
  for (int stride = 1; stride < lanes; stride *= 2) {
    const uint64_t other = __shfl_xor_sync(kFullMask, best, stride);
    const uint64_t other_second = __shfl_xor_sync(kFullMask, second, stride);
    second = max(min(best, other), max(second, other_second));
    best = max(best, other);
  }
  const double sum = exact::Add(0.0, FromOrderedBits(best));
  return two ? exact::Add(sum, FromOrderedBits(second)) : sum;
}

// LimitGroups of layers/gates/selection.cc. Each group has as many lanes as all can have.
__device__ inline void LimitGroups(const RoutingParams& params, double* key) {
  const int width = params.experts / params.groups;
  int lanes = 1;
  while (2 * lanes * params.groups <= kWarp) lanes *= 2;
  const int group = Lane() / lanes;
  const bool is_group = group < params.groups;
  double* const mine = key + (is_group ? group : 0) * width;
  const int wanted = params.group_score == kGroupMax       ? 1
                     : params.group_score == kGroupSumTop2 ? 2
                                                           : params.k / params.kept_groups;
  const int count = wanted < width ? wanted : width;
  double score = 0.0;
  if (count <= 2) {
    score = SumOfBestTwo(mine, width, lanes, count == 2);
  } else if (Lane() % lanes == 0) {
    score = SumOfBest(mine, width, count);
  }
  KeyedIndex candidate = {0, UINT32_MAX};
  if (is_group && Lane() % lanes == 0) {
    candidate = {OrderedBits(score), static_cast<uint32_t>(group)};
  }
  unsigned kept = 0;
  for (int i = 0; i < params.kept_groups; ++i) {
    const int first = FirstLane(candidate);
    kept |= 1u << (first / lanes);
    if (Lane() == first) candidate = {0, UINT32_MAX};
  }
  __syncwarp();
  if (is_group && (kept >> group & 1u) == 0) {
    for (int e = Lane() % lanes; e < width; e += lanes) mine[e] = params.group_fill;
  }
  __syncwarp();
}

// Puts the better of two candidates first.
__device__ inline void PutFirst(KeyedIndex& a, KeyedIndex& b) {
  const bool swapped = ComesBefore(b, a);
  const KeyedIndex first = swapped ? b : a;
  b = swapped ? a : b;
  a = first;
}

// TopIndices of at most 32 kPerLane keys: each lane sorts its own; who had the best shows his next.
template <int kPerLane>
__device__ inline int32_t TopOfSorted(const RoutingParams& params, const double* key, int count) {
  KeyedIndex mine[kPerLane];
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    const int e = Lane() + i * kWarp;
    mine[i] = {0, UINT32_MAX};
    if (e < params.experts) mine[i] = {OrderedBits(key[e]), static_cast<uint32_t>(e)};
  }
#pragma unroll
  for (int last = kPerLane - 1; last > 0; --last) {
#pragma unroll
    for (int i = 0; i < last; ++i) PutFirst(mine[i], mine[i + 1]);
  }
  int32_t chosen = 0;
#pragma unroll 1
  for (int j = 0; j < count; ++j) {
    const int first = FirstLane(mine[0]);
    const auto index = static_cast<int32_t>(__shfl_sync(kFullMask, mine[0].index, first));
    if (Lane() == j) chosen = index;
    const bool taken = Lane() == first;
#pragma unroll
    for (int i = 0; i + 1 < kPerLane; ++i) mine[i] = taken ? mine[i + 1] : mine[i];
    if (taken) mine[kPerLane - 1] = {0, UINT32_MAX};
  }
  return chosen;
}

// TopIndices: lane j gets the j-th best, for j < count <= 32.
__device__ inline int32_t TopExperts(const RoutingParams& params, const double* key, int count) {
  if (params.experts <= kWarp) return TopOfSorted<1>(params, key, count);
  if (params.experts <= 4 * kWarp) return TopOfSorted<4>(params, key, count);
  if (params.experts <= 8 * kWarp) return TopOfSorted<8>(params, key, count);
  int32_t chosen = 0;
  KeyedIndex last = {UINT64_MAX, 0};
#pragma unroll 1
  for (int j = 0; j < count; ++j) {
    const KeyedIndex best = BestAfter(last, key, Lane(), params.experts, kWarp);
    const int first = FirstLane(best);
    last = {__shfl_sync(kFullMask, best.key, first), __shfl_sync(kFullMask, best.index, first)};
    if (Lane() == j) chosen = static_cast<int32_t>(last.index);
  }
  return chosen;
}

}  // namespace folkmoot::cuda
