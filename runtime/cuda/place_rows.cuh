// SPDX-License-Identifier: Apache-2.0
// Places in experts, as layers/gates/placement.cc gives them for the orders slot_major and
// token_major without rerouting. A choice's place is the number of choices before it that count for
// its expert, whatever the capacity, so places are ranks. An overflow is noted in `action`, since
// other blocks may still read `state`; FinishPlacedRow turns both into the outcome.
#pragma once

#include "runtime/cuda/choice_ranks.cuh"
#include "runtime/cuda/route_row.cuh"

namespace folkmoot::cuda {

constexpr uint8_t kActionOverflowed = 1;  // until the row is finished

struct PlacementTask {
  RoutingParams params;
  RoutingInput input;
  RoutingRef routing;
};

// The expert for which a choice counts, or -1.
__device__ inline int CountsFor(const PlacementTask& task, int64_t at) {
  const uint8_t claim = task.routing.state[at];
  const bool counts =
      claim == kClaimKept || (claim == kClaimRejected && task.params.rejected_consumes);
  return counts ? task.routing.expert[at] : -1;
}

__device__ inline void TakePlace(const PlacementTask& task, int64_t at, int32_t place,
                                 int32_t limit) {
  if (task.routing.state[at] != kClaimKept) return;  // it only uses the place up
  task.routing.place[at] = place;
  if (place >= limit) task.routing.action[at] = kActionOverflowed;
}

// Where choice i by arrival lies in the routing, for `tokens` tokens.
struct ArrivalOrder {
  int tokens;
  int k;
  bool slot_major;
  __device__ int TokenOf(int i) const { return slot_major ? i % tokens : i / k; }
  __device__ int SlotOf(int i) const { return slot_major ? i / tokens : i % k; }
};

// Rows of the step with a claim: what the capacity of a step is made from.
__device__ inline int CountRealRows(const PlacementTask& task) {
  FM_SHARED(int, real, [1]);
  if (threadIdx.x == 0) real[0] = 0;
  __syncthreads();
  int mine = 0;
  for (int row = static_cast<int>(threadIdx.x); row < task.routing.rows; row += blockDim.x) {
    mine += task.routing.state[int64_t{row} * task.params.k] != kClaimPadding ? 1 : 0;
  }
  if (mine > 0) atomicAdd(&real[0], mine);
  __syncthreads();
  const int count = real[0];
  __syncthreads();
  return count;
}

// All rows of the step as one group: this block's share of it.
__device__ inline void PlaceStep(const PlacementTask& task, BlockShare share,
                                 unsigned char* shared) {
  const RoutingParams& params = task.params;
  const int rows = task.routing.rows;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  const RankScratch scratch = RankScratchAt(shared, warps, params.experts);
  const ArrivalOrder order = {rows, params.k, params.slot_major};
  const int32_t limit =
      params.capacity == nullptr ? INT32_MAX : params.capacity[CountRealRows(task)];
  const int valid = *task.input.rows.valid;
  const auto at = [&](int i) {
    int row = order.TokenOf(i);
    if (task.input.arrival != nullptr && row < valid) row = task.input.arrival[row];
    return int64_t{row} * params.k + order.SlotOf(i);
  };
  const auto key_of = [&](int i) { return CountsFor(task, at(i)); };
  const int count = rows * params.k;
  const ChoiceRange segment = SegmentOf({0, count}, share);
  CountChoices(key_of, count, segment, params.experts, scratch);
  EmitRanks(key_of, segment, params.experts, scratch,
            [&](int i, int, int32_t rank) { TakePlace(task, at(i), rank, limit); });
}

__device__ inline void CopyCounters(const int32_t* from, int32_t* to, int experts) {
  __syncwarp();
  for (int e = Lane(); e < experts; e += kWarp) to[e] = from == nullptr ? 0 : from[e];
  __syncwarp();
}

// The part of a sequence in this step, and its chunks of positions.
struct SequenceChunks {
  int sequence, start, rows, first_row, size;
  int32_t* taken;
  __device__ int count() const {
    return rows == 0 ? 0 : (start + rows - 1) / size - start / size + 1;
  }
  // What chunk 0 begins with; null: zeros.
  __device__ const int32_t* carried() const { return start % size != 0 ? taken : nullptr; }
};
__device__ inline SequenceChunks ChunksOf(const PlacementTask& task, int sequence) {
  const StepSequences& all = task.input.sequences;
  const ChunkCounters& counters = task.input.counters;
  const int64_t index = counters.index == nullptr ? sequence : counters.index[sequence];
  return {sequence,
          all.start[sequence],
          all.rows[sequence],
          all.first_row[sequence],
          task.params.chunk_size,
          counters.taken + index * counters.stride};
}

// One chunk by one warp; used [E] is its shared memory and holds what was taken before. Cut where
// pages end if their counters are wanted.
__device__ inline void PlaceChunk(const PlacementTask& task, const SequenceChunks& chunks,
                                  int chunk, int32_t* used) {
  const RoutingParams& params = task.params;
  const ChunkCounters& counters = task.input.counters;
  const StepSequences& all = task.input.sequences;
  const int number = chunks.start / chunks.size + chunk;
  const int begin = max(chunks.start, number * chunks.size);
  const int end = min(chunks.start + chunks.rows, (number + 1) * chunks.size);
  const bool pages = counters.page_taken != nullptr;
  for (int position = begin; position < end;) {
    int count = end - position;
    if (pages) count = min(count, counters.page_size - position % counters.page_size);
    const ArrivalOrder order = {count, params.k, params.slot_major};
    const int row = chunks.first_row + position - chunks.start;
    const auto at = [&](int i) {
      return int64_t{row + order.TokenOf(i)} * params.k + order.SlotOf(i);
    };
    WalkRanks([&](int i) { return CountsFor(task, at(i)); }, {0, count * params.k}, used,
              [&](int i, int, int32_t rank) { TakePlace(task, at(i), rank, params.capacity[0]); });
    position += count;
    if (pages && position % counters.page_size == 0) {
      const int64_t page = all.blocks[int64_t{chunks.sequence} * all.block_stride +
                                      (position - 1) / counters.page_size];
      CopyCounters(used, counters.page_taken + page * counters.page_stride, params.experts);
    }
  }
  if (chunk == chunks.count() - 1) CopyCounters(used, chunks.taken, params.experts);
}

// All chunks of a sequence, one after another, by one warp.
__device__ inline void PlaceSequence(const PlacementTask& task, int sequence, int32_t* used) {
  const SequenceChunks chunks = ChunksOf(task, sequence);
  for (int chunk = 0; chunk < chunks.count(); ++chunk) {
    CopyCounters(chunk == 0 ? chunks.carried() : nullptr, used, task.params.experts);
    PlaceChunk(task, chunks, chunk, used);
  }
}

// By one warp, after all choices of the row have been placed.
__device__ inline void FinishPlacedRow(const PlacementTask& task, int row) {
  SlotDecision slot = {0, 0.0, kClaimPadding};
  if (Lane() < task.params.k) {
    const int64_t at = int64_t{row} * task.params.k + Lane();
    slot = {task.routing.expert[at], task.routing.raw[at], task.routing.state[at]};
    if (task.routing.action[at] == kActionOverflowed) slot.claim = kClaimOverflow;
  }
  FinishRow(task.params, slot, row, task.routing);
}

// Places and finishes everything, by one block that sees all rows.
__device__ inline void PlaceAndFinish(const PlacementTask& task, unsigned char* shared) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  if (task.params.capacity_of_chunk) {
    int32_t* used = reinterpret_cast<int32_t*>(shared) + warp * task.params.experts;
    for (int s = warp; s < *task.input.sequences.valid; s += warps) PlaceSequence(task, s, used);
  } else {
    PlaceStep(task, {}, shared);
  }
  __syncthreads();
  for (int row = warp; row < task.routing.rows; row += warps) FinishPlacedRow(task, row);
}

}  // namespace folkmoot::cuda
