// SPDX-License-Identifier: Apache-2.0
// RouteStep of few rows: blocks (split, tile) take some experts for a tile of rows. Each normalises
// its rows for itself, which is cheaper than a kernel in between; the last block of a tile writes
// what all of them have read, and routes the rows; the last tile groups the choices of all.
//
//   tile 0: splits 0, 1, ... the last one: residual, out, RouteRow -+
//   tile 1: splits 0, 1, ... the last one: residual, out, RouteRow -+- the last one: places, groups
//
// What counts is the length of the chain of waits: weights are on their way before the preceding
// kernel has ended, all rows of a tile are read at once, and a warp decides a row while others
// write the rows. A block is small enough to start beside one of the preceding kernel.
#include <algorithm>

#include "runtime/check.h"
#include "runtime/cuda/group_choices.cuh"
#include "runtime/cuda/launch.h"
#include "runtime/cuda/place_rows.cuh"
#include "runtime/cuda/platform.h"
#include "runtime/cuda/ptx.h"
#include "runtime/cuda/route_logits.cuh"
#include "runtime/cuda/route_row.cuh"
#include "runtime/cuda/routing_launch.h"

namespace folkmoot::cuda {
namespace {

constexpr int kWarps = kRouterParts;  // a part of each logit a warp
constexpr int kThreads = kWarps * kWarp;
constexpr int kMostRows = 8;       // of a tile
constexpr int kExpertsAtOnce = 8;  // of a block
constexpr int kNormGroups = kThreads / kRowThreads;
constexpr int kNormWarps = kRowThreads / kWarp;

static_assert(kMaxFusedRows * kMaxRoutedChoices <= kThreads * kHeldChoices);  // one block groups

struct RouteStepTask {
  RouteStepInput step;
  PlacementTask placement;
  ChoiceGrouping grouping;
  int tile_rows;
  int gate_warps;  // rows that are decided at a time
};

// Dynamic shared memory of a block.
struct StepScratch {
  float* norm;   // [H]
  float* rows;   // [tile_rows, pitch] residual + delta
  float* parts;  // [kRouterParts, kMostRows, kExpertsAtOnce]
  unsigned char* decisions;
};
constexpr int kPartsFloats = kRouterParts * kMostRows * kExpertsAtOnce;
__device__ StepScratch ScratchAt(unsigned char* shared, int hidden, int tile_rows) {
  auto* const norm = reinterpret_cast<float*>(shared);
  float* const rows = norm + hidden;
  float* const parts = rows + tile_rows * RowPitch(hidden);
  return {norm, rows, parts, reinterpret_cast<unsigned char*>(parts + kPartsFloats)};
}

// The tile of rows of this block.
struct RowTile {
  int first;
  int rows;
};

// A slab of the weights of this lane's expert.
template <typename W>
struct SlabWeights {
  EightWeights<W> of[kSlabChunks];
};

template <typename W>
__device__ void LoadSlab(const MatrixRef& router, int64_t expert, int begin, SlabWeights<W>& to) {
  const W* const row = static_cast<const W*>(router.data) + expert * router.stride;
  const int first = begin + static_cast<int>(threadIdx.x) % 4 * kLaneElements;
  constexpr int kPerVector = 16 / static_cast<int>(sizeof(W));
#pragma unroll
  for (int c = 0; c < kSlabChunks; ++c) {
    const int at = first + c * kSlabChunk;
#pragma unroll
    for (int i = 0; i < static_cast<int>(sizeof(W)) / 2; ++i) {
      to.of[c].bits[i] = make_uint4(0, 0, 0, 0);
      if (at < router.cols) to.of[c].bits[i] = LoadGlobalStreaming(row + at + i * kPerVector);
    }
  }
}

// Before the preceding kernel has ended: the weights that are not loaded yet.
template <typename W>
__device__ void PrefetchSlabs(const MatrixRef& router, int64_t expert, int begin) {
  const W* const row = static_cast<const W*>(router.data) + expert * router.stride;
  const int quarter = static_cast<int>(threadIdx.x) % 4 * (kSlab / 4);
  for (int at = begin + quarter; at < router.cols; at += kRouterParts * kSlab) Prefetch(row + at);
}

// rows[r] = residual + delta of the tile's rows, and squares[r, w] = the sum of squares of warp w's
// elements, in the order of norm_rows.cu. Half of the threads take the even rows, kRows at most.
template <int kRows>
__device__ void ReadRows(const RouteStepInput& step, RowTile tile, float* rows,
                         float (&squares)[kMostRows][kNormWarps]) {
  const auto hidden = static_cast<int>(step.out.cols);
  const int pitch = RowPitch(hidden);
  const int group = static_cast<int>(threadIdx.x) / kRowThreads;
  const int thread = static_cast<int>(threadIdx.x) % kRowThreads;
  const int64_t first = int64_t{tile.first + group} * hidden;
  float sums[kRows] = {};
#pragma unroll(kRows == 1 ? 4 : 1)
  for (int i = 4 * thread; i < hidden; i += 4 * kRowThreads) {
    float4 residual[kRows] = {};
    float4 delta[kRows] = {};
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      if (group + kNormGroups * r >= tile.rows) continue;
      const int64_t at = first + int64_t{kNormGroups} * r * hidden + i;
      residual[r] = *reinterpret_cast<const float4*>(step.residual + at);
      delta[r] = *reinterpret_cast<const float4*>(step.delta + at);
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      if (group + kNormGroups * r >= tile.rows) continue;
      const float4 value = AddFour(residual[r], delta[r]);
      *reinterpret_cast<float4*>(rows + (group + kNormGroups * r) * pitch + i) = value;
      sums[r] = __fmaf_rn(value.x, value.x, sums[r]);
      sums[r] = __fmaf_rn(value.y, value.y, sums[r]);
      sums[r] = __fmaf_rn(value.z, value.z, sums[r]);
      sums[r] = __fmaf_rn(value.w, value.w, sums[r]);
    }
  }
#pragma unroll
  for (int stride = kWarp / 2; stride > 0; stride /= 2) {
#pragma unroll
    for (float& sum : sums) sum = __fadd_rn(sum, __shfl_xor_sync(kFullMask, sum, stride));
  }
  if (Lane() != 0) return;
#pragma unroll
  for (int r = 0; r < kRows; ++r) squares[group + kNormGroups * r][thread / kWarp] = sums[r];
}

__device__ float ScaleOfRow(const RouteStepInput& step, const float (&squares)[kNormWarps]) {
  float sum = squares[0];
#pragma unroll
  for (int w = 1; w < kNormWarps; ++w) sum = __fadd_rn(sum, squares[w]);
  return ScaleOf(sum, static_cast<int>(step.out.cols), step.eps);
}

// A slab's products with the row of this lane.
template <typename W>
__device__ void AddSlab(const float* row, const float* norm, float scale, DType type, int begin,
                        int hidden, const SlabWeights<W>& weights, LogitSums& sums) {
  const int first = begin + static_cast<int>(threadIdx.x) % 4 * kLaneElements;
#pragma unroll
  for (int c = 0; c < kSlabChunks; ++c) {
    const int at = first + c * kSlabChunk;
    SplitEight<3> x = {};
    if (at < hidden) SplitNormalised(row + at, norm + at, scale, type, x);
    SplitEight<kTermsOf<W>> w;
    Split(weights.of[c], w);
    AddChunk<false>(x, x, w, sums);
  }
}

// logits[row, e] of the tile and of the experts first .. first + 7, by all warps. `weights` holds
// this lane's first slab.
template <typename W>
__device__ void Logits(const RouteStepInput& step, RowTile tile, int first_expert, float scale,
                       const StepScratch& scratch, SlabWeights<W>& weights) {
  const MatrixRef& router = step.router;
  const auto hidden = static_cast<int>(router.cols);
  const auto experts = static_cast<int>(router.rows);
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int group = Lane() / 4;  // the row, and the expert, of this lane
  const int expert = min(first_expert + group, experts - 1);
  const float* const row = scratch.rows + min(group, tile.rows - 1) * RowPitch(hidden);
  LogitSums sums;
  Clear(sums);
#pragma unroll 1
  for (int begin = warp * kSlab; begin < hidden;) {
    AddSlab<W>(row, scratch.norm, scale, RouterInputType(step), begin, hidden, weights, sums);
    begin += kRouterParts * kSlab;
    if (begin < hidden) LoadSlab<W>(router, expert, begin, weights);
  }
  float* const part = scratch.parts + (warp * kMostRows + group) * kExpertsAtOnce + Lane() % 4 * 2;
  *reinterpret_cast<float2*>(part) = make_float2(PartOf(sums, 0), PartOf(sums, 1));
  __syncthreads();
  const int index = static_cast<int>(threadIdx.x);
  if (index >= kMostRows * kExpertsAtOnce) return;
  float logit = scratch.parts[index];
#pragma unroll
  for (int p = 1; p < kRouterParts; ++p) {
    logit = __fadd_rn(logit, scratch.parts[p * kMostRows * kExpertsAtOnce + index]);
  }
  const int r = index / kExpertsAtOnce;
  const int e = first_expert + index % kExpertsAtOnce;
  if (r < tile.rows && e < experts) step.logits[int64_t{tile.first + r} * experts + e] = logit;
}

// Is this block the last of `expected` ones to come here? Then it sees all that they wrote, and the
// counter is zero again.
__device__ bool LastToArrive(uint32_t* counter, unsigned expected) {
  FM_SHARED(int, is_last, [1]);
  __syncthreads();
  if (expected == 1) return true;
  if (threadIdx.x == 0) {
    is_last[0] = AddAcquireRelease(counter, 1) == expected - 1 ? 1 : 0;
    if (is_last[0] != 0) *counter = 0;
  }
  __syncthreads();
  return is_last[0] != 0;
}

// Once all blocks of the tile have read residual and delta, by the upper half of the warps.
__device__ void WriteRows(const RouteStepInput& step, RowTile tile, const StepScratch& scratch,
                          const float (&squares)[kMostRows][kNormWarps]) {
  const auto hidden = static_cast<int>(step.out.cols);
  for (int r = 0; r < tile.rows; ++r) {
    const float scale = ScaleOfRow(step, squares[r]);
    const int64_t row = tile.first + r;
    const float* const from = scratch.rows + r * RowPitch(hidden);
#pragma unroll 1
    for (int i = 4 * (static_cast<int>(threadIdx.x) - kThreads / 2); i < hidden;
         i += 4 * kThreads / 2) {
      const float4 sum = *reinterpret_cast<const float4*>(from + i);
      const float4 weight = *reinterpret_cast<const float4*>(scratch.norm + i);
      *reinterpret_cast<float4*>(step.residual + row * hidden + i) = sum;
      StoreNormalised(step, row, i, Normalised(sum, scale, weight));
    }
  }
}

// For how many threads registers have to do. With 16-bit weights for half as many more, which makes
// 80 for each: a block of the preceding kernel may still be there.
template <typename W>
constexpr int kBoundThreads = sizeof(W) == 2 ? kThreads * 3 / 2 : kThreads;

template <typename W>
__global__ void __launch_bounds__(kBoundThreads<W>, 1) RouteStepKernel(RouteStepTask task) {
  FM_SHARED(float, squares, [kMostRows][kNormWarps]);
  const RouteStepInput& step = task.step;
  const RoutingRef& routing = task.placement.routing;
  const auto hidden = static_cast<int>(step.out.cols);
  const int experts = task.placement.params.experts;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int group = Lane() / 4;
  const StepScratch scratch = ScratchAt(DynamicShared(), hidden, task.tile_rows);
  const int first_row = static_cast<int>(blockIdx.y) * task.tile_rows;
  const RowTile tile = {first_row, min(task.tile_rows, routing.rows - first_row)};
  int first_expert = static_cast<int>(blockIdx.x) * kExpertsAtOnce;

  SlabWeights<W> weights;
  const int expert = min(first_expert + group, experts - 1);
  LoadSlab<W>(step.router, expert, warp * kSlab, weights);
  PrefetchSlabs<W>(step.router, expert, (warp + kRouterParts) * kSlab);
#pragma unroll 1
  for (int i = 4 * static_cast<int>(threadIdx.x); i < hidden; i += 4 * kThreads) {
    CpAsync16(scratch.norm + i, step.norm_weight + i, true);
  }
  CpAsyncCommit();
  GridDependencyLaunch();
  GridDependencyWait();
  if (tile.rows <= kNormGroups) {
    ReadRows<1>(step, tile, scratch.rows, squares);
  } else {
    ReadRows<kMostRows / kNormGroups>(step, tile, scratch.rows, squares);
  }
  CpAsyncWait<0>();
  __syncthreads();
  const float scale = ScaleOfRow(step, squares[min(group, tile.rows - 1)]);
  while (true) {
    Logits<W>(step, tile, first_expert, scale, scratch, weights);
    first_expert += static_cast<int>(gridDim.x) * kExpertsAtOnce;
    if (first_expert >= experts) break;
    LoadSlab<W>(step.router, min(first_expert + group, experts - 1), warp * kSlab, weights);
    __syncthreads();  // parts are done with
  }

  if (!LastToArrive(&step.arrivals[blockIdx.y], gridDim.x)) return;
  if (warp >= kWarps / 2) {
    WriteRows(step, tile, scratch, squares);
  } else if (warp < task.gate_warps) {
    for (int r = warp; r < tile.rows; r += task.gate_warps) {
      const int row = tile.first + r;
      RouteRow(task.placement.params, task.placement.input, row,
               step.logits + int64_t{row} * experts, RowScratchAt(scratch.decisions, warp, experts),
               routing);
    }
  }
  if (!LastToArrive(&step.arrivals[gridDim.y], gridDim.y)) return;
  if (routing.place != nullptr) {
    PlaceAndFinish(task.placement, DynamicShared());
    __syncthreads();
  }
  GroupSegment(routing, task.grouping, {}, DynamicShared());
}

size_t SharedBytes(const RouteStepTask& task) {
  const int experts = task.placement.params.experts;
  const auto hidden = static_cast<int>(task.step.out.cols);
  const auto floats =
      static_cast<size_t>(hidden + task.tile_rows * RowPitch(hidden) + kPartsFloats);
  const auto rows = static_cast<size_t>(task.gate_warps);
  return std::max({floats * sizeof(float) + rows * RowScratchBytes(experts),
                   RankScratchBytes(kWarps, experts),
                   GroupScratchBytes(kWarps, task.grouping.groups.slots)});
}

// One tile where there are no more rows than that, else as many blocks as run at a time.
void ChooseTiles(const DeviceInfo& device, RouteStepTask& task) {
  const int rows = task.placement.routing.rows;
  const int splits = (task.placement.params.experts + kExpertsAtOnce - 1) / kExpertsAtOnce;
  const auto fits = [&] {
    return SharedBytes(task) + 2048 <= static_cast<size_t>(device.shared_bytes_per_block);
  };
  task.tile_rows = std::min(rows, kMostRows);
  while (true) {  // rather rows that wait for a warp than smaller tiles, but no more than two
    task.gate_warps = task.tile_rows;
    if (fits()) break;
    task.gate_warps = (task.tile_rows + 1) / 2;
    if (fits() || task.tile_rows == 1) break;
    task.tile_rows /= 2;
  }
  if (rows <= task.tile_rows) return;
  while (task.tile_rows > 1 && (rows + task.tile_rows / 2 - 1) / (task.tile_rows / 2) * splits <=
                                   device.multiprocessors) {
    task.tile_rows /= 2;
  }
  task.gate_warps = std::min(task.gate_warps, task.tile_rows);
}

template <typename W>
void LaunchStep(Stream& stream, const RouteStepTask& task) {
  const int tiles = (task.placement.routing.rows + task.tile_rows - 1) / task.tile_rows;
  const int most = (task.placement.params.experts + kExpertsAtOnce - 1) / kExpertsAtOnce;
  const int splits = std::clamp(2 * stream.device().multiprocessors / tiles, 1, most);
  Launch(stream,
         {.grid = dim3(static_cast<unsigned>(splits), static_cast<unsigned>(tiles)),
          .block = kThreads,
          .shared_bytes = SharedBytes(task),
          .overlap = true},
         RouteStepKernel<W>, task);
}

void CheckStep(const RouteStepInput& step, const RoutingParams& params, const RoutingRef& routing) {
  const int64_t hidden = step.out.cols;
  FM_CHECK(hidden > 0 && hidden % kLaneElements == 0 && step.out.rows == routing.rows);
  FM_CHECK(step.router.rows == params.experts && step.router.cols == hidden);
  FM_CHECK(step.router.dtype == step.out.dtype || step.router.dtype == DType::kF32);
  FM_CHECK(step.router.stride % kLaneElements == 0 && InFours(step.out));
  FM_CHECK(hidden * static_cast<int64_t>(sizeof(float)) <= 64 << 10);  // a row in shared memory
  for (const void* data :
       {static_cast<const void*>(step.delta), static_cast<const void*>(step.residual),
        static_cast<const void*>(step.wide), static_cast<const void*>(step.norm_weight),
        static_cast<const void*>(step.router.data)}) {
    FM_CHECK(reinterpret_cast<uintptr_t>(data) % 16 == 0);
  }
  FM_CHECK(step.wide == nullptr || step.wide_logits);
  FM_CHECK(step.logits != nullptr && step.arrivals != nullptr);
}

}  // namespace

void RouteStep(Stream& stream, const RouteStepInput& step, const RoutingParams& params,
               const RoutingInput& input, const RoutingRef& routing,
               const ChoiceGrouping& grouping) {
  CheckRouting(params, input, routing);
  CheckGrouping(routing, grouping);
  CheckStep(step, params, routing);
  if (routing.rows == 0 || routing.rows > kMaxFusedRows) {
    if (routing.rows > 0) {
      RouterOfManyRows(stream, step);
      RouteRows(stream, params, input, step.logits, routing);
    }
    GroupChoices(stream, routing, grouping);
    return;
  }
  RouteStepTask task = {step, {params, input, routing}, grouping, 0, 0};
  ChooseTiles(stream.device(), task);
  ForElement(step.router.dtype, [&](auto type) { LaunchStep<decltype(type)>(stream, task); });
}

}  // namespace folkmoot::cuda
