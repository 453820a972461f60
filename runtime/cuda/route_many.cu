// SPDX-License-Identifier: Apache-2.0
// RouteStep of many rows, up to the logits: a kernel that reads and writes rows once, then a
// product over tiles of rows and experts. Decisions and groups follow in kernels of their own.
//
// The product has the order of sums of route_logits.cuh: a warp takes 16 rows and some experts, and
// goes through the parts of a logit one after another. Slabs of rows and of weights go through
// shared memory, some stages ahead of their use; a row is normalised again on the way, which costs
// less than to write it in float32.
#include <array>

#include "runtime/check.h"
#include "runtime/cuda/launch.h"
#include "runtime/cuda/platform.h"
#include "runtime/cuda/ptx.h"
#include "runtime/cuda/route_logits.cuh"
#include "runtime/cuda/routing_launch.h"
#include "runtime/cuda/row_vector.cuh"

namespace folkmoot::cuda {
namespace {

constexpr int kRowsOfWarp = 16;
constexpr int kWarps = 8;
constexpr int kThreads = kWarps * kWarp;
constexpr int kMostStageBytes = 150 << 10;
constexpr int kScaleStep = 32;  // tiles of experts are multiples of it

// A block per row: residual, out, wide. The scale of the row waits where logits will be: in the
// first one of each tile of experts, which is written by those who have read it.
__global__ void __launch_bounds__(kRowThreads) NormRowsKernel(RouteStepInput step) {
  GridDependencyLaunch();
  GridDependencyWait();
  auto* const held = reinterpret_cast<float*>(DynamicShared());
  const auto hidden = static_cast<int>(step.out.cols);
  const int64_t row = blockIdx.x;
  float* const residual = step.residual + row * hidden;
  const float* const delta = step.delta + row * hidden;
  float squares = 0.0f;
#pragma unroll 2
  for (int i = 4 * static_cast<int>(threadIdx.x); i < hidden; i += 4 * kRowThreads) {
    const float4 value = AddFour(*reinterpret_cast<const float4*>(residual + i),
                                 *reinterpret_cast<const float4*>(delta + i));
    *reinterpret_cast<float4*>(held + i) = value;
    *reinterpret_cast<float4*>(residual + i) = value;
    squares = __fmaf_rn(value.x, value.x, squares);
    squares = __fmaf_rn(value.y, value.y, squares);
    squares = __fmaf_rn(value.z, value.z, squares);
    squares = __fmaf_rn(value.w, value.w, squares);
  }
  const float scale = ScaleOf(SumOverBlock(squares), hidden, step.eps);
  for (int i = 4 * static_cast<int>(threadIdx.x); i < hidden; i += 4 * kRowThreads) {
    const float4 weight = *reinterpret_cast<const float4*>(step.norm_weight + i);
    StoreNormalised(step, row, i,
                    Normalised(*reinterpret_cast<const float4*>(held + i), scale, weight));
  }
  const auto experts = static_cast<int>(step.router.rows);
  for (int e = kScaleStep * static_cast<int>(threadIdx.x); e < experts;
       e += kScaleStep * kRowThreads) {
    step.logits[row * experts + e] = scale;
  }
}

// kRowWarps warps share the rows of a block's tile, the others its experts, kOctets times 8 a warp.
template <typename W, int kRowWarps, int kOctets>
struct TileShape {
  static constexpr int kRows = kRowWarps * kRowsOfWarp;
  static constexpr int kExpertWarps = kWarps / kRowWarps;
  static constexpr int kExperts = kExpertWarps * kOctets * 8;
  // Floats and weights from one row of a slab to the next one: neighbours in other banks.
  static constexpr int kRowPitch = kSlab + 4;
  static constexpr int kWeightPitch = kSlab + (sizeof(W) == 2 ? 32 : 4);
  static constexpr int kStageBytes =
      kRows * kRowPitch * 4 + kExperts * kWeightPitch * static_cast<int>(sizeof(W));
  static constexpr int kStages = 4 * kStageBytes <= kMostStageBytes   ? 4
                                 : 3 * kStageBytes <= kMostStageBytes ? 3
                                                                      : 2;
  static_assert(kExperts % kScaleStep == 0);
};

// Slab number i of the walk: part after part, of each its slabs.
struct SlabWalk {
  int slabs;
  int slab = 0;
  __device__ bool EndsPart() const { return slab + kRouterParts >= slabs; }
  __device__ bool Done() const { return slab >= slabs; }
  __device__ void Next() {
    if (Done()) return;
    slab += kRouterParts;
    if (slab < slabs) return;
    const int part = slab % kRouterParts + 1;
    slab = part < kRouterParts ? part : slabs;
  }
};

// Starts to copy a slab of the tile's rows and weights; zeros past the end of a row.
template <typename W, typename Shape>
__device__ void CopySlab(const RouteStepInput& step, int slab, unsigned char* stage) {
  const int first_row = static_cast<int>(blockIdx.x) * Shape::kRows;
  const int first_expert = static_cast<int>(blockIdx.y) * Shape::kExperts;
  const auto rows = static_cast<int>(step.out.rows);
  const auto hidden = static_cast<int>(step.out.cols);
  const auto experts = static_cast<int>(step.router.rows);
  auto* const x = reinterpret_cast<float*>(stage);
  auto* const w = reinterpret_cast<W*>(stage + Shape::kRows * Shape::kRowPitch * 4);
  constexpr int kFours = kSlab / 4;
  for (int i = static_cast<int>(threadIdx.x); i < Shape::kRows * kFours; i += kThreads) {
    const int r = i / kFours;
    const int at = i % kFours * 4;
    const bool valid = slab * kSlab + at < hidden;
    const int64_t row = min(first_row + r, rows - 1);
    CpAsync16(x + r * Shape::kRowPitch + at,
              step.residual + row * hidden + (valid ? slab * kSlab + at : 0), valid);
  }
  constexpr int kVector = 16 / static_cast<int>(sizeof(W));
  constexpr int kVectors = kSlab / kVector;
  for (int i = static_cast<int>(threadIdx.x); i < Shape::kExperts * kVectors; i += kThreads) {
    const int e = i / kVectors;
    const int at = i % kVectors * kVector;
    const bool valid = slab * kSlab + at < hidden;
    const int64_t expert = min(first_expert + e, experts - 1);
    CpAsync16(w + e * Shape::kWeightPitch + at,
              static_cast<const W*>(step.router.data) + expert * step.router.stride +
                  (valid ? slab * kSlab + at : 0),
              valid);
  }
}

// Rows g and g + 8 of a warp, of lane (g, t).
struct LaneRows {
  int row[2];  // in the step
  float scale[2];
};

// The products of a slab.
template <typename W, typename Shape, int kOctets>
__device__ void AddSlab(const RouteStepInput& step, const LaneRows& rows, const float* norm,
                        int slab, const unsigned char* stage, LogitSums (&sums)[kOctets]) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int first = lane % 4 * kLaneElements;
  const auto hidden = static_cast<int>(step.out.cols);
  const DType type = RouterInputType(step);
  const float* const x = reinterpret_cast<const float*>(stage) +
                         (warp / Shape::kExpertWarps * kRowsOfWarp + lane / 4) * Shape::kRowPitch;
  const W* const w = reinterpret_cast<const W*>(stage + Shape::kRows * Shape::kRowPitch * 4) +
                     (warp % Shape::kExpertWarps * kOctets * 8 + lane / 4) * Shape::kWeightPitch;
#pragma unroll 1
  for (int at = first; at < kSlab; at += kSlabChunk) {
    SplitEight<3> row = {};
    SplitEight<3> row8 = {};
    if (slab * kSlab + at < hidden) {
      const float* const weight = norm + slab * kSlab + at;
      SplitNormalised(x + at, weight, rows.scale[0], type, row);
      SplitNormalised(x + 8 * Shape::kRowPitch + at, weight, rows.scale[1], type, row8);
    }
#pragma unroll
    for (int octet = 0; octet < kOctets; ++octet) {
      EightWeights<W> bits;
#pragma unroll
      for (int i = 0; i < static_cast<int>(sizeof(W)) / 2; ++i) {
        const W* const from = w + octet * 8 * Shape::kWeightPitch + at;
        bits.bits[i] = reinterpret_cast<const uint4*>(from)[i];
      }
      SplitEight<kTermsOf<W>> weights;
      Split(bits, weights);
      AddChunk<true>(row, row8, weights, sums[octet]);
    }
  }
}

template <int kOctets>
__device__ void EndPart(LogitSums (&sums)[kOctets], bool first, float (&logits)[kOctets][4]) {
#pragma unroll
  for (int octet = 0; octet < kOctets; ++octet) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float part = PartOf(sums[octet], i);
      logits[octet][i] = first ? part : __fadd_rn(logits[octet][i], part);
    }
    Clear(sums[octet]);
  }
}

