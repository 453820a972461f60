// SPDX-License-Identifier: Apache-2.0
// The product of product_task.h for many rows on Hopper: 128 positions times 256 rows of w per
// block, by wgmma. Compiled for sm_90a alone; HasWgmma() says where it runs.
//
// One warpgroup copies (cp.async: the rows of x are scattered, and no copy engine gathers them),
// two multiply, 64 positions each, and skip their half of a tile that has no more than 64. Steps of
// 64 k pass through 4 buffers; named barriers say that a buffer is full, and that it is free again.
// A block stays on its multiprocessor and takes every gridDim-th item, so that the copies for the
// next tile run while the results of this one are stored.
//
// Each copying warp has one buffer, and so every 4th step. The fence that wgmma asks for, between a
// copy and the word that it is there, is a memory barrier of the thread (MEMBAR.ALL.CTA): it waits
// for all copies that the thread has started. With a buffer to a warp no copies of later steps are
// among them, and up to 4 steps are under way.
//
// Rows of w lie along the 256 columns of an instruction in turns of 8 of gate and 8 of up: a thread
// holds a gate and its up value.
#include <algorithm>
#include <type_traits>

#include "runtime/check.h"
#include "runtime/cuda/launch.h"
#include "runtime/cuda/wgmma_store.cuh"

namespace folkmoot::cuda {
namespace {

constexpr int kGroup = 128;  // threads of a warpgroup
constexpr int kThreads = 3 * kGroup;
constexpr int kM = kWgmmaTokens;
constexpr int kN = kWgmmaWeightRows;
constexpr int kK = 64;      // of a buffer
constexpr int kStages = 4;  // buffers, and copying warps
constexpr int kInputBytes = kM * kK * 2;
constexpr int kWeightBytes = kN * kK * 2;
constexpr int kStageBytes = kInputBytes + kWeightBytes;
constexpr int kSharedBytes = kStages * kStageBytes;
constexpr int kLines = kWarp / 8;  // rows that a warp copies at once, 8 lanes a row
constexpr int kInputCopies = kM / kLines;
constexpr int kWeightCopies = kN / kLines;
// Tiles that go through all rows of w together: what runs at the same time shares rows of w and of
// x in L2 (132 blocks: 16 tiles times 8 pieces of w).
constexpr int kTileGroup = 16;
// Registers of a thread: 128 * 88 + 256 * 208 of the 384 * 168 that the block begins with.
constexpr int kCopyRegisters = 88;
constexpr int kMultiplyRegisters = 208;
static_assert(kStages == kGroup / kWarp);

// Barriers; 0 is __syncthreads'. Full: the copying warp, and the warpgroup that waits for it, which
// may run ahead of the other one. Free: both of these, and the warp.
__device__ int FullBarrier(int half, int stage) { return 1 + half * kStages + stage; }
__device__ int FreeBarrier(int stage) { return 1 + 2 * kStages + stage; }
constexpr int kFullThreads = kWarp + kGroup;
constexpr int kFreeThreads = kWarp + 2 * kGroup;

struct Item {
  ExpertTile tile;
  int first_row;  // of w
};

// The work of one block: items blockIdx, blockIdx + gridDim, .. of tiles * row_blocks.
struct WgmmaWork {
  int row_blocks;
  int tiles;
  int steps;  // of an item

  __device__ int Count() const {
    const int items = tiles * row_blocks;
    const int first = static_cast<int>(blockIdx.x);
    const int stride = static_cast<int>(gridDim.x);
    return first >= items ? 0 : (items - first + stride - 1) / stride;
  }
  __device__ Item At(const ProductTask& task, int i) const {
    const int index = static_cast<int>(blockIdx.x) + i * static_cast<int>(gridDim.x);
    const int first = index / (kTileGroup * row_blocks) * kTileGroup;
    const int width = min(kTileGroup, tiles - first);
    const int within = index - first * row_blocks;
    const int tile = first + within % width;
    const int first_row = within / width * kN;
    if (task.tiles != nullptr) return {task.tiles[tile], first_row};
    return {{0, tile * kM, min(kM, task.rows - tile * kM)}, first_row};
  }
};

// What one lane of a copying warp copies: piece lane % 8 of every 4th row. Rows that do not exist
// become zeros; their copies have an address that may be read.
struct TileCopier {
  const char* x;
  int x_row_bytes;
  const char* w;  // the lane's first row
  int w_line_bytes;
  int w_left;  // rows from there on
  int k;
  int inputs;  // copies of x that have a row
  int input_row[kInputCopies];

  __device__ static int Line() { return static_cast<int>(threadIdx.x) % kWarp / 8; }
  __device__ static int Piece() { return static_cast<int>(threadIdx.x) % 8; }

  __device__ void Start(const ProductTask& task, const ExpertTile& tile, int first_row) {
    x = static_cast<const char*>(task.x);
    x_row_bytes = static_cast<int>(task.x_stride) * 2;
    const int64_t row = int64_t{tile.slot} * task.n + first_row + Line();
    w = static_cast<const char*>(task.w) + row * task.w_stride * 2;
    w_line_bytes = static_cast<int>(task.w_stride) * 2 * kLines;
    w_left = task.n - first_row - Line();
    k = task.k;
    inputs = (tile.count - Line() + kLines - 1) / kLines;
    // A lane finds the rows of 4 positions for all.
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    int mine[kM / kWarp];
#pragma unroll
    for (int i = 0; i < kM / kWarp; ++i) {
      const int position = lane + i * kWarp;
      mine[i] = position < tile.count ? InputRow(task, tile.first + position) : 0;
    }
#pragma unroll
    for (int i = 0; i < kInputCopies; ++i) {
      const int position = i * kLines + Line();
      input_row[i] = __shfl_sync(kFullMask, mine[i / 8], position % kWarp);
    }
  }

