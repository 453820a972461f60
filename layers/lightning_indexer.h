// SPDX-License-Identifier: Apache-2.0
// The "lightning indexer" of DeepSeek's sparse attention (V3.2): heads of its own score all tokens
// before a query, which then sees the best of them alone (runtime/ops/key_selection.h).
//
// Its queries come from the latent of the attention's queries, their weights from the hidden state,
// and its one key per token, which is normalised by LayerNorm, from that, too. The first numbers of
// queries and keys turn, in halves (DeepSeek-V3.2) or as neighbours (GLM-5), or the last (Hunyuan
// 4), by the angles of the attention. Other layers may take its choice over (GLM-5.2): ChosenKeys
// of the step stay.
//
// Over several ranks each has all of it: they choose alike.
#pragma once

#include <vector>

#include "layers/attention.h"

namespace folkmoot {

class LightningIndexer {
 public:
  LightningIndexer() = default;
  static absl::StatusOr<LightningIndexer> Load(ThreadPool& pool, WeightLoader& loader,
                                               const ModelConfig& config, int64_t layer,
                                               const AttentionNames& names);

  // Keeps the keys of x [T, H] in step.index_keys and, where step.chosen says that some query has
  // more keys than it may see, chooses for all. `low` [T, q_rank]: the normalised latent of q.
  void Choose(LayerContext& ctx, const AttentionStep& step, ConstMatrix x, ConstMatrix low) const;

 private:
  IndexerConfig dims_;
  int64_t place_ = 0;          // in the cache of keys
  PackedMatrix q_;             // [heads * head_dim, q_rank]
  PackedMatrix k_;             // [head_dim, H]
  std::vector<float> k_norm_;  // [head_dim]
  std::vector<float> k_norm_bias_;
  PackedMatrix weights_;  // [heads, H]
};

}  // namespace folkmoot
