// SPDX-License-Identifier: Apache-2.0
// The tensor-core product of product_task.h: one block computes kM rows of w for kN positions.
//
// Rows of w are on the 16-row side of mma.m16n8k16 and positions on its 8-column side, so that few
// positions waste little; with 8 rows of gate and 8 of up in each 16, a thread holds a gate and its
// up value. Both operands travel by cp.async through kStages buffers in rows of 64 k = 128 bytes,
// whose eight 16-byte pieces are permuted by row so that neither the copies nor ldmatrix meet bank
// conflicts.
//
// The 4 segments of k (product_task.h) run side by side on 4 warps (kWarpsK = 4: small tiles, more
// bytes in flight) or one after another in each warp (kWarpsK = 1); the sums are the same.
#pragma once

#include "runtime/cuda/platform.h"
#include "runtime/cuda/product_store.cuh"
#include "runtime/cuda/ptx.h"

namespace folkmoot::cuda {

constexpr int kSegments = 4;
constexpr int kStepK = 64;  // k of a buffer

template <int kRows, int kPositions, int kWarpsOfM, int kWarpsOfN, int kWarpsOfK, int kBuffers>
struct MmaConfig {
  static constexpr int kM = kRows;
  static constexpr int kN = kPositions;
  static constexpr int kWarpsM = kWarpsOfM;
  static constexpr int kWarpsK = kWarpsOfK;
  static constexpr int kStages = kBuffers;
  static constexpr int kWarpsMN = kWarpsOfM * kWarpsOfN;
  static constexpr int kThreads = 32 * kWarpsMN * kWarpsOfK;
  // Blocks of an SM that the registers must allow.
  static constexpr int kBlocks = kRows * kPositions == 128 * 64 ? 2 : 1;
  static constexpr int kTilesM = kRows / kWarpsOfM / 16;  // of a warp
  static constexpr int kTilesN = kPositions / kWarpsOfN / 8;
  static constexpr int kWeightBytes = kWarpsOfK * kRows * kStepK * 2;
  static constexpr int kInputBytes = kWarpsOfK * kPositions * kStepK * 2;
  static constexpr int kStageBytes = kWeightBytes + kInputBytes;
  static constexpr int kWeightCopies = kWeightBytes / 16 / kThreads;  // of a thread
  static constexpr int kInputCopies = kInputBytes / 16 / kThreads;
  static constexpr int kTableBytes = kPositions * 12;  // per position: rows read, written, scale
  static constexpr int kSharedBytes = kBuffers * kStageBytes + kTableBytes;
  static_assert(kWarpsOfK == 1 || kWarpsOfK == kSegments);
  static_assert(kWeightCopies * 16 * kThreads == kWeightBytes);
  static_assert(kInputCopies * 16 * kThreads == kInputBytes);
  static_assert(kTilesN == 1 || kTilesN % 2 == 0);
  static_assert((kSegments - 1) * kM * kN * 4 <= kStages * kStageBytes || kWarpsOfK == 1);
};

// Byte of piece `piece` of row `row` in a buffer of 128-byte rows.
__device__ inline int SwizzledByte(int row, int piece) {
  return row * 128 + ((piece ^ (row & 7)) << 4);
}

// What one thread copies: piece thread % 8 of every kPass-th line of a buffer, a line being a row
// of one of the side by side segments.
template <typename C>
struct StepLoader {
  static constexpr int kPass = C::kThreads / 8;
  static constexpr int kInputRows =
      C::kN > kPass ? C::kN / kPass : 1;  // different ones of a thread
  static_assert(C::kM % kPass == 0 && (C::kN % kPass == 0 || kPass % C::kN == 0));

  const char* w;  // the thread's first row
  int64_t w_row_bytes;
  int w_left;  // rows from there on
  const char* x;
  int64_t x_row_bytes;
  int input_row[kInputRows];  // -1: none
  int k;
  int segment;  // k between side by side segments

  static __device__ int Line() { return static_cast<int>(threadIdx.x) / 8; }
  static __device__ int Piece() { return static_cast<int>(threadIdx.x) % 8; }