template <typename W, int kRowWarps, int kOctets>
__global__ void __launch_bounds__(kThreads, 1) RouterKernel(RouteStepInput step) {
  using Shape = TileShape<W, kRowWarps, kOctets>;
  constexpr int kStages = Shape::kStages;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const auto rows = static_cast<int>(step.out.rows);
  const auto hidden = static_cast<int>(step.out.cols);
  const auto experts = static_cast<int>(step.router.rows);
  auto* const norm = reinterpret_cast<float*>(DynamicShared());
  unsigned char* const stages = DynamicShared() + hidden * 4;
  for (int i = 4 * static_cast<int>(threadIdx.x); i < hidden; i += 4 * kThreads) {
    CpAsync16(norm + i, step.norm_weight + i, true);  // of the first group
  }
  GridDependencyLaunch();
  GridDependencyWait();

  LaneRows mine;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    mine.row[i] = static_cast<int>(blockIdx.x) * Shape::kRows +
                  warp / Shape::kExpertWarps * kRowsOfWarp + lane / 4 + 8 * i;
    const int64_t row = min(mine.row[i], rows - 1);
    mine.scale[i] = step.logits[row * experts + static_cast<int>(blockIdx.y) * Shape::kExperts];
  }
  LogitSums sums[kOctets];
  float logits[kOctets][4] = {};
