// SPDX-License-Identifier: Apache-2.0
// The tensor-core products of product_task.h: the units of product_pipeline.cuh, multiplied and
// stored.
//
// Rows of w are on the 16-row side of mma.m16n8k16 and positions on its 8-column side, so that few
// positions waste little; with 8 rows of gate and 8 of up in each 16, a thread holds a gate and its
// up value.
//
// The 4 segments of k (product_task.h) run side by side on 4 warps (kWarpsK = 4: small tiles) or
// one after another in each warp (kWarpsK = 1); the sums are the same.
#pragma once

#include <algorithm>

#include "runtime/cuda/launch.h"
#include "runtime/cuda/product_pipeline.cuh"

namespace folkmoot::cuda {

// The weights of a dense product of few rows go to L2 while the kernel before still runs, unless
// they would fill it.
constexpr int kPrefetchRows = 64;
constexpr int64_t kPrefetchBytes = int64_t{32} << 20;

// The sums of one warp.
template <typename T, typename C>
struct WarpSums {
  float v[C::kTilesM][C::kTilesN][4];

  __device__ void Clear() {
#pragma unroll
    for (int m = 0; m < C::kTilesM; ++m) {
#pragma unroll
      for (int n = 0; n < C::kTilesN; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) v[m][n][i] = 0.0f;
      }
    }
  }
  __device__ void Add(const WarpSums& other) {
#pragma unroll
    for (int m = 0; m < C::kTilesM; ++m) {
#pragma unroll
      for (int n = 0; n < C::kTilesN; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) v[m][n][i] = __fadd_rn(v[m][n][i], other.v[m][n][i]);
      }
    }
  }
  __device__ static void Mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    if constexpr (std::is_same_v<T, __half>) {
      MmaFp16(d, a, b);
    } else {
      MmaBf16(d, a, b);
    }
  }
  // v += factor of the row * step.
  __device__ void AddScaled(const WarpSums& step, const float* factors) {
    const int row = static_cast<int>(threadIdx.x) % 32 / 4;
#pragma unroll
    for (int m = 0; m < C::kTilesM; ++m) {
      const float low = factors[m * 16 + row];
      const float high = factors[m * 16 + row + 8];
#pragma unroll
      for (int n = 0; n < C::kTilesN; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          v[m][n][i] = fmaf(i < 2 ? low : high, step.v[m][n][i], v[m][n][i]);
        }
      }
    }
  }
  // 16 k of x, from where this lane begins to read.
  template <bool kScaled>
  __device__ static void LoadInput(const unsigned char* x, const float (&scale)[C::kTilesN],
                                   uint32_t (&b)[C::kTilesN][2]) {
    if constexpr (C::kTilesN == 1) {
      LdMatrixX2(b[0], x);
    } else {
#pragma unroll
      for (int n = 0; n < C::kTilesN; n += 2) {
        uint32_t two[4];
        LdMatrixX4(two, x + n * 8 * 128);
        b[n][0] = two[0];
        b[n][1] = two[1];
        b[n + 1][0] = two[2];
        b[n + 1][1] = two[3];
      }
    }
    if constexpr (kScaled) {
#pragma unroll
      for (int n = 0; n < C::kTilesN; ++n) {
        b[n][0] = ScalePair<T>(b[n][0], scale[n]);
        b[n][1] = ScalePair<T>(b[n][1], scale[n]);
      }
    }
  }
  __device__ void MmaAll(const uint32_t (&a)[C::kTilesM][4], const uint32_t (&b)[C::kTilesN][2]) {
#pragma unroll
    for (int m = 0; m < C::kTilesM; ++m) {
#pragma unroll
      for (int n = 0; n < C::kTilesN; ++n) Mma(v[m][n], a[m], b[n]);
    }
  }
  // The k of pieces `piece`, which is even, and `piece` + 1 of w in a step: 16, or 32 of codes.
  // w_byte, x_byte: see MultiplyUnit.
  template <bool kScaled>
  __device__ void Multiply(const unsigned char* buffer, int w_byte, int x_byte, int piece,
                           const float (&scale)[C::kTilesN]) {
    uint32_t w[C::kTilesM][4];
    uint32_t b[C::kTilesN][2];
#pragma unroll
    for (int m = 0; m < C::kTilesM; ++m) {
      LdMatrixX4(w[m], buffer + (w_byte ^ piece << 4) + m * 16 * 128);
    }
    if constexpr (!C::kCodes) {
      LoadInput<kScaled>(buffer + (x_byte ^ piece << 4), scale, b);
      MmaAll(w, b);
    } else {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        uint32_t a[C::kTilesM][4];
#pragma unroll
        for (int m = 0; m < C::kTilesM; ++m) Widen(w[m][2 * half], w[m][2 * half + 1], a[m]);
        const int k16 = piece + half;
        const int plane = k16 / 4 * C::kPlaneBytes;
        LoadInput<kScaled>(buffer + plane + (x_byte ^ k16 % 4 * 2 << 4), scale, b);
        MmaAll(a, b);
      }
    }
  }
  // A fragment of mma from four codes of a row and of the row 8 below it, in the order of
  // CodeColumn.
  __device__ static void Widen(uint32_t low, uint32_t high, uint32_t (&a)[4]) {
    constexpr unsigned kFirstTwo = 0x1404;  // to the upper bytes of the halves
    constexpr unsigned kLastTwo = 0x3424;
    a[0] = ElementPair<T>::Code(__byte_perm(low, 0, kFirstTwo));
    a[1] = ElementPair<T>::Code(__byte_perm(high, 0, kFirstTwo));
    a[2] = ElementPair<T>::Code(__byte_perm(low, 0, kLastTwo));
    a[3] = ElementPair<T>::Code(__byte_perm(high, 0, kLastTwo));
  }
  template <bool kScaled>
  __device__ void MultiplyStep(const unsigned char* buffer, int w_byte, int x_byte,
                               const float (&scale)[C::kTilesN]) {
    if constexpr (C::kCodes) {
      WarpSums step;
      step.Clear();
#pragma unroll
      for (int piece = 0; piece < 8; piece += 2) {
        step.template Multiply<kScaled>(buffer, w_byte, x_byte, piece, scale);
      }
      const int warp = static_cast<int>(threadIdx.x) / 32 % C::kWarpsM;
      AddScaled(step,
                reinterpret_cast<const float*>(buffer + C::kScaleByte) + warp * C::kTilesM * 16);
    } else {
#pragma unroll
      for (int piece = 0; piece < 8; piece += 2) {
        Multiply<kScaled>(buffer, w_byte, x_byte, piece, scale);
      }
    }
  }
};

