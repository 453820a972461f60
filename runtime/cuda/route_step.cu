// SPDX-License-Identifier: Apache-2.0
// RouteStep: blocks (split, tile) take some experts for a tile of rows. Each normalises its rows
// for itself, which is cheaper than a kernel in between; the last block of a tile writes what all
// of them have read, and routes the rows; the last tile groups the choices of all.
//
//   tile 0: splits 0, 1, ... the last one: residual, out, RouteRow -+
//   tile 1: splits 0, 1, ... the last one: residual, out, RouteRow -+- the last one: places, groups
#include <algorithm>

#include "runtime/check.h"
#include "runtime/cuda/group_choices.cuh"
#include "runtime/cuda/launch.h"
#include "runtime/cuda/place_rows.cuh"
#include "runtime/cuda/platform.h"
#include "runtime/cuda/ptx.h"
#include "runtime/cuda/route_row.cuh"
#include "runtime/cuda/routing_launch.h"
#include "runtime/cuda/row_vector.cuh"

namespace folkmoot::cuda {
namespace {

constexpr int kThreads = kRowThreads;
constexpr int kWarps = kThreads / kWarp;
constexpr int kChunk = 8;  // elements that a lane takes at a time

struct RouteStepTask {
  RouteStepInput step;
  PlacementTask placement;
  ChoiceGrouping grouping;
  bool to_the_end;  // places and groups in this kernel
};

// Where elements i .. i + 3 of a row (i a multiple of 4) lie in shared memory: the first halves of
// all chunks, then the second ones, so that lanes with neighbouring chunks read neighbouring 16
// bytes.
__device__ int PlaceOfFour(int i, int hidden) {
  return i % kChunk == 0 ? i / 2 : hidden / 2 + (i - kChunk / 2) / 2;
}

template <typename W>
__device__ void LoadChunk(const W* from, float (&values)[kChunk]) {
  if constexpr (sizeof(W) == 2) {
    const uint4 raw = LoadGlobalStreaming(from);
    W elements[kChunk];
    memcpy(elements, &raw, sizeof(raw));
    for (int i = 0; i < kChunk; ++i) values[i] = static_cast<float>(elements[i]);
  } else {
    const uint4 raw[2] = {LoadGlobalStreaming(from), LoadGlobalStreaming(from + kChunk / 2)};
    memcpy(values, raw, sizeof(raw));
  }
}

// To the type of `out` and back.
__device__ float RoundTo(DType dtype, float value) {
  if (dtype == DType::kBF16) return static_cast<float>(__float2bfloat16_rn(value));
  if (dtype == DType::kF16) return static_cast<float>(__float2half_rn(value));
  return value;
}

__device__ float4 AddFour(const float* a, const float* b) {
  const float4 x = *reinterpret_cast<const float4*>(a);
  const float4 y = *reinterpret_cast<const float4*>(b);
  return make_float4(__fadd_rn(x.x, y.x), __fadd_rn(x.y, y.y), __fadd_rn(x.z, y.z),
                     __fadd_rn(x.w, y.w));
}

__device__ float4 Scaled(float4 x, float scale, const float* weight) {
  const float4 w = *reinterpret_cast<const float4*>(weight);
  return make_float4(__fmul_rn(__fmul_rn(x.x, scale), w.x), __fmul_rn(__fmul_rn(x.y, scale), w.y),
                     __fmul_rn(__fmul_rn(x.z, scale), w.z), __fmul_rn(__fmul_rn(x.w, scale), w.w));
}

// x[0..H), by PlaceOfFour, = RmsNorm(residual + delta) of the row, rounded to the type of `out`
// where the router wants that; nothing global is written. The order of sums is that of
// norm_rows.cu.
__device__ void NormaliseRow(const RouteStepInput& step, int row, float* x) {
  const auto hidden = static_cast<int>(step.out.cols);
  const int64_t first = int64_t{row} * hidden;
  const int begin = 4 * static_cast<int>(threadIdx.x);
  float squares = 0.0f;
  for (int i = begin; i < hidden; i += 4 * kThreads) {
    const float4 value = AddFour(step.residual + first + i, step.delta + first + i);
    *reinterpret_cast<float4*>(x + PlaceOfFour(i, hidden)) = value;
    squares = __fmaf_rn(value.x, value.x, squares);
    squares = __fmaf_rn(value.y, value.y, squares);
    squares = __fmaf_rn(value.z, value.z, squares);
    squares = __fmaf_rn(value.w, value.w, squares);
  }
  const float mean = __fdiv_rn(SumOverBlock(squares), static_cast<float>(hidden));
  const float scale = __fdiv_rn(1.0f, __fsqrt_rn(__fadd_rn(mean, step.eps)));
  for (int i = begin; i < hidden; i += 4 * kThreads) {
    float4& held = *reinterpret_cast<float4*>(x + PlaceOfFour(i, hidden));
    const float4 value = Scaled(held, scale, step.norm_weight + i);
    const DType type = step.wide_logits ? DType::kF32 : step.out.dtype;
    held = make_float4(RoundTo(type, value.x), RoundTo(type, value.y), RoundTo(type, value.z),
                       RoundTo(type, value.w));
  }
}

template <typename T>
__device__ void StoreRow(const float* x, T* out, int hidden) {
  for (int i = 4 * static_cast<int>(threadIdx.x); i < hidden; i += 4 * kThreads) {
    StoreFour(*reinterpret_cast<const float4*>(x + PlaceOfFour(i, hidden)), out, i, hidden, true);
  }
}

// Once all blocks of the tile have read residual and delta.
__device__ void WriteRow(const RouteStepInput& step, int row, const float* x) {
  const auto hidden = static_cast<int>(step.out.cols);
  const int64_t first = int64_t{row} * hidden;
  for (int i = 4 * static_cast<int>(threadIdx.x); i < hidden; i += 4 * kThreads) {
    *reinterpret_cast<float4*>(step.residual + first + i) =
        AddFour(step.residual + first + i, step.delta + first + i);
  }
  if (step.wide != nullptr) StoreRow(x, step.wide + first, hidden);
  const int64_t out = int64_t{row} * step.out.stride;
  if (step.out.dtype == DType::kBF16) {
    StoreRow(x, static_cast<__nv_bfloat16*>(step.out.data) + out, hidden);
  } else if (step.out.dtype == DType::kF16) {
    StoreRow(x, static_cast<__half*>(step.out.data) + out, hidden);
  } else {
    StoreRow(x, static_cast<float*>(step.out.data) + out, hidden);
  }
}

// The experts of this block's split: [first, last).
struct ExpertRange {
  int first, last;
};
__device__ ExpertRange ExpertsOfSplit(int experts) {
  const int splits = static_cast<int>(gridDim.x);
  const int each = (experts + splits - 1) / splits;
  const int first = min(experts, static_cast<int>(blockIdx.x) * each);
  return {first, min(experts, first + each)};
}

template <typename W>
__device__ void PrefetchRouter(const MatrixRef& router, ExpertRange range) {
  constexpr int kLine = 128 / static_cast<int>(sizeof(W));
  for (int e = range.first + static_cast<int>(threadIdx.x) / kWarp; e < range.last; e += kWarps) {
    const W* weights = static_cast<const W*>(router.data) + e * router.stride;
    for (int64_t i = Lane() * kLine; i < router.cols; i += kWarp * kLine) Prefetch(weights + i);
  }
}

// Adds the products of a chunk of w and of a row.
__device__ float AddChunk(float sum, const float (&w)[kChunk], float4 low, float4 high) {
  sum = __fmaf_rn(w[0], low.x, sum);
  sum = __fmaf_rn(w[1], low.y, sum);
  sum = __fmaf_rn(w[2], low.z, sum);
  sum = __fmaf_rn(w[3], low.w, sum);
  sum = __fmaf_rn(w[4], high.x, sum);
  sum = __fmaf_rn(w[5], high.y, sum);
  sum = __fmaf_rn(w[6], high.z, sum);
  return __fmaf_rn(w[7], high.w, sum);
}

// logits[row, e] for the rows of the tile, kExperts at a time by a warp. A lane adds up the chunks
// lane, lane + 32, ... in order, then lanes are added in a butterfly: one order for any tile.
template <typename W, int kRows, int kExperts>
__device__ void Logits(const RouteStepInput& step, ExpertRange range, int first_row, int rows,
                       const float* x) {
  const MatrixRef& router = step.router;
  const auto hidden = static_cast<int>(router.cols);
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  for (int first = range.first + warp * kExperts; first < range.last; first += kWarps * kExperts) {
    const W* weights[kExperts];
#pragma unroll
    for (int e = 0; e < kExperts; ++e) {  // experts that are not there repeat the last one
      const int64_t expert = min(first + e, range.last - 1);
      weights[e] = static_cast<const W*>(router.data) + expert * router.stride;
    }
    float sums[kExperts][kRows] = {};
#pragma unroll(kExperts == 1 ? 2 : 1)
    for (int at = Lane() * kChunk; at < hidden; at += kWarp * kChunk) {
      float w[kExperts][kChunk];
#pragma unroll
      for (int e = 0; e < kExperts; ++e) LoadChunk(weights[e] + at, w[e]);
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        const float* half = x + r * hidden + at / 2;
        const float4 low = *reinterpret_cast<const float4*>(half);
        const float4 high = *reinterpret_cast<const float4*>(half + hidden / 2);
#pragma unroll
        for (int e = 0; e < kExperts; ++e) sums[e][r] = AddChunk(sums[e][r], w[e], low, high);
      }
    }
#pragma unroll
    for (int e = 0; e < kExperts; ++e) {
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        float sum = sums[e][r];
        for (int stride = kWarp / 2; stride > 0; stride /= 2) {
          sum = __fadd_rn(sum, __shfl_xor_sync(kFullMask, sum, stride));
        }
        if (Lane() == 0 && r < rows && first + e < range.last) {
          step.logits[int64_t{first_row + r} * router.rows + first + e] = sum;
        }
      }
    }
  }
}