  __device__ void InitWeights(const ProductTask& task, const ExpertTile& tile, int first_row) {
    const int64_t row = static_cast<int64_t>(tile.slot) * task.n + first_row + Line();
    w_row_bytes = task.w_stride * 2;
    w = static_cast<const char*>(task.w) + row * w_row_bytes;
    w_left = task.n - first_row - Line();
    k = task.k;
  }
  __device__ void InitInput(const ProductTask& task, const int* input_rows) {
    x = static_cast<const char*>(task.x);
    x_row_bytes = task.x_stride * 2;
#pragma unroll
    for (int i = 0; i < kInputRows; ++i) input_row[i] = input_rows[(Line() + i * kPass) % C::kN];
  }
  // `some`: an address that may be read, for copies of nothing.
  __device__ void LoadWeights(int step, unsigned char* buffer, const void* some) const {
    unsigned char* to = buffer + SwizzledByte(Line(), Piece());
#pragma unroll
    for (int i = 0; i < C::kWeightCopies; ++i) {
      const int row = i * kPass % C::kM;
      const int at = i * kPass / C::kM * segment + step * kStepK + Piece() * 8;
      const bool valid = row < w_left && at < k;
      CpAsync16(to + i * kPass * 128, valid ? w + row * w_row_bytes + at * 2 : some, valid);
    }
  }
  __device__ void LoadInput(int step, unsigned char* buffer) const {
    unsigned char* to = buffer + C::kWeightBytes + SwizzledByte(Line(), Piece());
#pragma unroll
    for (int i = 0; i < C::kInputCopies; ++i) {
      const int row = input_row[i % kInputRows];
      const int at = (Line() + i * kPass) / C::kN * segment + step * kStepK + Piece() * 8;
      const bool valid = row >= 0 && at < k;
      CpAsync16(to + i * kPass * 128, valid ? x + row * x_row_bytes + at * 2 : x, valid);
    }
  }
};

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
  // 16 k at piece `piece` of the rows that begin at `w` and `x`. scale: of the warp's positions, or
  // null.
  __device__ void Multiply(const unsigned char* w, const unsigned char* x, int piece,
                           const float* scale) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    uint32_t a[C::kTilesM][4];
    uint32_t b[C::kTilesN][2];
#pragma unroll
    for (int m = 0; m < C::kTilesM; ++m) {
      LdMatrixX4(a[m], w + SwizzledByte(m * 16 + lane % 16, piece + lane / 16));
    }
    if constexpr (C::kTilesN == 1) {
      LdMatrixX2(b[0], x + SwizzledByte(lane % 8, piece + lane / 8 % 2));
    } else {
#pragma unroll
      for (int n = 0; n < C::kTilesN; n += 2) {
        uint32_t two[4];
        LdMatrixX4(two, x + SwizzledByte(n * 8 + lane / 16 * 8 + lane % 8, piece + lane / 8 % 2));
        b[n][0] = two[0];
        b[n][1] = two[1];
        b[n + 1][0] = two[2];
        b[n + 1][1] = two[3];
      }
    }
    if (scale != nullptr) {
#pragma unroll
      for (int n = 0; n < C::kTilesN; ++n) {
        b[n][0] = ScalePair<T>(b[n][0], scale[n * 8 + lane / 4]);
        b[n][1] = ScalePair<T>(b[n][1], scale[n * 8 + lane / 4]);
      }
    }
#pragma unroll
    for (int m = 0; m < C::kTilesM; ++m) {
#pragma unroll
      for (int n = 0; n < C::kTilesN; ++n) Mma(v[m][n], a[m], b[n]);
    }
  }
};

// Adds the segments of side by side warps in the warps of the first; false: not one of those.
template <typename T, typename C>
__device__ bool AddSegments(WarpSums<T, C>& sums, unsigned char* shared) {
  constexpr int kValues = C::kTilesM * C::kTilesN;
  float4* parts = reinterpret_cast<float4*>(shared);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int part = warp / C::kWarpsMN;
  const auto place = [&](int of, int value) {
    return (((of - 1) * C::kWarpsMN + warp % C::kWarpsMN) * kValues + value) * 32 + lane;
  };
  CpAsyncWait<0>();
  __syncthreads();
  if (part > 0) {
#pragma unroll
    for (int i = 0; i < kValues; ++i) {
      const float* v = sums.v[i / C::kTilesN][i % C::kTilesN];
      parts[place(part, i)] = make_float4(v[0], v[1], v[2], v[3]);
    }
  }
  __syncthreads();
  if (part > 0) return false;
#pragma unroll
  for (int i = 0; i < kValues; ++i) {
    float* v = sums.v[i / C::kTilesN][i % C::kTilesN];
#pragma unroll
    for (int of = 1; of < kSegments; ++of) {
      const float4 more = parts[place(of, i)];
      v[0] = __fadd_rn(v[0], more.x);
      v[1] = __fadd_rn(v[1], more.y);
      v[2] = __fadd_rn(v[2], more.z);
      v[3] = __fadd_rn(v[3], more.w);
    }
  }
  return true;
}

template <typename T, typename C>
__device__ void StoreSums(const ProductTask& task, const WarpSums<T, C>& sums, int first_row,
                          int first_position, const int* output_rows) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int n = 0; n < C::kTilesN; ++n) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int out_row = output_rows[first_position + n * 8 + lane % 4 * 2 + i];
      if (out_row < 0) continue;