// Adds the segments of side by side warps in the first warp; false: not that one. The others leave
// their sums in the buffer of their last step, which is refilled by their next one.
template <typename T, typename C>
__device__ bool AddSegments(WarpSums<T, C>& sums, const StepPipeline<C>& pipeline) {
  constexpr int kValues = C::kTilesM * C::kTilesN;
  const int part = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const auto place = [&](int of, int value) {
    unsigned char* buffer = DynamicShared() + of * C::kRingBytes + pipeline.LastByte();
    return reinterpret_cast<float4*>(buffer) + value * 32 + lane;
  };
  if (part > 0) {
    __syncwarp();  // all lanes have read the step
#pragma unroll
    for (int i = 0; i < kValues; ++i) {
      const float* v = sums.v[i / C::kTilesN][i % C::kTilesN];
      *place(part, i) = make_float4(v[0], v[1], v[2], v[3]);
    }
  }
  __syncthreads();
  if (part == 0) {
#pragma unroll
    for (int i = 0; i < kValues; ++i) {
      float* v = sums.v[i / C::kTilesN][i % C::kTilesN];
#pragma unroll
      for (int of = 1; of < kSegments; ++of) {
        const float4 more = *place(of, i);
        v[0] = __fadd_rn(v[0], more.x);
        v[1] = __fadd_rn(v[1], more.y);
        v[2] = __fadd_rn(v[2], more.z);
        v[3] = __fadd_rn(v[3], more.w);
      }
    }
  }
  __syncthreads();
  return part == 0;
}

