// SPDX-License-Identifier: Apache-2.0
// RouteRows and GroupChoices: a warp decides a row; one block ranks the choices of a small step,
// several those of a large one.
#include "runtime/cuda/routing.h"

#include <algorithm>

#include "runtime/check.h"
#include "runtime/cuda/group_choices.cuh"
#include "runtime/cuda/launch.h"
#include "runtime/cuda/place_rows.cuh"
#include "runtime/cuda/platform.h"
#include "runtime/cuda/ptx.h"
#include "runtime/cuda/route_row.cuh"
#include "runtime/cuda/routing_launch.h"

namespace folkmoot::cuda {
namespace {

constexpr int kChoicesPerBlock = 8192;  // beyond, another block helps to place
constexpr int kMaxRankBlocks = 32;

__global__ void RouteRowsKernel(RoutingParams params, RoutingInput input, const float* logits,
                                RoutingRef routing) {
  GridDependencyLaunch();
  GridDependencyWait();
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int row = static_cast<int>(blockIdx.x * (blockDim.x / kWarp)) + warp;
  if (row >= routing.rows) return;
  RouteRow(params, input, row, logits + int64_t{row} * params.experts,
           RowScratchAt(DynamicShared(), warp, params.experts), routing);
}

__global__ void PlaceStepKernel(PlacementTask task) {
  if (gridDim.x == 1) {
    PlaceAndFinish(task, DynamicShared());
  } else {
    PlaceStep(task, ShareOfGrid(), DynamicShared());
  }
}

// A block per sequence, a warp per chunk. What the first chunk begins with is read before anybody
// writes what the last one leaves.
__global__ void PlaceChunksKernel(PlacementTask task) {
  const int sequence = static_cast<int>(blockIdx.x);
  if (sequence >= *task.input.sequences.valid) return;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  int32_t* used = reinterpret_cast<int32_t*>(DynamicShared()) + warp * task.params.experts;
  const SequenceChunks chunks = ChunksOf(task, sequence);
  CopyCounters(warp == 0 ? chunks.carried() : nullptr, used, task.params.experts);
  __syncthreads();
  for (int chunk = warp; chunk < chunks.count(); chunk += warps) {
    if (chunk != warp) CopyCounters(nullptr, used, task.params.experts);
    PlaceChunk(task, chunks, chunk, used);
  }
}

__global__ void FinishRowsKernel(PlacementTask task) {
  const int row = static_cast<int>(blockIdx.x * (blockDim.x / kWarp) + threadIdx.x / kWarp);
  if (row < task.routing.rows) FinishPlacedRow(task, row);
}

__global__ void GroupChoicesKernel(RoutingRef routing, ChoiceGrouping grouping) {
  GridDependencyLaunch();
  GridDependencyWait();
  GroupSegment(routing, grouping, ShareOfGrid(), DynamicShared());
}

int RankBlocks(int choices) {
  return std::clamp((choices + kChoicesPerBlock - 1) / kChoicesPerBlock, 1, kMaxRankBlocks);
}

// One block groups what its threads can hold. Several hold half of that each: all of them have to
// count all choices.
int GroupBlocks(int choices, int warps) {
  const int most = MostHeld(warps);
  return choices <= most ? 1 : (choices + most / 2 - 1) / (most / 2);
}

unsigned Threads(int warps) { return static_cast<unsigned>(warps * kWarp); }

}  // namespace

int RankWarps(int choices, int keys) {
  const int fitting = std::max(1, (64 << 10) / (4 * std::max(keys, 1)));
  return std::min({choices <= 2048 ? 8 : kMaxRankWarps, fitting, kMaxRankWarps});
}

void CheckRouting(const RoutingParams& params, const RoutingInput& input,
                  const RoutingRef& routing) {
  FM_CHECK(params.experts >= 1 && params.experts <= kMaxRoutedExperts);
  FM_CHECK(params.k >= 1 && params.k <= kMaxRoutedChoices && params.k <= params.experts);
  FM_CHECK(params.groups >= 1 && params.groups <= kMaxExpertGroups);
  FM_CHECK(params.experts % params.groups == 0 && params.kept_groups <= params.groups);
  FM_CHECK(routing.k == params.k && routing.rows == input.rows.rows);
  FM_CHECK(params.extra_policy != kExtraSample || params.k == 2);
  FM_CHECK(params.token_table == nullptr || input.rows.token_ids != nullptr);
  // Somebody has to keep count of places, and of raw weights until they are known.
  FM_CHECK(params.capacity == nullptr || routing.place != nullptr);
  FM_CHECK(routing.place == nullptr || routing.raw != nullptr);
  FM_CHECK(!params.capacity_of_chunk ||
           (params.capacity != nullptr && params.chunk_size > 0 &&
            input.counters.taken != nullptr && input.counters.stride >= params.experts));
  FM_CHECK(input.counters.page_taken == nullptr ||
           (input.counters.page_size > 0 && input.sequences.blocks != nullptr));
}

void PlaceRows(Stream& stream, const RoutingParams& params, const RoutingInput& input,
               const RoutingRef& routing) {
  const PlacementTask task = {params, input, routing};
  const int choices = routing.rows * routing.k;
  bool finished = false;
  if (params.capacity_of_chunk) {
    const int warps = std::min(8, RankWarps(choices, params.experts));
    const size_t shared = sizeof(int32_t) * static_cast<size_t>(warps * params.experts);
    Launch(stream,
           {.grid = static_cast<unsigned>(std::max(1, input.sequences.sequences)),
            .block = Threads(warps),
            .shared_bytes = shared},
           PlaceChunksKernel, task);
  } else {
    const int warps = RankWarps(choices, params.experts);
    const int blocks = RankBlocks(choices);
    Launch(stream,
           {.grid = static_cast<unsigned>(blocks),
            .block = Threads(warps),
            .shared_bytes = RankScratchBytes(warps, params.experts)},
           PlaceStepKernel, task);
    finished = blocks == 1;
  }
  if (finished) return;
  Launch(stream, {.grid = static_cast<unsigned>((routing.rows + 7) / 8), .block = 256},
         FinishRowsKernel, task);
}

void RouteRows(Stream& stream, const RoutingParams& params, const RoutingInput& input,
               const float* logits, const RoutingRef& routing) {
  if (routing.rows == 0) return;
  CheckRouting(params, input, routing);
  const size_t bytes = RowScratchBytes(params.experts);
  const int warps = std::clamp(static_cast<int>((48 << 10) / bytes), 1, 4);
  Launch(stream,
         {.grid = static_cast<unsigned>((routing.rows + warps - 1) / warps),
          .block = Threads(warps),
          .shared_bytes = static_cast<size_t>(warps) * bytes,
          .overlap = true},
         RouteRowsKernel, params, input, logits, routing);
  if (routing.place != nullptr) PlaceRows(stream, params, input, routing);
}

void CheckGrouping(const RoutingRef& routing, const ChoiceGrouping& grouping) {
  const GroupedRows& groups = grouping.groups;
  FM_CHECK(grouping.slot_of_expert != nullptr && groups.slots >= 0 && groups.tile_rows > 0);
  FM_CHECK(groups.slots <= kMaxRoutedExperts);
  const int choices = routing.rows * routing.k;
  FM_CHECK(groups.max_choices >= choices);
  FM_CHECK(groups.max_tiles >= MaxTiles(choices, groups.slots, groups.tile_rows));
}

void GroupChoices(Stream& stream, const RoutingRef& routing, const ChoiceGrouping& grouping) {
  CheckGrouping(routing, grouping);
  const int choices = routing.rows * routing.k;
  const int warps = RankWarps(choices, grouping.groups.slots);
  Launch(stream,
         {.grid = static_cast<unsigned>(GroupBlocks(choices, warps)),
          .block = Threads(warps),
          .shared_bytes = GroupScratchBytes(warps, grouping.groups.slots),
          .overlap = true},
         GroupChoicesKernel, routing, grouping);
}

}  // namespace folkmoot::cuda
