// SPDX-License-Identifier: Apache-2.0
// How weights and inputs reach the tensor cores of mma_product.cuh and code_product.cu.
//
// The work of a task is units: kM rows of w for the positions of one tile. A block takes every
// gridDim.x-th unit, and there are only as many blocks as run at the same time, so that copies
// never stop: while one unit is multiplied and stored, those of the next are on their way.
//
// A step is 128 bytes of kM rows of w: 64 k, or 128 where w has codes of a byte; the same k of kN
// rows of x, in planes of 64 k = 128 bytes; and the scales of codes. Steps pass through a ring of
// kStages buffers, filled by cp.async. In a buffer the eight 16-byte pieces of a row are permuted
// by row, so that neither the copies nor ldmatrix meet bank conflicts. A ring belongs to a group of
// threads: the whole block, or, where the 4 segments of k run side by side, one warp each, which
// then needs no barrier.
#pragma once

#include "runtime/cuda/platform.h"
#include "runtime/cuda/product_store.cuh"
#include "runtime/cuda/ptx.h"

namespace folkmoot::cuda {

constexpr int kSegments = 4;
constexpr int kPlaneK = 64;  // k of 128 bytes of x

template <int kRows, int kPositions, int kWarpsOfM, int kWarpsOfN, int kWarpsOfK, int kBuffers,
          int kBlocksOfMultiprocessor, int kBytesOfWeight = 2>
struct MmaConfig {
  static constexpr int kWeight = kBytesOfWeight;  // 1: codes with scales
  static constexpr bool kCodes = kWeight == 1;
  static constexpr int kStepK = 128 / kWeight;  // k of a buffer
  static constexpr int kM = kRows;
  static constexpr int kN = kPositions;
  static constexpr int kWarpsM = kWarpsOfM;
  static constexpr int kWarpsK = kWarpsOfK;
  static constexpr int kStages = kBuffers;
  static constexpr int kBlocks = kBlocksOfMultiprocessor;  // that run at the same time
  static constexpr int kWarpsMN = kWarpsOfM * kWarpsOfN;
  static constexpr int kThreads = 32 * kWarpsMN * kWarpsOfK;
  static constexpr int kGroup = kThreads / kWarpsOfK;     // threads that share a ring
  static constexpr int kTilesM = kRows / kWarpsOfM / 16;  // of a warp
  static constexpr int kTilesN = kPositions / kWarpsOfN / 8;
  static constexpr int kWeightBytes = kRows * 128;  // of a step
  static constexpr int kPlanes = kStepK / kPlaneK;
  static constexpr int kPlaneBytes = kPositions * 128;
  static constexpr int kScaleByte = kWeightBytes + kPlanes * kPlaneBytes;
  static constexpr int kStageBytes = kScaleByte + (kCodes ? kRows * 4 : 0);
  static constexpr int kRingBytes = kBuffers * kStageBytes;
  static constexpr int kSharedBytes = kWarpsOfK * kRingBytes;
  static constexpr int kPass = kGroup / 8;  // rows that a group copies at once
  static constexpr int kWeightCopies = kRows / kPass;
  static constexpr int kInputCopies = kPositions / kPass;
  static_assert(kWarpsOfK == 1 || (kWarpsOfK == kSegments && kWarpsMN == 1));
  static_assert(kWeightCopies * kPass == kRows && kInputCopies * kPass == kPositions);
  static_assert(kTilesN == 1 || kTilesN % 2 == 0);
  static_assert(kRows * kPositions * 4 <= kStageBytes || kWarpsOfK == 1);  // AddSegments
};

// Byte of piece `piece` of row `row` in a buffer of 128-byte rows.
__device__ inline int SwizzledByte(int row, int piece) {
  return row * 128 + ((piece ^ (row & 7)) << 4);
}

// The units of a task.
struct UnitList {
  int row_blocks;  // units of a tile
  int units;
};

// The tile of a unit. Of a unit that does not exist: something that must not be used.
template <typename C>
__device__ ExpertTile TileOfUnit(const ProductTask& task, int row_blocks, int unit) {
  const int index = unit / row_blocks;
  if (task.tiles != nullptr) return task.tiles[min(index, task.max_tiles - 1)];
  const int first = index * C::kN;
  return {0, first, min(C::kN, task.rows - first)};
}

// Those of a block's first three units.
struct FirstTiles {
  ExpertTile first;
  ExpertTile second;
  ExpertTile third;
};

// Steps of a group for a unit, and the first k of its part.
template <typename C>
__device__ int StepsOfUnit(const ProductTask& task) {
  return (task.k + C::kStepK * C::kWarpsK - 1) / (C::kStepK * C::kWarpsK);
}
template <typename C>
__device__ int FirstOfGroup(const ProductTask& task) {
  if constexpr (C::kWarpsK == 1) return 0;
  return static_cast<int>(threadIdx.x) / C::kGroup * StepsOfUnit<C>(task) * C::kStepK;
}

// What one thread copies: piece thread % 8 of every kPass-th row of the steps of its group. It
// looks two units ahead, so that nothing is waited for between units.
template <typename C>
struct StepLoader {
  UnitList list;
  int unit;  // whose steps are copied
  int step;
  const char* w;
  int w_left;                      // rows from there on
  const float* scale;              // of codes: what this thread copies of the first step
  int input_row[C::kInputCopies];  // -1: none
  // Of the next unit: its slot, and the choices or positions of this thread; of the one after it:
  // its tile.
  int next_slot;
  int next_input[C::kInputCopies];
  ExpertTile after_next;