// Where the sums of a lane's positions go; -1: there is no such position.
template <typename C>
struct OutputRows {
  int row[2 * C::kTilesN];

  __device__ void Find(const ProductTask& task, const ExpertTile& tile, int first) {
    const int of_lane = first + static_cast<int>(threadIdx.x) % 4 * 2;
    const int left = tile.count - of_lane;
#pragma unroll
    for (int i = 0; i < 2 * C::kTilesN; ++i) {
      const int at = i / 2 * 8 + i % 2;
      row[i] = at < left ? OutputRow(task, tile.first + of_lane + at) : -1;
    }
  }
};

// Of the positions whose part of x a lane holds.
template <typename C>
struct InputScales {
  float of[C::kTilesN];

  __device__ void Find(const ProductTask& task, const ExpertTile& tile, int first) {
    const int of_lane = first + static_cast<int>(threadIdx.x) % 32 / 4;
    const int left = tile.count - of_lane;
#pragma unroll
    for (int n = 0; n < C::kTilesN; ++n) {
      of[n] = n * 8 < left ? RowScale(task, tile.first + of_lane + n * 8) : 0.0f;
    }
  }
};

template <typename T, typename C>
__device__ void StoreSums(const ProductTask& task, const WarpSums<T, C>& sums, int first_row,
                          const OutputRows<C>& out) {
  const int row = first_row + static_cast<int>(threadIdx.x) % 32 / 4;
#pragma unroll
  for (int i = 0; i < 2 * C::kTilesN; ++i) {
    if (out.row[i] < 0) continue;
#pragma unroll
    for (int m = 0; m < C::kTilesM; ++m) {
      const float* v = sums.v[m][i / 2];
      StoreTwoRows<T>(task, out.row[i], row + m * 16, v[i % 2], v[i % 2 + 2]);
    }
  }
}

// The sums of a warp over one unit, in the order of product_task.h; those of a segment where
// segments run side by side.
template <typename T, typename C>
__device__ WarpSums<T, C> MultiplyUnit(const ProductTask& task, StepPipeline<C>& pipeline,
                                       const InputScales<C>& scales) {
  const int warp = static_cast<int>(threadIdx.x) / 32 % C::kWarpsMN;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  // Where ldmatrix begins to read for this lane, at piece 0; the other even pieces are a bit away.
  const int w_byte = warp % C::kWarpsM * C::kTilesM * 16 * 128 + SwizzledByte(lane % 16, lane / 16);
  const int x_byte = C::kWeightBytes + warp / C::kWarpsM * C::kTilesN * 8 * 128 +
                     SwizzledByte(lane / 16 * 8 + lane % 8, lane / 8 % 2);
  const int segment_steps = (task.k + kSegments * C::kStepK - 1) / (kSegments * C::kStepK);
  WarpSums<T, C> sums;
  WarpSums<T, C> total;
  sums.Clear();
  total.Clear();
  int left = segment_steps;
  for (int step = 0; step < StepsOfUnit<C>(task); ++step) {
    const unsigned char* buffer = pipeline.Next(task);
    if (FirstOfGroup<C>(task) + step * C::kStepK < task.k) {
      if (task.row_weight == nullptr) {
        sums.template MultiplyStep<false>(buffer, w_byte, x_byte, scales.of);
      } else {
        sums.template MultiplyStep<true>(buffer, w_byte, x_byte, scales.of);
      }
    }
    if (C::kWarpsK == 1 && --left == 0) {
      total.Add(sums);
      sums.Clear();
      left = segment_steps;
    }
  }
  total.Add(sums);
  return total;
}

