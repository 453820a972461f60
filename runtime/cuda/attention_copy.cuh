// SPDX-License-Identifier: Apache-2.0
// The copying warpgroup of the attention kernel for many rows that uses wgmma, and what the others
// share with it. Tiles of 128 keys and of 128 values pass through a ring of buffers in the order
// K0, K1 V0, K2 V1, .., which is the order in which they are used and free again; queries have a
// place of their own. Named barriers say that a buffer is full, to each multiplying warpgroup
// apart, since these are half a tile away from each other, and that all are through with it.
#pragma once

#include "runtime/cuda/attention_mma.cuh"
#include "runtime/cuda/wgmma.h"

namespace folkmoot::cuda::attention {

constexpr int kGroup = 128;  // threads of a warpgroup
constexpr int kMultiplying = 2;
constexpr int kThreads = (1 + kMultiplying) * kGroup;
constexpr int kTileRows = 64 * kMultiplying;
constexpr int kKeys = 128;  // of a tile
constexpr int kStages = 4;
// Registers of a thread: 128 * 56 + 256 * 224 of the 65536.
constexpr int kCopyRegisters = 56;
constexpr int kMultiplyRegisters = 224;

// A tile in shared memory: rows of 128 bytes (64 elements), swizzled as wgmma wants them; the
// second 64 elements of all rows behind the first ones.
template <int kDim>
constexpr int kTileBytes = 128 * kDim * 2;
constexpr int kHalfBytes = 128 * 128;
static_assert(kTileRows == 128 && kKeys == 128);

// Barriers; 0 is __syncthreads'.
__device__ inline int FullBarrier(int stage, int group) { return 1 + stage * kMultiplying + group; }
__device__ inline int FreeBarrier(int stage) { return 1 + kStages * kMultiplying + stage; }
__device__ inline int TurnBarrier(int group) { return 1 + kStages * (kMultiplying + 1) + group; }
static_assert(kStages * (kMultiplying + 1) + kMultiplying < 16);

// Items of a block. The last rows of a sequence see most and go first; every other round goes
// backwards over the blocks, so that all get about the same.
struct RowsTurns {
  int items;

  // -1: no more.
  __device__ int Item(int round) const {
    const int blocks = static_cast<int>(gridDim.x);
    const int block = static_cast<int>(blockIdx.x);
    const int i = round * blocks + (round % 2 == 0 ? block : blocks - 1 - block);
    return i < items ? items - 1 - i : -1;
  }
};

// Tiles of keys that the rows of an item see.
struct TileSpan {
  int begin;
  int end;
};
__device__ inline TileSpan SpanOf(SeenKeys keys) {
  return {keys.begin / kKeys, CeilDiv(keys.end, kKeys)};
}

// The copying warpgroup. Each lane finds out where one of the 128 rows of a tile lies; its warp
// copies these 32 rows, four at a time, 8 lanes each.
template <typename T, int kDim>
class RowsCopier {
 public:
  __device__ RowsCopier(const AttentionArgs& args, const int* plan)
      : args_(args), plan_(plan), line_(static_cast<int>(threadIdx.x)) {}

  __device__ void Run(const RowsTurns& turns) {
    for (int round = 0;; ++round) {
      const int index = turns.Item(round);
      if (index < 0) break;
      CopyItem(RowsItemOf(args_, plan_, kTileRows, index));
    }
    if (pushed_ == 0) return;
    CpAsyncWait<0>();
    Announce(pushed_ - 1);
    WaitUntilFree(pushed_);
  }

 private:
  __device__ void CopyItem(const AttentionItem& item) {
    const SeenKeys keys = KeysOfTile(args_, item, kTileRows);
    const TileSpan tiles = SpanOf(keys);
    const int last_keys = last_keys_;
    int64_t next = CacheRow(args_, item, keys, tiles.begin * kKeys + line_);
    int64_t before = 0;
    for (int tile = tiles.begin; tile <= tiles.end; ++tile) {
      const int64_t row = next;
      if (tile < tiles.end) {
        next = CacheRow(args_, item, keys, (tile + 1) * kKeys + line_);
        last_keys_ = pushed_;
        Push(args_.keys, row);
      }
      // Announced with the first keys, whose turn comes with the next buffer.
      if (tile == tiles.begin) CopyQueries(item, last_keys);
      if (tile > tiles.begin) Push(args_.values, before);
      before = row;
    }
  }
  // Into the next buffer of the ring.
  __device__ void Push(const void* pages, int64_t row) {
    WaitUntilFree(pushed_ - kStages + 1);
    Copy(pages, row, Buffers() + pushed_ % kStages * kTileBytes<kDim>);
    CpAsyncCommit();
    if (pushed_ > 0) {
      CpAsyncWait<1>();
      Announce(pushed_ - 1);
    }
    ++pushed_;
  }
  // When the products with the last keys of the item before are through.
  __device__ void CopyQueries(const AttentionItem& item, int last_keys) {
    const QueryRow row = RowOf(args_, item, line_);
    WaitUntilFree(last_keys + 1);
    Copy(args_.q, row.row < 0 ? -1 : row.row * args_.q_stride + row.head * args_.dim,
         DynamicShared());
    CpAsyncCommit();
  }

  // Row `row` (index of its first element; -1: zeros) is this lane's.
  __device__ void Copy(const void* pages, int64_t row, unsigned char* to) const {
    const int piece = Lane() % 8;
    const T* from = static_cast<const T*>(pages) + piece * 8;
    to += (line_ - Lane() + Lane() / 8) * 128;
    // Line % 8, the order of pieces, is Lane() / 8 and 4 more in turns.
    unsigned char* const even = to + ((piece ^ (Lane() / 8)) << 4);
    unsigned char* const odd = to + ((piece ^ (Lane() / 8 + 4)) << 4);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int64_t at = __shfl_sync(kFullMask, row, i * 4 + Lane() / 8);
#pragma unroll
      for (int half = 0; half < kDim / 64; ++half) {
        const bool valid = at >= 0 && half * 64 + piece * 8 < args_.dim;
        CpAsync16((i % 2 == 0 ? even : odd) + i * 4 * 128 + half * kHalfBytes,
                  valid ? from + at + half * 64 : pages, valid);
      }
    }
  }
  // The first `count` buffers that were pushed.
  __device__ void WaitUntilFree(int count) {
    for (; free_ < count; ++free_) NamedBarrierSync(FreeBarrier(free_ % kStages), kThreads);
  }
  __device__ void Announce(int buffer) const {
    FenceProxyAsync();
#pragma unroll
    for (int group = 0; group < kMultiplying; ++group) {
      NamedBarrierArrive(FullBarrier(buffer % kStages, group), 2 * kGroup);
    }
  }
  __device__ static unsigned char* Buffers() { return DynamicShared() + kTileBytes<kDim>; }

  const AttentionArgs& args_;
  const int* plan_;
  int line_;
  int pushed_ = 0;      // buffers
  int free_ = 0;        // of them
  int last_keys_ = -1;  // buffer of the last keys
};

}  // namespace folkmoot::cuda::attention
