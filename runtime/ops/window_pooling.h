// SPDX-License-Identifier: Apache-2.0
// The compressor of DeepSeek-V4's attention (technical report of 2026, sections 2.3.1 and 2.3.2): a
// window of `rate` tokens becomes one entry, each channel of which is a mean of the tokens' values
// by the softmax of their gates:
//
//   entry[c] = sum over j of softmax_j(gate[j, c] + bias[j, c]) * value[j, c]
//
// Where windows overlap, a token has two values and gates: the first (its columns 0 .. width) count
// in the entry of the next window, the second in that of its own, so that an entry sees two windows
// and the first one sees one. In GLM-5.3-Flash an indexer's keys are pooled so, without overlapping
// (layers/lightning_indexer.h).
//
// Same bits: the softmax is taken up token by token in the order of positions, with a running
// maximum as in online softmax, so neither chunking nor batch mates matter. What an open window has
// taken up (maximum, sum and weighted sum of each channel) stands in the page of its last token, in
// a track with one row per page: whoever goes on behind shared pages goes on from there. A guess
// that turned out wrong could not be taken back.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/ops/attention.h"
#include "runtime/ops/row_pages.h"
#include "runtime/tensor.h"
#include "runtime/thread_pool.h"
#include "runtime/workspace.h"

namespace folkmoot {

struct WindowPooling {
  int64_t track = 0;  // of WindowTrack
  int64_t rate = 0;
  int64_t width = 0;            // of an entry
  bool overlapping = false;     // twice as many columns of values, gates and biases
  std::span<const float> bias;  // [rate, columns]

  int64_t columns() const { return overlapping ? 2 * width : width; }
};

// The track in which `pooling` keeps what open windows have taken up.
RowPages::Track WindowTrack(int64_t width, bool overlapping, int64_t block_size);

// values and gates [T, columns]. Takes the step's tokens up and writes the entries of the windows
// that they close, [CompletedRows, width].
void PoolWindows(ThreadPool& pool, const WindowPooling& pooling,
                 std::span<const AttentionSequence> sequences, ConstMatrix values,
                 ConstMatrix gates, RowPages& pages, Workspace& workspace, Matrix entries);

}  // namespace folkmoot
