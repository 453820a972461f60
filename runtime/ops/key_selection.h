// SPDX-License-Identifier: Apache-2.0
// Which keys a query sees under sparse attention, by heads of a small attention of its own.
//
// DeepSeek (V3.2, section 2.1: the "lightning indexer"): the keys of the highest scores
//
//   sum over heads h of weights[h] * max(0, scale * q[h] . k[p])
//
// among the positions p up to its own. The authors turn q and k by a Hadamard matrix, which leaves
// products as they are, and round them to FP8; here, as in Transformers, both stay float32.
//
// MiniMax-M3: each head h chooses by itself, for the heads of keys of one set, and whole blocks of
// positions, whose score is the highest scale * q[h] . k[p] of those up to the query's own. The
// last blocks up to the query's own may come before all others.
//
// GLM-5.3-Flash: pools of positions are chosen by keys of their own (SelectRows: row_attention.h),
// of which ExpandPools makes positions.
//
// Same bits: a score is one chain over the numbers of a head, then one over heads. Of equal scores
// the lower position is chosen. Neither chunking nor batch mates nor block ids matter.
// Unlimited-OCR: nothing scores; a query sees the prompt and the window that ends with itself.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/ops/attention.h"
#include "runtime/tensor.h"
#include "runtime/thread_pool.h"
#include "runtime/workspace.h"

namespace folkmoot {

struct KeySelectionParams {
  int64_t layer = 0;  // of the cache of keys, which has one head
  int64_t heads = 0;  // of queries
  float scale = 1.0f;
  int64_t block = 0;  // positions that are chosen together, by each head for itself; 0: by DeepSeek
  int64_t local_blocks = 0;  // up to the query's own, which are chosen first; at most most / block
};

// q [T, heads * head_dim]; weights [T, heads], or, with blocks, without columns. `keys` has those
// of all positions, this step's included (StoreKv). Writes `chosen`, whose memory is the caller's,
// for all T rows; a query with at most chosen.most keys before it sees all: its count is 0. With
// blocks, chosen.sets is heads, and chosen.most a multiple of the block; else there is one set. A
// NaN score counts as the highest. Scratch from `workspace`.
void SelectKeys(ThreadPool& pool, const KeySelectionParams& params,
                std::span<const AttentionSequence> sequences, ConstMatrix q, ConstMatrix weights,
                const KvCache& keys, Workspace& workspace, const ChosenKeys& chosen);

// Positions of the chosen pools of `size` each, and those behind the last full pool up to the
// query's own. `pools` is what SelectRows has written for these sequences. Writes `chosen`, whose
// memory is the caller's, for all T rows: one set, with room for pools.most * size + size - 1. A
// query that sees all pools sees all: its count is 0.
void ExpandPools(ThreadPool& pool, int64_t size, std::span<const AttentionSequence> sequences,
                 const ChosenKeys& pools, const ChosenKeys& chosen);

// Of a window of so many positions, which hides nothing of the prompt: the most keys that a query
// of the sequence sees; 0: it hides none from any.
int64_t MostBesidePrompt(int64_t window, const AttentionSequence& sequence);
// The keys of the sequences' queries. Writes `chosen`, whose memory is the caller's, for all its
// rows: one set, with room for MostBesidePrompt of each. A query from which nothing is hidden sees
// all: its count is 0.
void ChooseBesidePrompt(ThreadPool& pool, int64_t window,
                        std::span<const AttentionSequence> sequences, const ChosenKeys& chosen);

}  // namespace folkmoot