  static constexpr int kPieceK = 16 / C::kWeight;  // of w

  static __device__ int ScaleRow() { return static_cast<int>(threadIdx.x) % C::kGroup * 4; }
  static __device__ int Line() { return static_cast<int>(threadIdx.x) % C::kGroup / 8; }
  static __device__ int Piece() { return static_cast<int>(threadIdx.x) % 8; }
  __device__ bool HasUnit() const { return unit < list.units; }

  // Leaves BeginInput() of the first unit to do.
  __device__ void Init(const ProductTask& task, const UnitList& units, const FirstTiles& tiles) {
    list = units;
    unit = static_cast<int>(blockIdx.x);
    FindInput(task, tiles.first, unit);
    BeginWeights(task, tiles.first.slot);
    next_slot = tiles.second.slot;
    after_next = tiles.third;
  }
  __device__ void BeginWeights(const ProductTask& task, int slot) {
    step = 0;
    const int first_row = unit % list.row_blocks * C::kM;
    const int row = first_row + Line();
    const int k = FirstOfGroup<C>(task) + Piece() * kPieceK;
    w_left = task.n - row;
    w = static_cast<const char*>(task.w) +
        ((int64_t{slot} * task.n + row) * task.w_stride + k) * C::kWeight;
    if constexpr (C::kCodes) {
      const int steps = (task.k + C::kStepK - 1) / C::kStepK;
      const int64_t of_slot = int64_t{slot} * steps + FirstOfGroup<C>(task) / C::kStepK;
      scale = task.w_scale + of_slot * task.n + first_row + ScaleRow();
    }
  }
  __device__ void BeginInput(const ProductTask& task, const ExpertTile& next) {
#pragma unroll
    for (int i = 0; i < C::kInputCopies; ++i) {
      input_row[i] = next_input[i];
      if (task.gather && input_row[i] >= 0) input_row[i] /= task.choices_per_row;
    }
    FindInput(task, next, unit + static_cast<int>(gridDim.x));
  }
  __device__ void FindInput(const ProductTask& task, const ExpertTile& tile, int of_unit) {
    const int left = of_unit < list.units ? tile.count - Line() : 0;
    const int first = tile.first + Line();
#pragma unroll
    for (int i = 0; i < C::kInputCopies; ++i) {
      next_input[i] = -1;
      if (i * C::kPass >= left) continue;
      next_input[i] = first + i * C::kPass;
      if (task.gather) next_input[i] = task.choices[first + i * C::kPass];
    }
  }
  // To the next step; kInput: LoadInput() will be called for it.
  template <bool kInput>
  __device__ void Advance(const ProductTask& task) {
    if (++step < StepsOfUnit<C>(task)) return;
    const int stride = static_cast<int>(gridDim.x);
    unit += stride;
    if (!HasUnit()) return;
    BeginWeights(task, next_slot);
    if constexpr (kInput) BeginInput(task, after_next);
    next_slot = after_next.slot;
    after_next = TileOfUnit<C>(task, list.row_blocks, unit + 2 * stride);
  }
  __device__ int StepBegin(const ProductTask& task) const {
    return FirstOfGroup<C>(task) + step * C::kStepK;
  }
  __device__ void LoadWeights(const ProductTask& task, unsigned char* buffer) const {
    const bool real = StepBegin(task) + Piece() * kPieceK < task.k;
#pragma unroll
    for (int i = 0; i < C::kWeightCopies; ++i) {
      const bool valid = real && i * C::kPass < w_left;
      const char* from = w + i * C::kPass * task.w_stride * C::kWeight + step * 128;
      CpAsync16(buffer + SwizzledByte(Line() + i * C::kPass, Piece()), valid ? from : task.w,
                valid);
    }
    if constexpr (C::kCodes) {
      if (ScaleRow() >= C::kM) return;
      const bool valid = StepBegin(task) < task.k && ScaleRow() < w_left + Line();
      const float* from = scale + step * task.n;
      CpAsync16(buffer + C::kScaleByte + ScaleRow() * 4, valid ? from : task.w_scale, valid);
    }
  }
  __device__ void LoadInput(const ProductTask& task, unsigned char* buffer) const {
    const char* x = static_cast<const char*>(task.x);
#pragma unroll
    for (int plane = 0; plane < C::kPlanes; ++plane) {
      const int at = StepBegin(task) + plane * kPlaneK + Piece() * 8;
      unsigned char* to = buffer + C::kWeightBytes + plane * C::kPlaneBytes;
#pragma unroll
      for (int i = 0; i < C::kInputCopies; ++i) {
        const bool valid = at < task.k && input_row[i] >= 0;
        const char* from = x + (input_row[i] * task.x_stride + at) * 2;
        CpAsync16(to + SwizzledByte(Line() + i * C::kPass, Piece()), valid ? from : x, valid);
      }
    }
  }
  // The weights of a dense product from here on, into L2. Leaves no unit.
  __device__ void PrefetchWeights(const ProductTask& task) {
    constexpr int kLine = 64;  // elements
    const int first = FirstOfGroup<C>(task);
    const int end = min(task.k, first + StepsOfUnit<C>(task) * C::kStepK);
    for (; HasUnit(); unit += static_cast<int>(gridDim.x), step = 0) {
      const int row = unit % list.row_blocks * C::kM + Line();
      for (int i = row; i < min(task.n, row - Line() + C::kM); i += C::kPass) {
        const char* from = static_cast<const char*>(task.w) + i * task.w_stride * 2;
        for (int k = first + step * C::kStepK + Piece() * kLine; k < end; k += 8 * kLine) {
          Prefetch(from + k * 2);
        }
      }
    }
  }
};

template <typename C>
struct StepPipeline {
  StepLoader<C> loader;
  unsigned char* ring;
  int next;  // buffer of the next step

