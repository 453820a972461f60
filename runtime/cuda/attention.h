// SPDX-License-Identifier: Apache-2.0
// Causal attention over paged keys and values on the device (vLLM's PagedAttention, SOSP 2023;
// split over keys as in Flash-Decoding; online softmax as in FlashAttention-2).
//
// Same bits: a query's result depends on its own q and on the keys and values at its positions; the
// keys are cut into pieces of a fixed length counted from position 0, computed apart, and merged in
// order of position. So neither chunks, batch mates nor page numbers matter, nor which of the
// kernels computes it: those for few rows (decode) and for many (prefill) cut, add and merge alike.
// Under kFastest a third kernel takes the sequences with many rows on Hopper: its sums are its own,
// so that there a row's bits depend on whether its sequence has few or many rows in the step, and
// on nothing else. (One exception: a NaN or infinity among the values of a later position of the
// same step can make the result of an earlier one NaN, since 0 times it is NaN.)
#pragma once

#include <cstdint>

#include "runtime/cuda/device.h"
#include "runtime/cuda/gemm.h"
#include "runtime/cuda/views.h"

namespace folkmoot::cuda {

struct AttentionShape {
  int heads = 0;  // of queries, a multiple of kv_heads
  int kv_heads = 0;
  // Up to 256. 16-bit elements: a multiple of 8, or of 4 up to 64 (slow); float32: of 4.
  int head_dim = 0;
  int rotary_dim = 0;
  float scale = 1.0f;
  int window = 0;  // a query at p sees keys max(0, p - window + 1) .. p; 0: all
  // kFastest: sequences with many rows in the step are left to wgmma where it is there.
  GemmPolicy policy = GemmPolicy::kBatchInvariant;
};

// Splits qkv [T, (heads + 2 kv_heads) * head_dim] float32 or 16-bit (q, then k, then v), normalises
// heads of q and k (RmsNorm over head_dim, where weights are given), rotates them (NeoX pairing),
// writes q [T, heads * head_dim] and stores k and v at the pages of their positions. `q` has the
// type of the cache.
struct QkNorm {
  const float* q = nullptr;  // [head_dim] or null
  const float* k = nullptr;
  float eps = 0;
};
void RotateAndStore(Stream& stream, const AttentionShape& shape, const StepRows& rows,
                    const StepSequences& sequences, const MatrixRef& qkv, const QkNorm& norm,
                    const MatrixRef& q, const KvLayer& cache);

// Bytes of scratch that PagedAttention needs for steps of at most `rows` rows whose sequences are
// at most `length` long. The caller fills it with zeros once, before its first use; each launch
// leaves its counters at zero, so one scratch serves all layers and steps of a stream, of any size.
int64_t AttentionScratchBytes(const AttentionShape& shape, int rows, int length);

// q, out [T, heads * head_dim], the type of the cache. After RotateAndStore of the same step.
//
// It may begin while the kernels before it still run (LaunchShape::overlap), and does not wait for
// them before it reads `sequences` and what the cache had before the rows of this step: after what
// wrote those there must be a copy, or a kernel without overlap. A step begins with one.
void PagedAttention(Stream& stream, const AttentionShape& shape, const StepRows& rows,
                    const StepSequences& sequences, const MatrixRef& q, const KvLayer& cache,
                    void* scratch, const MatrixRef& out);

}  // namespace folkmoot::cuda
