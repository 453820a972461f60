// SPDX-License-Identifier: Apache-2.0
// How many earlier choices have the same key: places in experts, and the stable order of grouped
// choices. A block ranks a segment of the choices; it counts what lies before and behind by itself,
// so that blocks need not wait for each other. All threads of the block call every function here.
#pragma once

#include "runtime/cuda/platform.h"

namespace folkmoot::cuda {

constexpr int kMaxRankWarps = 32;

// Shared memory of a block that ranks choices by `keys` keys.
struct RankScratch {
  int32_t* counts;  // [warps, keys]
  int32_t* before;  // [keys] choices before the segment
  int32_t* total;   // [keys] choices in all
};
inline size_t RankScratchBytes(int warps, int keys) {
  return sizeof(int32_t) * static_cast<size_t>(warps + 2) * static_cast<size_t>(keys);
}
__device__ inline RankScratch RankScratchAt(unsigned char* shared, int warps, int keys) {
  auto* counts = reinterpret_cast<int32_t*>(shared);
  return {counts, counts + warps * keys, counts + (warps + 1) * keys};
}

// Of what several blocks do together, the part of this one.
struct BlockShare {
  int block = 0;
  int blocks = 1;
};
__device__ inline BlockShare ShareOfGrid() {
  return {static_cast<int>(blockIdx.x), static_cast<int>(gridDim.x)};
}

struct ChoiceRange {
  int first;
  int last;
};
// The share's segment: a multiple of 32 long, so that warps read whole lines.
__device__ inline ChoiceRange SegmentOf(ChoiceRange all, BlockShare share) {
  const int count = all.last - all.first;
  const int length = ((count + share.blocks - 1) / share.blocks + kWarp - 1) / kWarp * kWarp;
  const int64_t first = all.first + int64_t{share.block} * length;
  const auto clamped = [&](int64_t at) { return static_cast<int>(at < all.last ? at : all.last); };
  return {clamped(first), clamped(first + length)};
}

// sums[key] += choices of the range with that key, by way of counts. A thread starts the loads of
// kKeysAtOnce keys together.
template <int kKeysAtOnce, typename KeyOf>
__device__ void AddCounts(const KeyOf& key_of, ChoiceRange range, int keys, int32_t* counts,
                          int32_t* sums) {
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  for (int i = static_cast<int>(threadIdx.x); i < warps * keys; i += blockDim.x) counts[i] = 0;
  __syncthreads();
  int32_t* mine = counts + static_cast<int>(threadIdx.x) / kWarp * keys;
  const auto threads = static_cast<int>(blockDim.x);
  for (int first = range.first + static_cast<int>(threadIdx.x); first < range.last;
       first += kKeysAtOnce * threads) {
    int key[kKeysAtOnce];
#pragma unroll
    for (int i = 0; i < kKeysAtOnce; ++i) {
      const int at = first + i * threads;
      key[i] = at < range.last ? key_of(at) : -1;
    }
#pragma unroll
    for (int i = 0; i < kKeysAtOnce; ++i) {
      if (key[i] >= 0) atomicAdd(&mine[key[i]], 1);
    }
  }
  __syncthreads();
  for (int key = static_cast<int>(threadIdx.x); key < keys; key += blockDim.x) {
    int32_t sum = sums[key];
    for (int w = 0; w < warps; ++w) sum += counts[w * keys + key];
    sums[key] = sum;
  }
  __syncthreads();
}

// From what each warp has counted in its part of the segment to how many choices lie before the
// part; fills total, which holds those behind the segment. A thread per key.
__device__ inline void SumOverWarps(int keys, const RankScratch& scratch) {
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  for (int key = static_cast<int>(threadIdx.x); key < keys; key += blockDim.x) {
    int32_t running = scratch.before[key];
#pragma unroll 8
    for (int w = 0; w < warps; ++w) {
      const int32_t own = scratch.counts[w * keys + key];
      scratch.counts[w * keys + key] = running;
      running += own;
    }
    scratch.total[key] += running;
  }
}

// Prepares the ranks of the share's segment `segment` of choices 0..count: scratch.counts holds,
// for each warp's part of the segment, the choices before it; before and total are filled.
template <typename KeyOf>
__device__ void CountChoices(const KeyOf& key_of, int count, ChoiceRange segment, int keys,
                             const RankScratch& scratch) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  for (int key = static_cast<int>(threadIdx.x); key < keys; key += blockDim.x) {
    scratch.before[key] = 0;
    scratch.total[key] = 0;
  }
  if (segment.first > 0) {
    AddCounts<1>(key_of, {0, segment.first}, keys, scratch.counts, scratch.before);
  }
  if (segment.last < count) {
    AddCounts<1>(key_of, {segment.last, count}, keys, scratch.counts, scratch.total);
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < warps * keys; i += blockDim.x) {
    scratch.counts[i] = 0;
  }
  __syncthreads();
  const ChoiceRange part = SegmentOf(segment, {warp, warps});
  for (int i = part.first + static_cast<int>(threadIdx.x) % kWarp; i < part.last; i += kWarp) {
    const int key = key_of(i);
    if (key >= 0) atomicAdd(&scratch.counts[warp * keys + key], 1);
  }
  __syncthreads();
  SumOverWarps(keys, scratch);
  __syncthreads();
}

// Calls emit(i, key, rank) for the choices of `range` with a key, in order; used[key], of this warp
// alone, is the rank of the next one. All lanes of the warp call it.
template <typename KeyOf, typename Emit>
__device__ void WalkRanks(const KeyOf& key_of, ChoiceRange range, int32_t* used, const Emit& emit) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int first = range.first; first < range.last; first += kWarp) {
    const int i = first + lane;
    const int key = i < range.last ? key_of(i) : -1;
    const unsigned peers = __match_any_sync(kFullMask, key);
    const int lower = __popc(peers & ((1u << lane) - 1));
    if (key >= 0) emit(i, key, used[key] + lower);
    __syncwarp();
    if (key >= 0 && lower == 0) used[key] += __popc(peers);
    __syncwarp();
  }
}

// After CountChoices: the ranks of the segment.
template <typename KeyOf, typename Emit>
__device__ void EmitRanks(const KeyOf& key_of, ChoiceRange segment, int keys,
                          const RankScratch& scratch, const Emit& emit) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const ChoiceRange part = SegmentOf(segment, {warp, static_cast<int>(blockDim.x) / kWarp});
  WalkRanks(key_of, part, scratch.counts + warp * keys, emit);
}

}  // namespace folkmoot::cuda