  __device__ void Copy(int step, unsigned char* buffer) const {
    const int at = step * kK + Piece() * 8;
    const bool inside = at < k;
    const int skip = inside ? at * 2 : 0;
    // Copies are 4 rows apart, and the order of pieces repeats after 8 rows.
    const int even = Line() * 128 + ((Piece() ^ Line()) << 4);
    unsigned char* const to[2] = {buffer + even, buffer + (even ^ 64)};
    CopyInput(skip, inside ? inputs : 0, to);
    unsigned char* const below[2] = {to[0] + kInputBytes, to[1] + kInputBytes};
    if (inside && w_left > (kWeightCopies - 1) * kLines) {
      CopyWeights(skip, below);
    } else {
      CopyLastWeights(skip, inside, below);
    }
  }
  __device__ void CopyInput(int skip, int some, unsigned char* const (&to)[2]) const {
    const char* from = x + skip;
#pragma unroll
    for (int i = 0; i < kInputCopies; ++i) {
      CpAsync16(to[i % 2] + i * kLines * 128, from + int64_t{input_row[i]} * x_row_bytes, i < some);
    }
  }
  __device__ void CopyWeights(int skip, unsigned char* const (&to)[2]) const {
    const char* from = w + skip;
#pragma unroll
    for (int i = 0; i < kWeightCopies; ++i) {
      CpAsync16(to[i % 2] + i * kLines * 128, from + int64_t{w_line_bytes} * i, true);
    }
  }
  // Where w or k ends.
  __device__ void CopyLastWeights(int skip, bool inside, unsigned char* const (&to)[2]) const {
#pragma unroll 2
    for (int i = 0; i < kWeightCopies; ++i) {
      const bool valid = inside && i * kLines < w_left;
      const char* from = valid ? w + skip + int64_t{w_line_bytes} * i : x;
      CpAsync16((i % 2 == 0 ? to[0] : to[1]) + i * kLines * 128, from, valid);
    }
  }
};

// One loop over the steps of all items: with a loop for each item, what depends on the item alone
// is computed before it, and takes more registers than there are.
__device__ void CopyTiles(const ProductTask& task, const WgmmaWork& work) {
  const int stage = static_cast<int>(threadIdx.x) / kWarp;
  unsigned char* buffer = DynamicShared() + stage * kStageBytes;
  const int total = work.Count() * work.steps;
  TileCopier copier{};
  int started = -1;
  int item = 0;
  int step = stage;  // of the item
  for (int i = stage; i < total; i += kStages, step += kStages) {
    for (; step >= work.steps; ++item) step -= work.steps;
    if (item != started) {
      const Item at = work.At(task, item);
      copier.Start(task, at.tile, at.first_row);
      started = item;
    }
    if (i >= kStages) NamedBarrierSync(FreeBarrier(stage), kFreeThreads);
    copier.Copy(step, buffer);
    CpAsyncCommit();
    CpAsyncWait<0>();
    FenceProxyAsync();
    NamedBarrierArrive(FullBarrier(0, stage), kFullThreads);
    NamedBarrierArrive(FullBarrier(1, stage), kFullThreads);
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

// One multiplying warpgroup's way through the buffers.
struct BufferReader {
  const unsigned char* buffers;
  int half;
  int total;     // steps of the block
  int next = 0;  // step

  __device__ const unsigned char* Wait() {
    NamedBarrierSync(FullBarrier(half, next % kStages), kFullThreads);
    return buffers + next++ % kStages * kStageBytes;
  }
  // The step `ago` before the next one is not needed any more; nobody asks for the last ones.
  __device__ void Free(int ago) const {
    const int step = next - ago;
    if (step + kStages < total) NamedBarrierArrive(FreeBarrier(step % kStages), kFreeThreads);
  }
};

// Products in flight must end on every path where they began, or the compiler puts them in line: so
// the loops with and without them are apart.
template <typename T>
__device__ void MultiplyTiles(const ProductTask& task, const WgmmaWork& work) {
  const int half = static_cast<int>(threadIdx.x) / kGroup - 1;
  const int count = work.Count();
  BufferReader reader{DynamicShared(), half, count * work.steps};
  Item next{};
  if (count > 0) next = work.At(task, 0);
  for (int i = 0; i < count; ++i) {
    const Item item = next;
    const WgmmaStore<T, kN> store(task, item.tile, half * 64, item.first_row);
    if (half * 64 >= item.tile.count) {
      for (int step = 0; step < work.steps; ++step) {
        reader.Wait();
        reader.Free(1);
      }
      next = work.At(task, min(i + 1, count - 1));
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
    next = work.At(task, min(i + 1, count - 1));  // comes while the results are stored
    store.Store(sums);
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads, 1)
    WgmmaProductKernel(const ProductTask task, WgmmaWork work) {
  GridDependencyWait();
  GridDependencyLaunch();
  if (task.tiles != nullptr) work.tiles = *task.tile_count;
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
  WgmmaWork work;
  work.tiles = task.tiles != nullptr ? task.max_tiles : (task.rows + kM - 1) / kM;
  work.row_blocks = (task.n + kN - 1) / kN;
  work.steps = (task.k + kK - 1) / kK;
  const int items = work.tiles * work.row_blocks;
  if (items == 0) return;
  const int blocks = std::min(items, std::max(1, stream.device().multiprocessors));
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
