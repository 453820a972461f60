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

#include <array>
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
constexpr int kMergeSegment = 32;  // pieces
// Shared memory that a block of the splitting kernel declares, at most.
constexpr int kSplitDeclaredBytes = 10 * 1024;
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
  float scale_log2;  // scale * log2(e): scores are powers of two
  int few_rows;      // sequences of at most so many rows belong to the splitting kernel
  int chunk;         // tiles of keys and values in shared memory (splitting kernel)
  int slots;         // capacity of the scratch
  int merge_pieces;  // that are merged at once (attention_merge.cuh)
  // Splitting kernel: when not 0, block i computes piece i % direct_pieces, counted from position
  // 0, of heads i / direct_pieces % kv_heads and so on, if there is such a piece: for so few blocks
  // that finding out what there is would take longer. All have slots.
  int direct_pieces;
  int direct_tiles;   // then: most tiles of query rows of a sequence
  int32_t* counters;  // [slots] pieces that are done; zero between launches
  float* partial;     // [slots] results of pieces, see PartialFloats
};

// One result of a piece: sums [kSplitRows, dim], then the greatest score of each row, then its sum
// of weights.
__host__ __device__ inline int64_t PartialFloats(int dim) {
  return kSplitRows * (static_cast<int64_t>(dim) + 2);
}

// All of them but `slots`, which is 0 (nothing is split), for one kernel and the smaller chunk.
AttentionArgs MakeArgs(const AttentionShape& shape, const StepSequences& sequences,
                       const MatrixRef& q, const KvLayer& cache, void* scratch,
                       const MatrixRef& out);

// Kernels by element type and by use (attention_split.cu, attention_rows.cu, attention_wgmma.cu,
// attention_plain.cu). `blocks`: of the launch; sequences that are not theirs are left alone.
void LaunchSplit(Stream& stream, const AttentionArgs& args, DType dtype, int blocks);
void LaunchRows(Stream& stream, const AttentionArgs& args, DType dtype, int blocks);
void LaunchRowsWgmma(Stream& stream, const AttentionArgs& args, DType dtype, int blocks);
void LaunchPlain(Stream& stream, const AttentionArgs& args, DType dtype, int blocks);
// Can LaunchRowsWgmma compute heads of this size, of so many sequences, here?
bool TakesWgmma(const DeviceInfo& device, int dim, int sequences);
// Dynamic shared memory that they need.
size_t SplitSharedBytes(int dim, int chunk, int sequences);
size_t RowsSharedBytes(int dim, int sequences);
size_t PlainSharedBytes(int dim, int sequences);

