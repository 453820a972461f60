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

// out[i] = value_of(0) + ... + value_of(i - 1) for i = 0..count, by one warp.
template <typename ValueOf>
__device__ void ExclusiveSums(const ValueOf& value_of, int count, int32_t* out) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  int32_t carried = 0;
  for (int first = 0; first < count; first += kWarp) {
    const int i = first + lane;
    const int32_t own = i < count ? value_of(i) : 0;
    int32_t sum = own;
    for (int offset = 1; offset < kWarp; offset *= 2) {
      const int32_t left = __shfl_up_sync(kFullMask, sum, static_cast<unsigned>(offset));
      if (lane >= offset) sum += left;
    }
    if (i < count) out[i] = carried + sum - own;
    carried += __shfl_sync(kFullMask, sum, kWarp - 1);
  }
  if (lane == 0) out[count] = carried;
}

// Tiles of the slots that fall to this block, a warp per slot.
__device__ inline void WriteTiles(const GroupedRows& groups, BlockShare share,
                                  const int32_t* offsets, const int32_t* first_tile) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  const int first = share.block * warps + static_cast<int>(threadIdx.x) / kWarp;
  for (int slot = first; slot < groups.slots; slot += share.blocks * warps) {
    const int tiles = first_tile[slot + 1] - first_tile[slot];
    for (int i = lane; i < tiles; i += kWarp) {
      const int begin = offsets[slot] + i * groups.tile_rows;
      const int left = offsets[slot + 1] - begin;
      groups.tiles[first_tile[slot] + i] = {slot, begin,
                                            left < groups.tile_rows ? left : groups.tile_rows};
    }
  }
}

// This block's share of the choices.
__device__ inline void GroupSegment(const RoutingRef& routing, const ChoiceGrouping& grouping,
                                    BlockShare share, unsigned char* shared) {
  const GroupedRows& groups = grouping.groups;
  const int slots = groups.slots;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  const RankScratch scratch = RankScratchAt(shared, warps, slots);
  int32_t* offsets = scratch.total + slots;
  int32_t* first_tile = offsets + slots + 1;
  const int count = routing.rows * routing.k;
  const auto key_of = [&](int i) {
    return routing.action[i] == kActionExpert ? grouping.slot_of_expert[routing.expert[i]] : -1;
  };
  const ChoiceRange segment = SegmentOf({0, count}, share);
  CountChoices(key_of, count, segment, slots, scratch);
  if (threadIdx.x < kWarp) {
    ExclusiveSums([&](int slot) { return scratch.total[slot]; }, slots, offsets);
    ExclusiveSums([&](int slot) { return TilesOf(scratch.total[slot], groups.tile_rows); }, slots,
                  first_tile);
  }
  __syncthreads();
  EmitRanks(key_of, segment, slots, scratch,
            [&](int i, int slot, int32_t rank) { groups.choices[offsets[slot] + rank] = i; });
  WriteTiles(groups, share, offsets, first_tile);
  if (share.block != 0) return;
  for (int slot = static_cast<int>(threadIdx.x); slot <= slots; slot += blockDim.x) {
    groups.offsets[slot] = offsets[slot];
  }
  if (threadIdx.x == 0) *groups.tile_count = first_tile[slots];
}

}  // namespace folkmoot::cuda
