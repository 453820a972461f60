// SPDX-License-Identifier: Apache-2.0
// The indexer of Qwen4-Exp's sparse attention (QSA): pools of tokens, one behind the other, have
// one key, the mean of theirs, which is then normalised and turns as the pool's first token does.
// Heads of queries score full pools by the sum of max(0, q . k), and all heads of attention see the
// best of them (IndexerConfig::top_k tokens in all), and the tokens behind the last full one.
// Queries and keys come from the hidden state. Semantics: Transformers' modeling_qwen4_exp.py.
//
// Over several ranks each has all of it: they choose alike.
#pragma once

#include <vector>

#include "layers/attention.h"
#include "layers/window_compressor.h"

namespace folkmoot {

class MeanIndexer {
 public:
  MeanIndexer() = default;
  static absl::StatusOr<MeanIndexer> Load(ThreadPool& pool, WeightLoader& loader,
                                          const ModelConfig& config, int64_t layer,
                                          const AttentionNames& names);

  // Keeps the keys of x [T, H] in step.rows, whose tracks are those of LightningIndexer::TracksOf,
  // and, where step.chosen says that some query has more keys than it may see, chooses for all.
  void Choose(LayerContext& ctx, const AttentionStep& step, ConstMatrix x) const;

 private:
  IndexerConfig dims_;
  RotaryPart rotary_;
  float norm_eps_ = 0;
  WindowCompressor::Tracks tracks_;
  WindowCompressor keys_;
  PackedMatrix q_;             // [heads * head_dim, H]
  std::vector<float> q_norm_;  // [head_dim]
};

}  // namespace folkmoot
