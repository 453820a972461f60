// SPDX-License-Identifier: Apache-2.0
// Attention whose keys are their own values, one row for all heads (DeepSeek-V4): a query sees the
// tokens of a window, itself last, and of what is before and in it the entries of closed windows
// (window_pooling.h), all of them or those that score best. One softmax runs over both and the
// head's sink.
//
// Same bits: a query's result is a function of its own q and of the rows that it sees, first
// entries, then tokens, each in ascending order. A score is one chain over the numbers of a row in
// 16 lanes. Neither chunking nor batch mates nor block ids matter.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/ops/attention.h"
#include "runtime/ops/row_pages.h"
#include "runtime/tensor.h"
#include "runtime/thread_pool.h"
#include "runtime/workspace.h"

namespace folkmoot {

struct RowAttentionParams {
  int64_t tokens = 0;    // track of the tokens' rows
  int64_t entries = -1;  // that of entries, as wide; -1: there are none
  int64_t heads = 0;
  float scale = 1.0f;
  int64_t window = 0;            // tokens that a query sees, itself included
  std::span<const float> sinks;  // [heads]; see AttentionParams
  // Entries that queries see; null: all that are closed.
  const ChosenKeys* chosen = nullptr;
};

// q and out [T, heads * width of a row]. Call after StoreRows of the same step. Scratch from
// `workspace`.
void RowAttention(ThreadPool& pool, const RowAttentionParams& params,
                  std::span<const AttentionSequence> sequences, ConstMatrix q,
                  const RowPages& pages, Workspace& workspace, Matrix out);

// Which entries a query sees where it does not see all: as SelectKeys does (key_selection.h), among
// the rows of a track that are complete up to its position.
struct RowSelectionParams {
  int64_t track = 0;
  int64_t heads = 0;  // of queries
  float scale = 1.0f;
};

// q [T, heads * width], weights [T, heads]. Writes `chosen` for all T rows; a query with at most
// chosen.most entries before it sees all: its count is 0.
void SelectRows(ThreadPool& pool, const RowSelectionParams& params,
                std::span<const AttentionSequence> sequences, ConstMatrix q, ConstMatrix weights,
                const RowPages& pages, Workspace& workspace, const ChosenKeys& chosen);

}  // namespace folkmoot