// The units of one block, which has at least one.
template <typename T, typename C>
__device__ void MmaUnits(const ProductTask& task, const UnitList& list, const FirstTiles& tiles,
                         bool prefetch) {
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int warp_row = warp % C::kWarpsM * C::kTilesM * 16;
  const int warp_position = warp % C::kWarpsMN / C::kWarpsM * C::kTilesN * 8;
  StepPipeline<C> pipeline;
  pipeline.ring = DynamicShared() + warp / C::kWarpsMN * C::kRingBytes;
  pipeline.Begin(task, list, tiles, [&](StepLoader<C>& rest) {
    if (task.tiles != nullptr) return;
    // The weights of a dense product are known before its input is there.
    if (prefetch) rest.PrefetchWeights(task);
    GridDependencyWait();
  });
  const int stride = static_cast<int>(gridDim.x);
  ExpertTile tile = tiles.first;
  for (int unit = static_cast<int>(blockIdx.x); unit < list.units; unit += stride) {
    InputScales<C> scales;
    if (task.row_weight != nullptr) {
      scales.Find(task, TileOfUnit<C>(task, list.row_blocks, unit), warp_position);
    }
    OutputRows<C> out;
    if (C::kWarpsK > 1) out.Find(task, tile, warp_position);
    ExpertTile next;
    if (C::kWarpsK > 1) next = TileOfUnit<C>(task, list.row_blocks, unit + stride);
    WarpSums<T, C> sums = MultiplyUnit<T, C>(task, pipeline, scales);
    const int first_row = unit % list.row_blocks * C::kM + warp_row;
    if constexpr (C::kWarpsK > 1) {
      if (AddSegments<T, C>(sums, pipeline)) StoreSums<T, C>(task, sums, first_row, out);
    } else {
      // Only now: while it multiplies, a warp has no registers to spare.
      out.Find(task, TileOfUnit<C>(task, list.row_blocks, unit), warp_position);
      StoreSums<T, C>(task, sums, first_row, out);
    }
    if (C::kWarpsK > 1) tile = next;
  }
}

template <typename T, typename C>
__global__ void __launch_bounds__(C::kThreads, C::kBlocks)
    MmaProductKernel(const ProductTask task, const int row_blocks, const bool prefetch) {
  if (task.tiles != nullptr) GridDependencyWait();
  GridDependencyLaunch();
  const int first = static_cast<int>(blockIdx.x);
  const int stride = static_cast<int>(gridDim.x);
  const FirstTiles first_tiles = {TileOfUnit<C>(task, row_blocks, first),
                                  TileOfUnit<C>(task, row_blocks, first + stride),
                                  TileOfUnit<C>(task, row_blocks, first + 2 * stride)};
  const int tiles = task.tiles == nullptr ? (task.rows + C::kN - 1) / C::kN : *task.tile_count;
  const UnitList list = {row_blocks, row_blocks * tiles};
  if (first < list.units) MmaUnits<T, C>(task, list, first_tiles, prefetch);
}

template <typename T, typename C>
void LaunchMma(Stream& stream, const ProductTask& task) {
  const int row_blocks = (task.n + C::kM - 1) / C::kM;
  const int tiles = task.tiles != nullptr ? task.max_tiles : (task.rows + C::kN - 1) / C::kN;
  if (tiles == 0) return;
  const int blocks = std::min(row_blocks * tiles, C::kBlocks * stream.device().multiprocessors);
  const LaunchShape shape{.grid = static_cast<unsigned>(blocks),
                          .block = C::kThreads,
                          .shared_bytes = C::kSharedBytes,
                          .overlap = true};
  const bool prefetch = task.tiles == nullptr && task.rows <= kPrefetchRows &&
                        int64_t{task.n} * task.w_stride * 2 <= kPrefetchBytes;
  Launch(stream, shape, MmaProductKernel<T, C>, task, row_blocks, prefetch);
}

}  // namespace folkmoot::cuda
