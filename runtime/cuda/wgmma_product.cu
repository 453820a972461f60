// SPDX-License-Identifier: Apache-2.0
// The product of product_task.h for many rows on Hopper: 128 positions times 256 rows of w per
// block, by wgmma. Compiled for sm_90a alone; HasWgmma() says where it runs.
//
// One warpgroup copies (cp.async: the rows of x are scattered, and no copy engine gathers them),
// two multiply, 64 positions each, and skip their half of a tile that has no more than 64. Steps of
// 64 k pass through 4 buffers; named barriers say that a buffer is full, and that it is free again.
// A block stays on its multiprocessor and takes every gridDim-th tile, so that the copies for the
// next tile run while the results of this one are stored.
//
// Rows of w lie along the 256 columns of an instruction in turns of 8 of gate and 8 of up: a thread
// holds a gate and its up value.
#include <algorithm>
#include <type_traits>

#include "runtime/check.h"
#include "runtime/cuda/launch.h"
#include "runtime/cuda/product_store.cuh"
#include "runtime/cuda/wgmma.h"

namespace folkmoot::cuda {
namespace {

constexpr int kGroup = 128;  // threads of a warpgroup
constexpr int kThreads = 3 * kGroup;
constexpr int kM = kWgmmaTokens;
constexpr int kN = kWgmmaWeightRows;
constexpr int kK = 64;  // of a buffer
constexpr int kStages = 4;
constexpr int kLag = 2;  // a step is announced so many steps after its copies were started
constexpr int kInputBytes = kM * kK * 2;
constexpr int kWeightBytes = kN * kK * 2;
constexpr int kStageBytes = kInputBytes + kWeightBytes;
constexpr int kSharedBytes = kStages * kStageBytes;
constexpr int kRowsPerPass = kGroup / 8;  // rows that the copying warpgroup takes at once
constexpr int kInputPasses = kM / kRowsPerPass;
constexpr int kWeightPasses = kN / kRowsPerPass;
// Registers of a thread: 128 * 56 + 256 * 224 of the 65536.
constexpr int kCopyRegisters = 56;
constexpr int kMultiplyRegisters = 224;

// Barriers of a buffer; 0 is __syncthreads'.
__device__ int FullBarrier(int stage) { return 1 + stage; }
__device__ int FreeBarrier(int stage) { return 1 + kStages + stage; }

// The work of one block: items blockIdx, blockIdx + gridDim, .. of `items`.
struct WgmmaWork {
  int row_blocks;
  int items;
  int steps;  // of an item

  __device__ int Count() const {
    const int first = static_cast<int>(blockIdx.x);
    const int stride = static_cast<int>(gridDim.x);
    return first >= items ? 0 : (items - first + stride - 1) / stride;
  }
  __device__ int Item(int i) const {
    return static_cast<int>(blockIdx.x) + i * static_cast<int>(gridDim.x);
  }
};

// What one thread of the copying warpgroup copies: piece thread % 8 of every 16th row.
struct TileCopier {
  const char* x;
  int64_t x_row_bytes;
  const char* w;  // the thread's first row
  int64_t w_pass_bytes;
  int w_left;  // rows from there on
  int k;
  int input_row[kInputPasses];

  __device__ void Start(const ProductTask& task, const ExpertTile& tile, int first_row) {
    const int line = static_cast<int>(threadIdx.x) / 8;
    x = static_cast<const char*>(task.x);
    x_row_bytes = task.x_stride * 2;
    const int64_t row = int64_t{tile.slot} * task.n + first_row + line;
    w = static_cast<const char*>(task.w) + row * task.w_stride * 2;
    w_pass_bytes = task.w_stride * 2 * kRowsPerPass;
    w_left = task.n - first_row - line;
    k = task.k;
#pragma unroll
    for (int i = 0; i < kInputPasses; ++i) {
      const int position = line + i * kRowsPerPass;
      input_row[i] = position < tile.count ? InputRow(task, tile.first + position) : -1;
    }
  }
  __device__ void Copy(int step, unsigned char* buffer) const {
    const int line = static_cast<int>(threadIdx.x) / 8;
    const int piece = static_cast<int>(threadIdx.x) % 8;
    const int at = step * kK + piece * 8;
    const bool inside = at < k;
    // Passes are 16 rows apart, and the order of pieces repeats after 8.
    unsigned char* to = buffer + line * 128 + ((piece ^ (line & 7)) << 4);
#pragma unroll
    for (int i = 0; i < kInputPasses; ++i) {
      const bool valid = inside && input_row[i] >= 0;
      CpAsync16(to + i * kRowsPerPass * 128, valid ? x + input_row[i] * x_row_bytes + at * 2 : x,
                valid);
    }
    to += kInputBytes;
    const char* from = w + at * 2;
#pragma unroll
    for (int i = 0; i < kWeightPasses; ++i) {
      const bool valid = inside && i * kRowsPerPass < w_left;
      CpAsync16(to + i * kRowsPerPass * 128, valid ? from + i * w_pass_bytes : x, valid);
    }
  }
};

__device__ void CopyTiles(const ProductTask& task, const WgmmaWork& work) {
  unsigned char* buffers = DynamicShared();
  const int total = work.Count() * work.steps;
  TileCopier copier;
  int step = 0;
  for (int i = 0; i < total + kLag; ++i) {
    if (i < total) {
      if (step == 0) {
        const int item = work.Item(i / work.steps);
        copier.Start(task, TileOf(task, item / work.row_blocks, kM), item % work.row_blocks * kN);
      }
      if (i >= kStages) NamedBarrierSync(FreeBarrier(i % kStages), kThreads);
      copier.Copy(step, buffers + i % kStages * kStageBytes);
      if (++step == work.steps) step = 0;
    }
    CpAsyncCommit();
    if (i >= kLag) {
      CpAsyncWait<kLag>();
      FenceProxyAsync();
      NamedBarrierArrive(FullBarrier((i - kLag) % kStages), kThreads);
    }
  }
}

template <typename T>
__device__ void StartStep(float (&sums)[kN / 2], const unsigned char* x, const unsigned char* w) {
  const uint64_t a = WgmmaDescriptor(x);
  const uint64_t b = WgmmaDescriptor(w);
  WgmmaFence();
#pragma unroll
  for (int i = 0; i < kK / 16; ++i) {
    const uint64_t further = static_cast<uint64_t>(i * 32 / 16);
    if constexpr (std::is_same_v<T, __half>) {
      WgmmaFp16(sums, a + further, b + further);
    } else {
      WgmmaBf16(sums, a + further, b + further);
    }
  }
  WgmmaCommit();
}

// Sums of this thread: positions g and g + 8 of its warp's 16, rows 8 j + 2 q + {0, 1} of w.
template <typename T>
__device__ void StoreTile(const ProductTask& task, const ExpertTile& tile, int first_position,
                          int first_row, const float (&sums)[kN / 2]) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) % kGroup / 32;
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const int position = first_position + warp * 16 + lane / 4 + h * 8;
    if (position >= tile.count) continue;
    const int out_row = OutputRow(task, tile.first + position);
    const int row = first_row + lane % 4 * 2;
#pragma unroll
    for (int j = 0; j < kN / 8; j += 2) {
      const float* low = &sums[4 * j + 2 * h];
      const float* high = &sums[4 * (j + 1) + 2 * h];
      StoreRowPairs<T>(task, out_row, row + 8 * j, make_float2(low[0], low[1]),
                       make_float2(high[0], high[1]));
    }
  }
}

