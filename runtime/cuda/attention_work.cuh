// SPDX-License-Identifier: Apache-2.0
// What the attention kernels share: their arguments, how a step is cut into work for blocks, and
// the arithmetic of the online softmax.
//
// Same bits. For every query and head, keys are taken in tiles of kTileKeys and tiles in pieces of
// kPieceKeys, both counted from position 0. A piece starts with an empty softmax and takes its
// tiles in order; pieces are merged in order with MergeFactors. Which block computes a piece, and
// with which other queries, changes nothing: a row of an mma instruction depends on its own row
// alone, and what a query must not see adds exactly nothing (its weight is +0, its rescaling is by
// 1). So all kernels for 16-bit elements give a query the same bits, alone or in any chunk.
#pragma once

#include <cstdint>
#include <type_traits>

#include "runtime/check.h"
#include "runtime/cuda/attention.h"
#include "runtime/cuda/launch.h"
#include "runtime/cuda/platform.h"
#include "runtime/cuda/ptx.h"

namespace folkmoot::cuda::attention {

constexpr int kTileKeys = 64;
constexpr int kPieceKeys = 256;
constexpr int kTilesOfPiece = kPieceKeys / kTileKeys;
constexpr int kAttentionThreads = 128;
constexpr int kSplitRows = 16;  // query rows (times heads of a group) of a block that splits keys
constexpr int kMaxHeadDim = 256;
constexpr int kMaxSequences = 4096;
constexpr float kNoScore = -1.0e30f;  // below every score; stands for "no key seen yet"

struct AttentionArgs {
  StepSequences sequences;
  const void* q;
  void* out;
  const void* keys;
  const void* values;
  int64_t q_stride;
  int64_t out_stride;
  int kv_heads;
  int group;  // query heads per head of keys and values
  int dim;
  int block_size;
  int window;
  float scale_log2;   // scale * log2(e): scores are powers of two
  int few_rows;       // sequences of at most so many rows belong to the splitting kernel
  int stages;         // tiles of keys and values in shared memory (splitting kernel)
  int slots;          // capacity of the scratch
  int32_t* counters;  // [slots] pieces that are done; zero between launches
  float* partial;     // [slots] results of pieces, see PartialFloats
};

// One result of a piece: sums [kSplitRows, dim], then the greatest score of each row, then its sum
// of weights.
__host__ __device__ inline int64_t PartialFloats(int dim) {
  return kSplitRows * (static_cast<int64_t>(dim) + 2);
}

// All of them but `slots`, which is 0 (nothing is split), for one kernel and one stage.
AttentionArgs MakeArgs(const AttentionShape& shape, const StepSequences& sequences,
                       const MatrixRef& q, const KvLayer& cache, void* scratch,
                       const MatrixRef& out);

// Kernels by element type and by use (attention_split.cu, attention_rows.cu, attention_plain.cu).
// `blocks`: of the launch; sequences that are not theirs are left alone.
void LaunchSplit(Stream& stream, const AttentionArgs& args, DType dtype, int blocks);
void LaunchRows(Stream& stream, const AttentionArgs& args, DType dtype, int blocks);
void LaunchPlain(Stream& stream, const AttentionArgs& args, DType dtype, int blocks);
// Dynamic shared memory that they need.
size_t SplitSharedBytes(int dim, int stages, int sequences);
size_t RowsSharedBytes(int dim, int sequences);
size_t PlainSharedBytes(int dim, int sequences);

// Kernels are compiled for few head sizes; the others are padded with zeros in shared memory.
inline int PaddedDim(int dim) {
  for (const int padded : {64, 96, 128, 192}) {
    if (dim <= padded) return padded;
  }
  return kMaxHeadDim;
}
// Calls f with PaddedDim(dim) as a std::integral_constant.
template <typename F>
void WithPaddedDim(int dim, F f) {
  switch (PaddedDim(dim)) {
    case 64:
      return f(std::integral_constant<int, 64>());
    case 96:
      return f(std::integral_constant<int, 96>());
    case 128:
      return f(std::integral_constant<int, 128>());
    case 192:
      return f(std::integral_constant<int, 192>());
    default:
      return f(std::integral_constant<int, kMaxHeadDim>());
  }
}
inline size_t PlanBytes(int sequences) {
  return (static_cast<size_t>(sequences) + 2) * 2 * sizeof(int);
}

// The part of one sequence that a block works on.
struct AttentionItem {
  int sequence;
  int kv_head;
  int first_row;    // of the tile of query rows, in rows * group
  int query_rows;   // of the sequence, rows * group
  int begin_piece;  // the pieces to compute
  int end_piece;
  int slot;        // of begin_piece in the scratch; -1: this is all of it
  int first_slot;  // of the first piece of these rows
  int pieces;      // that these rows are split into
};

// Positions that the rows of a sequence see, all together.
struct SeenKeys {
  int begin;
  int end;
};
__device__ inline int FirstKey(int position, int window) {
  return window > 0 && position >= window ? position - window + 1 : 0;
}
__device__ inline SeenKeys KeysOf(const AttentionArgs& args, int sequence) {
  const int start = args.sequences.start[sequence];
  return {FirstKey(start, args.window), start + args.sequences.rows[sequence]};
}

// Where the work of each sequence begins in the list of all: [sequences + 1] each, in shared
// memory.
struct WorkList {
  int* items;
  int* slots;
};

// Adds up count(s) over the sequences into list[0 .. n]; one warp does it. Returns the total.
template <typename Count>
__device__ int ScanSequences(int n, int* list, Count count) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  int total = 0;
  for (int base = 0; base < n; base += kWarp) {
    int sum = base + lane < n ? count(base + lane) : 0;
    for (int stride = 1; stride < kWarp; stride *= 2) {
      const int below = __shfl_up_sync(kFullMask, sum, static_cast<unsigned>(stride));
      if (lane >= stride) sum += below;
    }
    if (base + lane < n) list[base + lane + 1] = total + sum;
    total += __shfl_sync(kFullMask, sum, kWarp - 1);
  }
  if (lane == 0) list[0] = 0;
  return total;
}

