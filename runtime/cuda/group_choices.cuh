// SPDX-License-Identifier: Apache-2.0
// Choices by local expert slot: counts, offsets, the stable order (slot, row, k) and the tiles.
#pragma once

#include "runtime/cuda/choice_ranks.cuh"
#include "runtime/cuda/route_row.cuh"
#include "runtime/cuda/routing.h"

namespace folkmoot::cuda {

// Shared memory of a block: its ranks, then [slots + 1] first choices and first tiles of each slot.
inline size_t GroupScratchBytes(int warps, int slots) {
  return RankScratchBytes(warps, slots) + 2 * sizeof(int32_t) * static_cast<size_t>(slots + 1);
}

__device__ inline int TilesOf(int choices, int tile_rows) {
  return (choices + tile_rows - 1) / tile_rows;
}

// out[i] = value_of(0) + ... + value_of(i - 1) for i = 0..count, by one warp; neighbours are a
// lane's.
template <typename ValueOf>
__device__ void ExclusiveSums(const ValueOf& value_of, int count, int32_t* out) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int each = (count + kWarp - 1) / kWarp;
  const int begin = min(count, lane * each);
  const int end = min(count, begin + each);
  int32_t own = 0;
  for (int i = begin; i < end; ++i) own += value_of(i);
  int32_t sum = own;
  for (int offset = 1; offset < kWarp; offset *= 2) {
    const int32_t left = __shfl_up_sync(kFullMask, sum, static_cast<unsigned>(offset));
    if (lane >= offset) sum += left;
  }
  int32_t before = sum - own;
  for (int i = begin; i < end; ++i) {
    out[i] = before;
    before += value_of(i);
  }
  if (lane == kWarp - 1) out[count] = sum;
}

// Tiles that fall to this block, a thread per tile.
__device__ inline void WriteTiles(const GroupedRows& groups, BlockShare share,
                                  const int32_t* offsets, const int32_t* first_tile) {
  const auto threads = static_cast<int>(blockDim.x);
  for (int tile = share.block * threads + static_cast<int>(threadIdx.x);
       tile < first_tile[groups.slots]; tile += share.blocks * threads) {
    int slot = 0;  // the last one that begins at this tile or before it
    for (int above = groups.slots; above - slot > 1;) {
      const int middle = (slot + above) / 2;
      (first_tile[middle] <= tile ? slot : above) = middle;
    }
    const int begin = offsets[slot] + (tile - first_tile[slot]) * groups.tile_rows;
    groups.tiles[tile] = {slot, begin, min(offsets[slot + 1] - begin, groups.tile_rows)};
  }
}

// Choices that a thread holds, with their ranks among those of its warp.
constexpr int kHeldChoices = 4;
struct HeldChoices {
  int first;  // then those of the following 32s
  int key[kHeldChoices];
  int32_t rank[kHeldChoices];
};

// How many choices a block can group.
inline int MostHeld(int warps) { return warps * kWarp * kHeldChoices; }

// This warp's choices of the segment; counts [keys] of the warp gets how many of each key.
template <typename KeyOf>
__device__ void HoldChoices(const KeyOf& key_of, ChoiceRange segment, int keys, int32_t* counts,
                            HeldChoices& held) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const ChoiceRange part = SegmentOf(segment, {warp, static_cast<int>(blockDim.x) / kWarp});
  held.first = part.first + lane;
#pragma unroll
  for (int i = 0; i < kHeldChoices; ++i) {
    const int at = held.first + i * kWarp;
    held.key[i] = at < part.last ? key_of(at) : -1;
  }
  for (int key = lane; key < keys; key += kWarp) counts[key] = 0;
  __syncwarp();
#pragma unroll
  for (int i = 0; i < kHeldChoices; ++i) {
    if (part.first + i * kWarp >= part.last) break;
    const int key = held.key[i];
    const unsigned peers = __match_any_sync(kFullMask, key);
    const int lower = __popc(peers & ((1u << lane) - 1));
    held.rank[i] = key >= 0 ? counts[key] + lower : 0;
    __syncwarp();
    if (key >= 0 && lower == 0) counts[key] += __popc(peers);
    __syncwarp();
  }
}

// This block's share of the choices, at most MostHeld of its warps.
__device__ inline void GroupSegment(const RoutingRef& routing, const ChoiceGrouping& grouping,
                                    BlockShare share, unsigned char* shared) {
  const GroupedRows& groups = grouping.groups;
  const int slots = groups.slots;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  const RankScratch scratch = RankScratchAt(shared, warps, slots);
  int32_t* offsets = scratch.total + slots;
  int32_t* first_tile = offsets + slots + 1;
  const int count = routing.rows * routing.k;
  const auto key_of = [&](int i) {
    const int expert = routing.expert[i];  // on its way together with the action
    return routing.action[i] == kActionExpert ? grouping.slot_of_expert[expert] : -1;
  };
  const ChoiceRange segment = SegmentOf({0, count}, share);
  for (int slot = static_cast<int>(threadIdx.x); slot < slots; slot += blockDim.x) {
    scratch.before[slot] = 0;
    scratch.total[slot] = 0;
  }
  if (share.blocks > 1) {
    AddCounts<8>(key_of, {0, segment.first}, slots, scratch.counts, scratch.before);
    AddCounts<8>(key_of, {segment.last, count}, slots, scratch.counts, scratch.total);
  }
  HeldChoices held;
  HoldChoices(key_of, segment, slots, scratch.counts + warp * slots, held);
  __syncthreads();
  SumOverWarps(slots, scratch);
  __syncthreads();
  if (warp == 0) ExclusiveSums([&](int slot) { return scratch.total[slot]; }, slots, offsets);
  if (warp == warps - 1) {
    ExclusiveSums([&](int slot) { return TilesOf(scratch.total[slot], groups.tile_rows); }, slots,
                  first_tile);
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kHeldChoices; ++i) {
    const int key = held.key[i];
    if (key < 0) continue;
    groups.choices[offsets[key] + scratch.counts[warp * slots + key] + held.rank[i]] =
        held.first + i * kWarp;
  }
  WriteTiles(groups, share, offsets, first_tile);
  if (share.block != 0) return;
  for (int slot = static_cast<int>(threadIdx.x); slot <= slots; slot += blockDim.x) {
    groups.offsets[slot] = offsets[slot];
  }
  if (threadIdx.x == 0) *groups.tile_count = first_tile[slots];
}

}  // namespace folkmoot::cuda
