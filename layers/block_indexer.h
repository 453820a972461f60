// SPDX-License-Identifier: Apache-2.0
// The indexer of MiniMax-M3's sparse attention: each head of keys has a head of the indexer, which
// chooses the blocks of keys that the query heads of its group see (runtime/ops/key_selection.h).
// The indexer has no values: it only chooses. Where Transformers marks the last blocks by an
// infinite score, they come first here.
//
// Queries and the one key per token come from the hidden state; both are normalised as those of
// attention are, and turn by its angles.
//
// Over several ranks each has the index heads of its heads of keys, and the keys of all.
#pragma once

#include <vector>

#include "layers/attention.h"

namespace folkmoot {

class BlockIndexer {
 public:
  BlockIndexer() = default;
  // The index heads first .. first + count are this rank's.
  static absl::StatusOr<BlockIndexer> Load(ThreadPool& pool, WeightLoader& loader,
                                           const ModelConfig& config, int64_t layer,
                                           const AttentionNames& names, int64_t first,
                                           int64_t count);

  // Keeps the keys of x [T, H] in step.index_keys and returns what this rank's heads of keys see,
  // in ctx.workspace. `most` 0: each query sees all keys.
  ChosenKeys Choose(LayerContext& ctx, const AttentionStep& step, ConstMatrix x) const;

 private:
  IndexerConfig dims_;
  int64_t place_ = 0;  // in the cache of keys
  int64_t heads_ = 0;  // of this rank
  float norm_eps_ = 0;
  PackedMatrix q_;                      // [heads_ * head_dim, H]
  PackedMatrix k_;                      // [head_dim, H]
  std::vector<float> q_norm_, k_norm_;  // [head_dim]
};

}  // namespace folkmoot