#pragma unroll
      for (int m = 0; m < C::kTilesM; ++m) {
        StoreTwoRows<T>(task, out_row, first_row + m * 16 + lane / 4, sums.v[m][n][i],
                        sums.v[m][n][i + 2]);
      }
    }
  }
}

// The rows that the tile's positions read and write, and their scales.
template <typename C>
__device__ void FillTable(const ProductTask& task, const ExpertTile& tile, int* input_rows,
                          int* output_rows, float* scales) {
  for (int i = static_cast<int>(threadIdx.x); i < C::kN; i += C::kThreads) {
    const bool real = i < tile.count;
    input_rows[i] = real ? InputRow(task, tile.first + i) : -1;
    output_rows[i] = real ? OutputRow(task, tile.first + i) : -1;
    scales[i] = real ? RowScale(task, tile.first + i) : 0.0f;
  }
  __syncthreads();
}

// The steps of one block through the buffers in shared memory.
template <typename C>
struct StepPipeline {
  StepLoader<C> loader;
  unsigned char* buffers;
  const void* some;  // see StepLoader::LoadWeights
  int steps;

  __device__ unsigned char* Buffer(int step) const {
    return buffers + step % C::kStages * C::kStageBytes;
  }
  // The first steps; x may be touched only after `ready` has returned.
  template <typename Ready>
  __device__ void Begin(const Ready& ready) {
#pragma unroll
    for (int step = 0; step < C::kStages - 1; ++step) {
      if (step < steps) loader.LoadWeights(step, Buffer(step), some);
    }
    ready();
#pragma unroll
    for (int step = 0; step < C::kStages - 1; ++step) {
      if (step < steps) loader.LoadInput(step, Buffer(step));
      CpAsyncCommit();
    }
  }
  // Waits for a step, and starts the one that takes the place of the step before.
  __device__ const unsigned char* Next(int step) {
    CpAsyncWait<C::kStages - 2>();
    __syncthreads();
    const int further = step + C::kStages - 1;
    if (further < steps) {
      loader.LoadWeights(further, Buffer(further), some);
      loader.LoadInput(further, Buffer(further));
    }
    CpAsyncCommit();
    return Buffer(step);
  }
};

template <typename T, typename C>
__device__ void MmaBlock(const ProductTask& task, const ExpertTile& tile, int first_row) {
  unsigned char* buffers = DynamicShared();
  int* input_rows = reinterpret_cast<int*>(buffers + C::kStages * C::kStageBytes);
  int* output_rows = input_rows + C::kN;
  float* scales = reinterpret_cast<float*>(output_rows + C::kN);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int part = warp / C::kWarpsMN;
  const int warp_row = warp % C::kWarpsM * C::kTilesM * 16;
  const int warp_position = warp % C::kWarpsMN / C::kWarpsM * C::kTilesN * 8;
  const float* scale = task.row_weight == nullptr ? nullptr : scales + warp_position;
  const int segment_steps = (task.k + kSegments * kStepK - 1) / (kSegments * kStepK);

  StepPipeline<C> pipeline;
  pipeline.buffers = buffers;
  pipeline.some = task.w;
  pipeline.steps = C::kWarpsK == 1 ? (task.k + kStepK - 1) / kStepK : segment_steps;
  pipeline.loader.segment = segment_steps * kStepK;
  pipeline.loader.InitWeights(task, tile, first_row);
  pipeline.Begin([&] {
    // The weights of a dense product are known before its input is there.
    if (task.tiles == nullptr) GridDependencyWait();
    FillTable<C>(task, tile, input_rows, output_rows, scales);
    pipeline.loader.InitInput(task, input_rows);
  });

  WarpSums<T, C> sums;
  WarpSums<T, C> total;
  sums.Clear();
  total.Clear();
  int left = segment_steps;
  for (int step = 0; step < pipeline.steps; ++step) {
    const unsigned char* buffer = pipeline.Next(step);
    const unsigned char* w = buffer + (part * C::kM + warp_row) * 128;
    const unsigned char* x = buffer + C::kWeightBytes + (part * C::kN + warp_position) * 128;
    if (part * pipeline.loader.segment + step * kStepK < task.k) {
#pragma unroll
      for (int piece = 0; piece < 8; piece += 2) sums.Multiply(w, x, piece, scale);
    }
    if (C::kWarpsK == 1 && --left == 0) {
      total.Add(sums);
      sums.Clear();
      left = segment_steps;
    }
  }
  total.Add(sums);
  if constexpr (C::kWarpsK > 1) {
    if (!AddSegments<T, C>(total, buffers)) return;
  }
  StoreSums<T, C>(task, total, first_row + warp_row, warp_position, output_rows);
}

}  // namespace folkmoot::cuda