// Is this block the last of `expected` ones to come here? Then it sees all that they wrote, and the
// counter is zero again.
__device__ bool LastToArrive(uint32_t* counter, unsigned expected) {
  FM_SHARED(int, is_last, [1]);
  __syncthreads();
  if (threadIdx.x == 0) {
    is_last[0] = AddAcquireRelease(counter, 1) == expected - 1 ? 1 : 0;
    if (is_last[0] != 0) *counter = 0;
  }
  __syncthreads();
  return is_last[0] != 0;
}

template <typename W, int kRows, int kExperts>
__global__ void __launch_bounds__(kThreads, 2) RouteStepKernel(RouteStepTask task) {
  const RouteStepInput& step = task.step;
  const RoutingRef& routing = task.placement.routing;
  unsigned char* shared = DynamicShared();
  auto* x = reinterpret_cast<float*>(shared);
  const auto hidden = static_cast<int>(step.out.cols);
  const int experts = task.placement.params.experts;
  const int first_row = static_cast<int>(blockIdx.y) * kRows;
  const int rows = min(kRows, routing.rows - first_row);
  const ExpertRange range = ExpertsOfSplit(experts);

  PrefetchRouter<W>(step.router, range);
  GridDependencyLaunch();
  GridDependencyWait();
  for (int r = 0; r < kRows; ++r) {  // rows that are not there repeat the last one
    NormaliseRow(step, first_row + min(r, rows - 1), x + r * hidden);
  }
  __syncthreads();
  Logits<W, kRows, kExperts>(step, range, first_row, rows, x);

  if (!LastToArrive(&step.arrivals[blockIdx.y], gridDim.x)) return;
  for (int r = 0; r < rows; ++r) WriteRow(step, first_row + r, x + r * hidden);
  __syncthreads();  // x is done with; its memory is the gate's now
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  if (warp < rows) {
    const int row = first_row + warp;
    RouteRow(task.placement.params, task.placement.input, row, step.logits + int64_t{row} * experts,
             RowScratchAt(shared, warp, experts), routing);
  }
  if (!task.to_the_end) return;
  if (!LastToArrive(&step.arrivals[gridDim.y], gridDim.y)) return;
  if (routing.place != nullptr) {
    PlaceAndFinish(task.placement, shared);
    __syncthreads();
  }
  GroupSegment(routing, task.grouping, {}, shared);
}

