// SPDX-License-Identifier: Apache-2.0
// The end of a split: the block that stores the last piece of its rows merges all of them, in
// order of position.
//
// Many pieces are merged in segments of args.merge_pieces: whoever stores the last piece of a
// segment merges it behind the segments before, whose result then stands in the place of their last
// piece and counts as one more piece of the next one. The order of sums is that of one merge of
// all; but when the last piece comes, most of it is done.
#pragma once

#include <cstdint>

#include "runtime/cuda/attention_work.cuh"

namespace folkmoot::cuda::attention {

// Counts arrivals at a segment. True in the block that makes it `all`: what the others stored
// before can then be read. Every thread must come.
__device__ inline bool IsLastOf(const AttentionArgs& args, int first_slot, int all) {
  FM_SHARED(int, before, [1]);
  __syncthreads();
  if (threadIdx.x == 0) {
    auto* counter = reinterpret_cast<uint32_t*>(args.counters + first_slot);
    before[0] = static_cast<int>(AddAcquireRelease(counter, 1));
    if (before[0] == all - 1) *counter = 0;  // for the next launch
  }
  __syncthreads();
  return before[0] == all - 1;
}

// Pieces whose reads are under way at once.
constexpr int kMergePieces = 8;

// What MergeRow would say of one piece, the piece's sum of weights times `add`, and the greatest
// score so far.
struct alignas(16) MergeStep {
  float keep;
  float add;
  float sum;
  float top;
};

// Shared memory that FinishSplit declares, at most.
constexpr int kMergeSharedBytes =
    kMergePieces * kSplitRows * static_cast<int>(sizeof(MergeStep)) + 256;

// MergeRow of the pieces at `first` (up to kMergePieces of `pieces`) for all rows at a time: the
// greatest score so far needs no order, and all else follows from it. Eight threads take a row;
// `tops` are those of the pieces before, of this thread's rows. Every thread must come.
template <int kRowsOfThread>
__device__ void FindMergeSteps(const AttentionArgs& args, const float* first, int pieces, int rows,
                               float (&tops)[kRowsOfThread],
                               MergeStep (&steps)[kMergePieces][kSplitRows]) {
  const int piece = static_cast<int>(threadIdx.x) % kMergePieces;
#pragma unroll
  for (int i = 0; i < kRowsOfThread; ++i) {
    const int row =
        (static_cast<int>(threadIdx.x) + i * static_cast<int>(blockDim.x)) / kMergePieces;
    if (row >= kSplitRows) continue;  // a whole warp
    RowSoftmax own;
    if (piece < pieces && row < rows) {
      const float* from = first + piece * PartialFloats(args.dim) + kSplitRows * args.dim + row;
      own = {__ldcg(from), __ldcg(from + kSplitRows)};
    }
    float top = own.top;
#pragma unroll
    for (int stride = 1; stride < kMergePieces; stride *= 2) {
      const float below =
          __shfl_up_sync(kFullMask, top, static_cast<unsigned>(stride), kMergePieces);
      if (piece >= stride) top = fmaxf(top, below);
    }
    float before = __shfl_up_sync(kFullMask, top, 1u, kMergePieces);
    before = piece == 0 ? tops[i] : fmaxf(tops[i], before);
    top = fmaxf(tops[i], top);
    MergeStep step = {1.0f, 0.0f, 0.0f, top};
    if (own.top != kNoScore) {
      step.keep = before == kNoScore ? 0.0f : PowerOf(before - top, args.scale_log2);
      step.add = before == kNoScore ? 1.0f : PowerOf(own.top - top, args.scale_log2);
      step.sum = __fmul_rn(own.sum, step.add);
    }
    steps[piece][row] = step;
    tops[i] = __shfl_sync(kFullMask, top, kMergePieces - 1, kMergePieces);
  }
}

// Four elements of a row, and its softmax.
struct MergedRow {
  float4 sums;
  RowSoftmax softmax;
};

// Merges `pieces` pieces from `first` on: this thread gets elements column .. column + 3 of row
// `index`. Every thread must come.
template <int kThreads>
__device__ MergedRow MergeFour(const AttentionArgs& args, const float* first, int pieces, int rows,
                               int index, int column) {
  FM_SHARED(MergeStep, steps, [kMergePieces][kSplitRows]);
  const int64_t stride = PartialFloats(args.dim);
  float tops[(kSplitRows * kMergePieces + kThreads - 1) / kThreads];
  for (float& top : tops) top = kNoScore;
  MergedRow all = {make_float4(0.0f, 0.0f, 0.0f, 0.0f), {}};
  for (int left = pieces; left > 0; left -= kMergePieces, first += kMergePieces * stride) {
    float4 x[kMergePieces];
#pragma unroll
    for (int p = 0; p < kMergePieces; ++p) {
      if (p >= left) continue;
      x[p] =
          __ldcg(reinterpret_cast<const float4*>(first + p * stride + index * args.dim + column));
    }
    FindMergeSteps(args, first, left, rows, tops, steps);
    __syncthreads();
#pragma unroll
    for (int p = 0; p < kMergePieces; ++p) {
      if (p >= left) continue;
      const MergeStep step = steps[p][index];
      const MergeFactors factors = {step.keep, step.add};
      all.softmax = {step.top, __fmaf_rn(all.softmax.sum, step.keep, step.sum)};
      all.sums.x = MergedSum(all.sums.x, x[p].x, factors);
      all.sums.y = MergedSum(all.sums.y, x[p].y, factors);
      all.sums.z = MergedSum(all.sums.z, x[p].z, factors);
      all.sums.w = MergedSum(all.sums.w, x[p].w, factors);
    }
    __syncthreads();
  }
  return all;
}

template <typename T>
__device__ void StoreMerged(const AttentionArgs& args, const QueryRow& row, int column,
                            const MergedRow& all) {
  const float inverse = __fdiv_rn(1.0f, all.softmax.sum);
  T* to = static_cast<T*>(args.out) + row.row * args.out_stride + row.head * args.dim + column;
  to[0] = T(__fmul_rn(all.sums.x, inverse));
  to[1] = T(__fmul_rn(all.sums.y, inverse));
  to[2] = T(__fmul_rn(all.sums.z, inverse));
  to[3] = T(__fmul_rn(all.sums.w, inverse));
}

// Merges pieces begin .. end of an item's rows; writes the result, or puts it in the place of the
// last one. Each thread takes four elements of a row at a time.
template <typename T, int kThreads>
__device__ void MergePieces(const AttentionArgs& args, const AttentionItem& item, int begin,
                            int end) {
  FM_SHARED(RowSoftmax, softmax, [kSplitRows]);
  const int columns = args.dim / 4;
  const int rows = min(kSplitRows, item.query_rows - item.first_row);
  const bool last = end == item.pieces;
  float* first = args.partial + (item.first_slot + begin) * PartialFloats(args.dim);
  float* place = first + (end - begin - 1) * PartialFloats(args.dim);
  for (int base = 0; base < rows * columns; base += kThreads) {
    const int i = base + static_cast<int>(threadIdx.x);
    const bool active = i < rows * columns;
    const int index = active ? i / columns : 0;
    const int column = active ? i % columns * 4 : 0;
    const MergedRow all = MergeFour<kThreads>(args, first, end - begin, rows, index, column);
    if (!active) continue;
    if (last) {
      StoreMerged<T>(args, RowIn(args, item, item.span, index), column, all);
    } else {
      *reinterpret_cast<float4*>(place + index * args.dim + column) = all.sums;
      if (column == 0) softmax[index] = all.softmax;
    }
  }
  if (last) return;
  // Not before all have read what is there.
  __syncthreads();
  if (const auto row = static_cast<int>(threadIdx.x); row < rows) {
    place[kSplitRows * args.dim + row] = softmax[row].top;
    place[kSplitRows * (args.dim + 1) + row] = softmax[row].sum;
  }
}

// After a piece is stored: merges what can be merged now. Every thread must come.
template <typename T, int kThreads>
__device__ void FinishSplit(const AttentionArgs& args, const AttentionItem& item) {
  const int piece = item.slot - item.first_slot;
  for (int begin = piece - piece % args.merge_pieces;; begin += args.merge_pieces) {
    const int end = min(begin + args.merge_pieces, item.pieces);
    const int before = begin > 0 ? 1 : 0;  // what the segments before came to
    if (!IsLastOf(args, item.first_slot + begin, end - begin + before)) return;
    MergePieces<T, kThreads>(args, item, begin - before, end);
    if (end == item.pieces) return;
  }
}

}  // namespace folkmoot::cuda::attention
