// SPDX-License-Identifier: Apache-2.0
// The end of a split: the block that stores the last piece of its rows merges all of them, in
// order of position.
#pragma once

#include <cstdint>

#include "runtime/cuda/attention_work.cuh"

namespace folkmoot::cuda::attention {

// True in the one block that comes last to the pieces of these rows. What the others stored before
// can then be read. Every thread must come.
__device__ inline bool IsLastPiece(const AttentionArgs& args, const AttentionItem& item) {
  FM_SHARED(int, before, [1]);
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    int* counter = args.counters + item.first_slot;
    before[0] = atomicAdd(counter, 1);
    if (before[0] == item.pieces - 1) *counter = 0;  // for the next launch
    __threadfence();
  }
  __syncthreads();
  return before[0] == item.pieces - 1;
}

// Merges what the splitting kernel stored, and writes the result. Each thread takes four
// elements of a row at a time.
template <typename T>
__device__ void MergePieces(const AttentionArgs& args, const AttentionItem& item) {
  const int64_t stride = PartialFloats(args.dim);
  const float* first = args.partial + item.first_slot * stride;
  const int columns = args.dim / 4;
  for (int i = static_cast<int>(threadIdx.x); i < kSplitRows * columns; i += kAttentionThreads) {
    const int index = i / columns;
    const int column = i % columns * 4;
    const QueryRow row = RowOf(args, item, index);
    if (row.row < 0) continue;
    RowSoftmax all;
    float4 sums = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll 4
    for (int p = 0; p < item.pieces; ++p) {
      const float* piece = first + p * stride;
      const RowSoftmax softmax = {__ldcg(piece + kSplitRows * args.dim + index),
                                  __ldcg(piece + kSplitRows * (args.dim + 1) + index)};
      const float4 x = __ldcg(reinterpret_cast<const float4*>(piece + index * args.dim + column));
      const MergeFactors factors = MergeRow(softmax, args.scale_log2, &all);
      sums.x = MergedSum(sums.x, x.x, factors);
      sums.y = MergedSum(sums.y, x.y, factors);
      sums.z = MergedSum(sums.z, x.z, factors);
      sums.w = MergedSum(sums.w, x.w, factors);
    }
    const float inverse = __fdiv_rn(1.0f, all.sum);
    T* to = static_cast<T*>(args.out) + row.row * args.out_stride + row.head * args.dim + column;
    to[0] = T(__fmul_rn(sums.x, inverse));
    to[1] = T(__fmul_rn(sums.y, inverse));
    to[2] = T(__fmul_rn(sums.z, inverse));
    to[3] = T(__fmul_rn(sums.w, inverse));
  }
}

}  // namespace folkmoot::cuda::attention