// One multiplying warpgroup's way through the buffers.
struct BufferReader {
  const unsigned char* buffers;
  int total;     // steps of the block
  int next = 0;  // step

  __device__ const unsigned char* Wait() {
    NamedBarrierSync(FullBarrier(next % kStages), kThreads);
    return buffers + next++ % kStages * kStageBytes;
  }
  // The step `ago` before the next one is not needed any more; nobody asks for the last ones.
  __device__ void Free(int ago) const {
    const int step = next - ago;
    if (step + kStages < total) NamedBarrierArrive(FreeBarrier(step % kStages), kThreads);
  }
};

// Products in flight must end on every path where they began, or the compiler puts them in line: so
// the loops with and without them are apart.
template <typename T>
__device__ void MultiplyTiles(const ProductTask& task, const WgmmaWork& work) {
  const int half = static_cast<int>(threadIdx.x) / kGroup - 1;
  const int count = work.Count();
  BufferReader reader{DynamicShared(), count * work.steps};
  for (int i = 0; i < count; ++i) {
    const int item = work.Item(i);
    const ExpertTile tile = TileOf(task, item / work.row_blocks, kM);
    if (half * 64 >= tile.count) {
      for (int step = 0; step < work.steps; ++step) {
        reader.Wait();
        reader.Free(1);
      }
      continue;
    }
    float sums[kN / 2];
#pragma unroll
    for (int s = 0; s < kN / 2; ++s) sums[s] = 0.0f;
    for (int step = 0; step < work.steps; ++step) {
      const unsigned char* buffer = reader.Wait();
      StartStep<T>(sums, buffer + half * 64 * 128, buffer + kInputBytes);
      WgmmaWait<1>();
      if (step > 0) reader.Free(2);
    }
    WgmmaWait<0>();
    WgmmaHold(sums);
    reader.Free(1);
    StoreTile<T>(task, tile, half * 64, item % work.row_blocks * kN, sums);
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads, 1)
    WgmmaProductKernel(const ProductTask task, WgmmaWork work) {
  GridDependencyWait();
  GridDependencyLaunch();
  if (task.tiles != nullptr) work.items = *task.tile_count * work.row_blocks;
  if (threadIdx.x < kGroup) {
    DecreaseRegisters<kCopyRegisters>();
    CopyTiles(task, work);
  } else {
    IncreaseRegisters<kMultiplyRegisters>();
    MultiplyTiles<T>(task, work);
  }
}

template <typename T>
void LaunchOf(Stream& stream, const ProductTask& task) {
  const int tiles = task.tiles != nullptr ? task.max_tiles : (task.rows + kM - 1) / kM;
  WgmmaWork work;
  work.row_blocks = (task.n + kN - 1) / kN;
  work.items = tiles * work.row_blocks;
  work.steps = (task.k + kK - 1) / kK;
  if (work.items == 0) return;
  const int blocks = std::min(work.items, std::max(1, stream.device().multiprocessors));
  const LaunchShape shape{.grid = static_cast<unsigned>(blocks),
                          .block = kThreads,
                          .shared_bytes = kSharedBytes,
                          .overlap = true};
  Launch(stream, shape, WgmmaProductKernel<T>, task, work);
}

}  // namespace

bool HasWgmma(const DeviceInfo& device) {
  return device.compute_capability == 90 && device.shared_bytes_per_block >= kSharedBytes;
}

void WgmmaProduct(Stream& stream, DType dtype, const ProductTask& task) {
  FM_CHECK(dtype == DType::kBF16 || dtype == DType::kF16);
  FM_CHECK(task.k % 8 == 0 && task.w_stride % 8 == 0 && task.x_stride % 8 == 0);
  FM_CHECK(task.row_weight == nullptr && (!task.gated || task.n % 16 == 0));
  if (dtype == DType::kBF16) {
    LaunchOf<__nv_bfloat16>(stream, task);
  } else {
    LaunchOf<__half>(stream, task);
  }
}

}  // namespace folkmoot::cuda
