// SPDX-License-Identifier: Apache-2.0
// Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1) in its absorbed form.
//
// The cache has a key of kv_rank + rope_dim numbers per token, which all heads share: what keys and
// values would be made from, and the rotated part of all keys; and, by rows, the first part once
// more as its value. A head's query goes through its key matrix instead of the keys
// (q^T (W c) = (W^T q)^T c), and its value matrix comes after the weighted sum. Prefill does the
// same as decode: one form has one set of bits.
//
// In A.X-K2 what a head gives is multiplied with sigmoids of outputs that stand behind its query,
// in Hunyuan 4 with those of a matrix of their own (AttentionGate::kOwn), and heads have sinks; in
// Ling 3 this matrix has one output for all numbers of a head.
// Sparse attention (IndexerConfig) is the same over the keys that an indexer has chosen, of this
// layer or of one before.
//
// In Mistral Large 4 queries are scaled by the position (layers/query_scale.h), layers without
// rotation have no shared key (LatentConfig::whole_without_rope), and a layer may read the latents
// of another (LayerConfig::kv_layer), of which it makes keys and values of its own.
//
// In dots3.note the shared key is normalised before it turns (LatentConfig::key_norm), and layers
// with a window have heads, latents and a rotation of their own (ModelConfig::local_latent).
//
// Over several ranks every one keeps the whole cache and some of the heads.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "layers/attention.h"
#include "layers/lightning_indexer.h"
#include "layers/norm.h"
#include "layers/query_scale.h"

namespace folkmoot {

class LatentAttention final : public UniformAttention {
 public:
  static absl::StatusOr<std::unique_ptr<Attention>> Load(ThreadPool& pool, WeightLoader& loader,
                                                         const ModelConfig& config, int64_t layer,
                                                         const AttentionNames& names,
                                                         ColumnExchange& columns);

 private:
  LatentAttention(const ModelConfig& config, int64_t layer, ColumnExchange& columns);
  absl::Status LoadQueries(ThreadPool& pool, WeightLoader& loader, const ModelConfig& config,
                           const AttentionNames& names);
  absl::Status LoadKeys(ThreadPool& pool, WeightLoader& loader, const ModelConfig& config,
                        const AttentionNames& names);
  absl::Status LoadLatents(ThreadPool& pool, WeightLoader& loader, const ModelConfig& config,
                           const AttentionNames& names);
  absl::Status LoadGateAndSinks(ThreadPool& pool, WeightLoader& loader, const ModelConfig& config,
                                const AttentionNames& names);
  void Attend(LayerContext& ctx, const AttentionStep& step, KvCache& cache, ConstMatrix x,
              Matrix attended) const override;
  // Of a head in what queries are made as: the query, and its gates.
  int64_t query_width() const {
    return dims_.nope_dim + dims_.rope_dim + (dims_.gated ? dims_.value_dim : 0);
  }
  // What queries are made of: x, or its normalised latent, [T, q_rank], or that and the latent
  // before its norm.
  ConstMatrix LowQueries(LayerContext& ctx, ConstMatrix x) const;
  // [T, heads of this rank * query_width], turned where the layer is.
  Matrix Queries(LayerContext& ctx, const RopeRows& rope, ConstMatrix low) const;
  // [T, kv_rank + rope_dim], normalised and turned likewise: what the cache keeps.
  Matrix Latents(LayerContext& ctx, const RopeRows& rope, ConstMatrix x) const;
  // q as it meets latents, [T, heads of this rank * (kv_rank + rope_dim)].
  Matrix Absorbed(LayerContext& ctx, ConstMatrix q) const;

  LayerConfig kind_;
  LatentConfig dims_;  // of this layer
  bool neighbours_ = false;
  bool caches_ = true;      // latents of its own
  ColumnSplit head_split_;  // heads of all ranks
  AttentionParams params_;
  PackedMatrix q_a_;                 // [q_rank, H], or empty
  std::vector<float> q_a_bias_;      // empty: none
  std::vector<float> q_a_norm_;      // [q_rank]
  PackedMatrix q_b_;                 // [this rank's heads * query_width, of LowQueries]
  PackedMatrix kv_a_;                // [kv_rank + rope_dim, H], or empty
  std::vector<float> kv_a_bias_;     // empty: none
  std::vector<float> kv_a_norm_;     // [kv_rank]
  std::vector<float> key_norm_;      // [rope_dim], or empty
  std::vector<PackedMatrix> key_;    // of each head of this rank [kv_rank, nope_dim]
  std::vector<PackedMatrix> value_;  // and [value_dim, kv_rank]
  PackedMatrix gate_;  // [this rank's columns of heads_, or the heads, H]; AttentionGate::kOwn
  std::vector<float> sinks_;  // of its heads; empty: none
  std::optional<QueryScale> query_scale_;
  std::optional<LightningIndexer> indexer_;
};

}  // namespace folkmoot
