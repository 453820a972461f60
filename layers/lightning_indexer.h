// SPDX-License-Identifier: Apache-2.0
// The "lightning indexer" of DeepSeek's sparse attention (V3.2): heads of its own score all tokens
// before a query, which then sees the best of them alone (runtime/ops/key_selection.h).
//
// Its queries come from the latent of the attention's queries, their weights from the hidden state,
// and its one key per token, which is normalised by LayerNorm, from that, too. The first numbers of
// queries and keys turn, in halves (DeepSeek-V3.2) or as neighbours (GLM-5), or the last (Hunyuan
// 4), by the angles of the attention, or none where it has none. Other layers may take its choice
// over (GLM-5.2): ChosenKeys of the step stay.
//
// In GLM-5.3-Flash (IndexerConfig::pool) one key stands for a few tokens: the mean of theirs,
// weighed number by number by the softmax of gates (runtime/ops/window_pooling.h). What is chosen
// are pools, and tokens behind the last full one are seen beside them. Semantics: Transformers'
// modeling_glm5_next.py.
//
// In Mistral Large 4 (IndexerConfig::of_hidden) queries come from the hidden state behind a
// LayerNorm, and are scaled by the position (layers/query_scale.h); indexers of layers that do not
// rotate do not, either. Semantics: Transformers' modeling_mistral_large4.py.
//
// Over several ranks each has all of it: they choose alike.
#pragma once

#include <optional>
#include <vector>

#include "layers/attention.h"
#include "layers/query_scale.h"
#include "layers/window_compressor.h"

namespace folkmoot {

class LightningIndexer {
 public:
  LightningIndexer() = default;
  static absl::StatusOr<LightningIndexer> Load(ThreadPool& pool, WeightLoader& loader,
                                               const ModelConfig& config, int64_t layer,
                                               const AttentionNames& names);

  // Keeps the keys of x [T, H] in step.index_keys, or, of pools, in step.rows, and, where
  // step.chosen says that some query has more keys than it may see, chooses for all. `low` [T,
  // q_rank]: the normalised latent of q, which is not read where queries come from x.
  void Choose(LayerContext& ctx, const AttentionStep& step, ConstMatrix x, ConstMatrix low) const;
  // What the indexers of a model keep of pools, one after the other; empty: it has none.
  static std::vector<RowPages::Track> TracksOf(const ModelConfig& config, DType dtype,
                                               int64_t block_size);
  // Those of layer `index`: what open pools have taken up, and keys of full ones.
  static WindowCompressor::Tracks PoolTracks(const ModelConfig& config, int64_t index);

 private:
  absl::Status LoadPools(ThreadPool& pool, WeightLoader& loader, int64_t hidden,
                         const AttentionNames& names);
  absl::Status LoadQueries(ThreadPool& pool, WeightLoader& loader, const ModelConfig& config,
                           const AttentionNames& names);
  // [T, heads * head_dim], turned.
  Matrix Queries(LayerContext& ctx, const AttentionStep& step, ConstMatrix x,
                 ConstMatrix low) const;
  // Heads of queries, or the key, where they turn.
  void Turn(LayerContext& ctx, const RopeRows& rope, Matrix heads) const;
  // Makes keys of the pools that these tokens close.
  void KeepPools(LayerContext& ctx, const AttentionStep& step, ConstMatrix x,
                 ConstMatrix keys) const;
  void SelectPools(LayerContext& ctx, const AttentionStep& step, ConstMatrix q,
                   ConstMatrix weights) const;

  IndexerConfig dims_;
  bool turns_ = true;  // LayerConfig::rope
  int64_t place_ = 0;  // among indexers: in the cache of keys
  WindowCompressor::Tracks tracks_;
  std::vector<float> q_norm_;  // [H], of x; empty: queries come from the latent
  std::vector<float> q_norm_bias_;
  PackedMatrix q_;  // [heads * head_dim, q_rank or H]
  std::optional<QueryScale> query_scale_;
  PackedMatrix k_;             // [head_dim, H]
  std::vector<float> k_norm_;  // [head_dim]
  std::vector<float> k_norm_bias_;
  PackedMatrix weights_;          // [heads, H]
  PackedMatrix pool_gates_;       // [head_dim, H]
  std::vector<float> pool_bias_;  // [pool, head_dim]
};

}  // namespace folkmoot