  // The weights of the first steps; then, when `ready` has returned, their input.
  template <typename Ready>
  __device__ void Begin(const ProductTask& task, const UnitList& list, const FirstTiles& tiles,
                        const Ready& ready) {
    loader.Init(task, list, tiles);
    StepLoader<C> weights = loader;
#pragma unroll 1
    for (int i = 0; i < C::kStages - 1 && weights.HasUnit(); ++i) {
      weights.LoadWeights(task, ring + i * C::kStageBytes);
      weights.template Advance<false>(task);
    }
    ready(weights);
    loader.BeginInput(task, tiles.second);
#pragma unroll 1
    for (int i = 0; i < C::kStages - 1; ++i) {
      if (loader.HasUnit()) {
        loader.LoadInput(task, ring + i * C::kStageBytes);
        loader.template Advance<true>(task);
      }
      CpAsyncCommit();
    }
    next = 0;
  }
  // Byte in the ring of the step that Next() has returned last.
  __device__ int LastByte() const {
    return (next == 0 ? C::kStages - 1 : next - 1) * C::kStageBytes;
  }
  // Waits for a step, and starts the one that takes the place of the step before.
  __device__ const unsigned char* Next(const ProductTask& task) {
    CpAsyncWait<C::kStages - 2>();
    if constexpr (C::kGroup == 32) {
      __syncwarp();
    } else {
      __syncthreads();
    }
    if (loader.HasUnit()) {
      unsigned char* buffer = ring + LastByte();
      loader.LoadWeights(task, buffer);
      loader.LoadInput(task, buffer);
      loader.template Advance<true>(task);
    }
    CpAsyncCommit();
    const unsigned char* ready = ring + next * C::kStageBytes;
    next = next + 1 == C::kStages ? 0 : next + 1;
    return ready;
  }
};

}  // namespace folkmoot::cuda