// Kernels are compiled for few head sizes; the others are padded with zeros in shared memory.
constexpr int PaddedDim(int dim) {
  for (const int padded : {64, 96, 128, 192}) {
    if (dim <= padded) return padded;
  }
  return kMaxHeadDim;
}
// Values of AttentionArgs::chunk that the splitting kernel is compiled for, the greater one first.
constexpr std::array<int, 2> SplitChunks(int dim) {
  if (PaddedDim(dim) <= 128) return {4, 2};
  return {2, 1};
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

// Where the rows of a sequence are in this step.
struct SequenceSpan {
  int start;
  int rows;
  int first_row;  // of the step
};

// The part of one sequence that a block works on.
struct AttentionItem {
  int sequence;
  SequenceSpan span;
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
__device__ inline SequenceSpan SpanOf(const AttentionArgs& args, int sequence) {
  return {args.sequences.start[sequence], args.sequences.rows[sequence],
          args.sequences.first_row[sequence]};
}
__device__ inline SeenKeys KeysOf(const AttentionArgs& args, const SequenceSpan& span) {
  return {FirstKey(span.start, args.window), span.start + span.rows};
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
__device__ inline int RowTiles(const AttentionArgs& args, int rows, int tile_rows) {
  return CeilDiv(rows * args.group, tile_rows) * args.kv_heads;
}
__device__ inline int PiecesOf(const AttentionArgs& args, const SequenceSpan& span) {
  const SeenKeys keys = KeysOf(args, span);
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

__device__ inline bool IsFew(const AttentionArgs& args, int rows) {
  return rows > 0 && rows <= args.few_rows;
}

// `shared`: [2 * (sequences + 1) + 2] integers. Every thread must come.
__device__ inline SplitWork PlanSplit(const AttentionArgs& args, int* shared) {
  // Three reads that do not wait for each other: for up to a warp of sequences there are no more.
  SequenceSpan first = {};
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  if (threadIdx.x < kWarp && lane < args.sequences.sequences) first = SpanOf(args, lane);
  SplitWork work = {};
  work.sequences = *args.sequences.valid;
  work.list = {shared, shared + work.sequences + 1};
  int* result = shared + 2 * (work.sequences + 1);
  if (threadIdx.x < kWarp) {
    const auto items_of = [&](int s, int floor, int otherwise) {
      const SequenceSpan span = s < kWarp ? first : SpanOf(args, s);  // s % kWarp is the lane
      if (!IsFew(args, span.rows)) return 0;
      const int pieces = PiecesOf(args, span);
      return (pieces > floor ? pieces : otherwise) * RowTiles(args, span.rows, kSplitRows);
    };
    int floor = 1;
    while (ScanSequences(work.sequences, work.list.slots,
                         [&](int s) { return items_of(s, floor, 0); }) > args.slots) {
      floor *= 4;
    }
    const int items = ScanSequences(work.sequences, work.list.items,
                                    [&](int s) { return items_of(s, floor, 1); });
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
  out.span = SpanOf(args, out.sequence);
  const int all = PiecesOf(args, out.span);
  out.pieces = all > work.floor ? all : 1;
  const int local = item - work.list.items[out.sequence];
  const int piece = local % out.pieces;
  const int tile = local / out.pieces;
  out.kv_head = tile % args.kv_heads;
  out.first_row = tile / args.kv_heads * kSplitRows;
  out.query_rows = out.span.rows * args.group;
  const int first = KeysOf(args, out.span).begin / kPieceKeys;
  out.begin_piece = first + piece;
  out.end_piece = out.pieces > 1 ? out.begin_piece + 1 : first + all;
  out.first_slot = work.list.slots[out.sequence] + tile * out.pieces;
  out.slot = out.pieces > 1 ? out.first_slot + piece : -1;
  return out;
}

// Item `item` of args.direct_pieces; without rows where there is none. Its place (sequence, head,
// rows and piece) is known before the reads are back.
__device__ inline AttentionItem DirectItem(const AttentionArgs& args, int item) {
  AttentionItem out = {};
  const int piece = item % args.direct_pieces;
  const int tile = item / args.direct_pieces;
  out.kv_head = tile % args.kv_heads;
  out.first_row = tile / args.kv_heads % args.direct_tiles * kSplitRows;
  out.sequence = tile / args.kv_heads / args.direct_tiles;
  out.span = SpanOf(args, out.sequence);
  const int valid = *args.sequences.valid;
  const int first = KeysOf(args, out.span).begin / kPieceKeys;
  out.pieces = PiecesOf(args, out.span);
  out.begin_piece = piece;
  out.end_piece = piece + 1;
  out.first_slot = item - piece + first;
  out.slot = out.pieces > 1 ? item : -1;
  const bool some = out.sequence < valid && IsFew(args, out.span.rows) && piece >= first &&
                    piece < first + out.pieces && out.first_row < out.span.rows * args.group;
  out.query_rows = some ? out.span.rows * args.group : 0;
  return out;
}

// Where the work of the kernel for many rows begins, sequence by sequence; in shared memory. Every
// thread must come. Returns the number of items.
__device__ inline int PlanRows(const AttentionArgs& args, int tile_rows, int* list) {
  const int sequences = *args.sequences.valid;
  if (threadIdx.x < kWarp) {
    const int items = ScanSequences(sequences, list, [&](int s) {
      const int rows = args.sequences.rows[s];
      return rows > args.few_rows ? RowTiles(args, rows, tile_rows) : 0;
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
  out.span = SpanOf(args, out.sequence);
  const int local = item - list[out.sequence];
  out.kv_head = local % args.kv_heads;
  out.first_row = local / args.kv_heads * tile_rows;
  out.query_rows = out.span.rows * args.group;
  const SeenKeys keys = KeysOf(args, out.span);
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
__device__ inline QueryRow RowIn(const AttentionArgs& args, const AttentionItem& item,
                                 const SequenceSpan& span, int index) {
  const int i = item.first_row + index;
  if (i >= item.query_rows) return {-1, 0, 0, -1};
  const int row = i / args.group;
  const int position = span.start + row;
  return {span.first_row + static_cast<int64_t>(row),
          item.kv_head * args.group + i - row * args.group, FirstKey(position, args.window),
          position};
}
__device__ inline QueryRow RowOf(const AttentionArgs& args, const AttentionItem& item, int index) {
  if (item.first_row + index >= item.query_rows) return {-1, 0, 0, -1};
  return RowIn(args, item, SpanOf(args, item.sequence), index);  // reads rather than registers
}

// Keys that the rows `first_row` .. + tile_rows of an item see, all together.
__device__ inline SeenKeys KeysOfTile(const AttentionArgs& args, const AttentionItem& item,
                                      int tile_rows) {
  const int start = item.span.start;
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