size_t SharedBytes(const RouteStepTask& task, int rows_of_tile) {
  const int experts = task.placement.params.experts;
  const auto rows = static_cast<size_t>(rows_of_tile);
  return std::max({rows * sizeof(float) * static_cast<size_t>(task.step.out.cols),
                   rows * RowScratchBytes(experts), RankScratchBytes(kWarps, experts),
                   GroupScratchBytes(kWarps, task.grouping.groups.slots)});
}

template <typename W, int kRows, int kExperts>
void LaunchStep(Stream& stream, const RouteStepTask& task) {
  const int tiles = (task.placement.routing.rows + kRows - 1) / kRows;
  constexpr int kOfBlock = kWarps * kExperts;
  const int most = (task.placement.params.experts + kOfBlock - 1) / kOfBlock;
  const int splits = std::clamp(2 * stream.device().multiprocessors / tiles, 1, most);
  Launch(stream,
         {.grid = dim3(static_cast<unsigned>(splits), static_cast<unsigned>(tiles)),
          .block = kThreads,
          .shared_bytes = SharedBytes(task, kRows),
          .overlap = true},
         RouteStepKernel<W, kRows, kExperts>, task);
}

// Few rows want many blocks, many rows want to share what is read of the router.
template <typename W>
void LaunchTiles(Stream& stream, const RouteStepTask& task) {
  const int rows = task.placement.routing.rows;
  const auto fits = [&](int rows_of_tile) {
    return SharedBytes(task, rows_of_tile) + 2048 <=
           static_cast<size_t>(stream.device().shared_bytes_per_block);
  };
  if (rows > kMaxFusedRows && fits(8)) {
    LaunchStep<W, 8, 4>(stream, task);
  } else if (rows > 8 && fits(4)) {
    LaunchStep<W, 4, 2>(stream, task);
  } else {
    LaunchStep<W, 1, 1>(stream, task);
  }
}