#pragma unroll
  for (int octet = 0; octet < kOctets; ++octet) Clear(sums[octet]);
  SlabWalk ahead = {(hidden + kSlab - 1) / kSlab};
  int copied = 0;
  for (; copied < kStages - 1; ++copied) {
    if (!ahead.Done()) CopySlab<W, Shape>(step, ahead.slab, stages + copied * Shape::kStageBytes);
    CpAsyncCommit();
    ahead.Next();
  }
  int stage = 0;
  for (SlabWalk now = {ahead.slabs}; !now.Done(); now.Next()) {
    CpAsyncWait<kStages - 2>();
    __syncthreads();  // the slab is there, and the one before it is done with
    if (!ahead.Done()) {
      CopySlab<W, Shape>(step, ahead.slab,
                         stages + (stage + kStages - 1) % kStages * Shape::kStageBytes);
    }
    CpAsyncCommit();
    ahead.Next();
    AddSlab<W, Shape>(step, mine, norm, now.slab, stages + stage * Shape::kStageBytes, sums);
    stage = (stage + 1) % kStages;
    if (now.EndsPart()) EndPart(sums, now.slab % kRouterParts == 0, logits);
  }
  const int first_expert = static_cast<int>(blockIdx.y) * Shape::kExperts +
                           warp % Shape::kExpertWarps * kOctets * 8 + lane % 4 * 2;
#pragma unroll
  for (int octet = 0; octet < kOctets; ++octet) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int e = first_expert + octet * 8 + i % 2;
      const int row = mine.row[i / 2];
      if (row < rows && e < experts) step.logits[int64_t{row} * experts + e] = logits[octet][i];
    }
  }
}

// A tile of rows and experts that the host can choose.
struct RouterTile {
  int rows;
  int experts;
  size_t shared_bytes;
  void (*kernel)(RouteStepInput);
};
template <typename W, int kRowWarps, int kOctets>
RouterTile TileOfShape(int64_t hidden) {
  using Shape = TileShape<W, kRowWarps, kOctets>;
  return {Shape::kRows, Shape::kExperts,
          static_cast<size_t>(hidden * 4 + Shape::kStages * Shape::kStageBytes),
          RouterKernel<W, kRowWarps, kOctets>};
}

unsigned Tiles(int64_t count, int each) { return static_cast<unsigned>((count + each - 1) / each); }

// The largest tile of which there are about as many as multiprocessors; the last one always fits.
template <typename W>
RouterTile ChooseTile(const DeviceInfo& device, const RouteStepInput& step) {
  const int64_t hidden = step.out.cols;
  const RouterTile last = TileOfShape<W, 2, 1>(hidden);
  if (step.router.rows <= last.experts) return last;
  const std::array<RouterTile, 3> tiles = {
      TileOfShape<W, 4, 8>(hidden), TileOfShape<W, 2, 4>(hidden), TileOfShape<W, 1, 2>(hidden)};
  for (const RouterTile& tile : tiles) {
    const unsigned blocks = Tiles(step.out.rows, tile.rows) * Tiles(step.router.rows, tile.experts);
    const bool enough = 4 * static_cast<int>(blocks) > 3 * device.multiprocessors;
    const bool fits =
        tile.shared_bytes + 1024 <= static_cast<size_t>(device.shared_bytes_per_block);
    if (fits && (enough || tile.rows == kRowsOfWarp)) return tile;
  }
  return last;
}

}  // namespace

void RouterOfManyRows(Stream& stream, const RouteStepInput& step) {
  Launch(stream,
         {.grid = static_cast<unsigned>(step.out.rows),
          .block = kRowThreads,
          .shared_bytes = static_cast<size_t>(step.out.cols) * sizeof(float),
          .overlap = true},
         NormRowsKernel, step);
  ForElement(step.router.dtype, [&](auto type) {
    const RouterTile tile = ChooseTile<decltype(type)>(stream.device(), step);
    Launch(stream,
           {.grid = dim3(Tiles(step.out.rows, tile.rows), Tiles(step.router.rows, tile.experts)),
            .block = kThreads,
            .shared_bytes = tile.shared_bytes,
            .overlap = true},
           tile.kernel, step);
  });
}

}  // namespace folkmoot::cuda