// The sequence with list[s] <= item < list[s + 1].
__device__ inline int FindSequence(const int* list, int n, int item) {
  int low = 0;
  int high = n - 1;
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (list[middle] <= item) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

__device__ inline int CeilDiv(int a, int b) { return (a + b - 1) / b; }

// Tiles of `tile_rows` query rows over all heads of keys and values.
__device__ inline int RowTiles(const AttentionArgs& args, int sequence, int tile_rows) {
  return CeilDiv(args.sequences.rows[sequence] * args.group, tile_rows) * args.kv_heads;
}
__device__ inline int PiecesOf(const AttentionArgs& args, int sequence) {
  const SeenKeys keys = KeysOf(args, sequence);
  return CeilDiv(keys.end, kPieceKeys) - keys.begin / kPieceKeys;
}

// The work of the splitting kernel. Sequences with more than `floor` pieces are split, the least
// floor of 1, 4, 16, .. for which the results of all pieces fit the scratch; a block walks over all
// pieces of the others.
struct SplitWork {
  WorkList list;
  int sequences;
  int items;
  int floor;
};

__device__ inline bool IsFew(const AttentionArgs& args, int sequence) {
  const int rows = args.sequences.rows[sequence];
  return rows > 0 && rows <= args.few_rows;
}

// `shared`: [2 * (sequences + 1) + 2] integers. Every thread must come.
__device__ inline SplitWork PlanSplit(const AttentionArgs& args, int* shared) {
  SplitWork work = {};
  work.sequences = *args.sequences.valid;
  work.list = {shared, shared + work.sequences + 1};
  int* result = shared + 2 * (work.sequences + 1);
  if (threadIdx.x < kWarp) {
    int floor = 1;
    while (ScanSequences(work.sequences, work.list.slots, [&](int s) {
             const int pieces = IsFew(args, s) ? PiecesOf(args, s) : 0;
             return pieces > floor ? pieces * RowTiles(args, s, kSplitRows) : 0;
           }) > args.slots) {
      floor *= 4;
    }
    const int items = ScanSequences(work.sequences, work.list.items, [&](int s) {
      if (!IsFew(args, s)) return 0;
      const int pieces = PiecesOf(args, s);
      return RowTiles(args, s, kSplitRows) * (pieces > floor ? pieces : 1);
    });
    if (threadIdx.x == 0) {
      result[0] = items;
      result[1] = floor;
    }
  }
  __syncthreads();
  work.items = result[0];
  work.floor = result[1];
  return work;
}

__device__ inline AttentionItem ItemOf(const AttentionArgs& args, const SplitWork& work, int item) {
  AttentionItem out = {};
  out.sequence = FindSequence(work.list.items, work.sequences, item);
  const SeenKeys keys = KeysOf(args, out.sequence);
  const int all = PiecesOf(args, out.sequence);
  out.pieces = all > work.floor ? all : 1;
  const int local = item - work.list.items[out.sequence];
  const int piece = local % out.pieces;
  const int tile = local / out.pieces;
  out.kv_head = tile % args.kv_heads;
  out.first_row = tile / args.kv_heads * kSplitRows;
  out.query_rows = args.sequences.rows[out.sequence] * args.group;
  const int first = keys.begin / kPieceKeys;
  out.begin_piece = first + piece;
  out.end_piece = out.pieces > 1 ? out.begin_piece + 1 : first + all;
  out.first_slot = work.list.slots[out.sequence] + tile * out.pieces;
  out.slot = out.pieces > 1 ? out.first_slot + piece : -1;
  return out;
}

// Where the work of the kernel for many rows begins, sequence by sequence; in shared memory. Every
// thread must come. Returns the number of items.
__device__ inline int PlanRows(const AttentionArgs& args, int tile_rows, int* list) {
  const int sequences = *args.sequences.valid;
  if (threadIdx.x < kWarp) {
    const int items = ScanSequences(sequences, list, [&](int s) {
      return args.sequences.rows[s] > args.few_rows ? RowTiles(args, s, tile_rows) : 0;
    });
    if (threadIdx.x == 0) list[sequences + 1] = items;
  }
  __syncthreads();
  return list[sequences + 1];
}
__device__ inline AttentionItem RowsItemOf(const AttentionArgs& args, const int* list,
                                           int tile_rows, int item) {
  AttentionItem out = {};
  out.sequence = FindSequence(list, *args.sequences.valid, item);
  const int local = item - list[out.sequence];
  out.kv_head = local % args.kv_heads;
  out.first_row = local / args.kv_heads * tile_rows;
  out.query_rows = args.sequences.rows[out.sequence] * args.group;
  const SeenKeys keys = KeysOf(args, out.sequence);
  out.begin_piece = keys.begin / kPieceKeys;
  out.end_piece = CeilDiv(keys.end, kPieceKeys);
  out.slot = -1;
  out.pieces = 1;
  return out;
}

// A query row of an item: its place in q and out, and what it sees.
struct QueryRow {
  int64_t row;  // of the step; -1: none
  int head;     // query head
  int first;    // keys first .. last; last < first: none
  int last;
};
__device__ inline QueryRow RowOf(const AttentionArgs& args, const AttentionItem& item, int index) {
  const int i = item.first_row + index;
  if (i >= item.query_rows) return {-1, 0, 0, -1};
  const int row = i / args.group;
  const int position = args.sequences.start[item.sequence] + row;
  return {args.sequences.first_row[item.sequence] + static_cast<int64_t>(row),
          item.kv_head * args.group + i - row * args.group, FirstKey(position, args.window),
          position};
}

// Keys that the rows `first_row` .. + tile_rows of an item see, all together.
__device__ inline SeenKeys KeysOfTile(const AttentionArgs& args, const AttentionItem& item,
                                      int tile_rows) {
  const int start = args.sequences.start[item.sequence];
  const int last =
      item.first_row + tile_rows < item.query_rows ? item.first_row + tile_rows : item.query_rows;
  return {FirstKey(start + item.first_row / args.group, args.window),
          start + (last - 1) / args.group + 1};
}

// Index of the first element of a position's row in the pages of a head, or -1 outside `keys`:
// what lies there is not looked at.
__device__ inline int64_t CacheRow(const AttentionArgs& args, const AttentionItem& item,
                                   SeenKeys keys, int position) {
  if (position < keys.begin || position >= keys.end) return -1;
  const int32_t* blocks =
      args.sequences.blocks + static_cast<int64_t>(item.sequence) * args.sequences.block_stride;
  const int page = position / args.block_size;
  const int64_t head = static_cast<int64_t>(blocks[page]) * args.kv_heads + item.kv_head;
  return (head * args.block_size + position - page * args.block_size) * args.dim;
}

// The softmax so far of one row: its greatest score (before the scale) and its sum of weights.
struct RowSoftmax {
  float top = kNoScore;
  float sum = 0.0f;
};

__device__ inline float PowerOf(float difference, float scale_log2) {
  return Exp2Approx(__fmul_rn(difference, scale_log2));
}
// e^(scale * (score - top)).
__device__ inline float WeightOf(float score, float top_scaled, float scale_log2) {
  return Exp2Approx(__fmaf_rn(score, scale_log2, -top_scaled));
}

// Merges a later piece into `row`: sums become sums * keep + piece sums * add (MergedSum). Pieces
// of which the row sees nothing leave it as it is.
struct MergeFactors {
  float keep;
  float add;
};
__device__ inline MergeFactors MergeRow(const RowSoftmax& piece, float scale_log2,
                                        RowSoftmax* row) {
  if (piece.top == kNoScore) return {1.0f, 0.0f};
  if (row->top == kNoScore) {
    *row = piece;
    return {0.0f, 1.0f};
  }
  const float top = fmaxf(row->top, piece.top);
  const MergeFactors factors = {PowerOf(row->top - top, scale_log2),
                                PowerOf(piece.top - top, scale_log2)};
  row->top = top;
  row->sum = __fmaf_rn(row->sum, factors.keep, __fmul_rn(piece.sum, factors.add));
  return factors;
}
__device__ inline float MergedSum(float sum, float piece, MergeFactors factors) {
  if (factors.add == 0.0f) return sum;  // then keep is 1
  return __fmaf_rn(sum, factors.keep, __fmul_rn(piece, factors.add));
}

}  // namespace folkmoot::cuda::attention