void CheckStep(const RouteStepInput& step, const RoutingParams& params, const RoutingRef& routing) {
  const int64_t hidden = step.out.cols;
  FM_CHECK(hidden > 0 && hidden % kChunk == 0 && step.out.rows == routing.rows);
  FM_CHECK(step.router.rows == params.experts && step.router.cols == hidden);
  FM_CHECK(step.router.dtype == step.out.dtype || step.router.dtype == DType::kF32);
  FM_CHECK(step.router.stride % kChunk == 0 && InFours(step.out));
  FM_CHECK(hidden * static_cast<int64_t>(sizeof(float)) <= 128 << 10);  // a row in shared memory
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
  const bool fused = routing.rows <= kMaxFusedRows;
  if (routing.rows > 0) {
    const RouteStepTask task = {step, {params, input, routing}, grouping, fused};
    switch (step.router.dtype) {
      case DType::kBF16:
        LaunchTiles<__nv_bfloat16>(stream, task);
        break;
      case DType::kF16:
        LaunchTiles<__half>(stream, task);
        break;
      default:
        LaunchTiles<float>(stream, task);
        break;
    }
    if (!fused && routing.place != nullptr) PlaceRows(stream, params, input, routing);
  }
  if (!fused || routing.rows == 0) GroupChoices(stream, routing, grouping);
}

}  // namespace folkmoot::cuda
