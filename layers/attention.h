// SPDX-License-Identifier: Apache-2.0
// Self-attention of a decoder block: projections, optional q/k norms, rotary embedding, paged
// causal attention.
//
// Over one rank of `columns` it is dense and local: a sequence's keys and values live on the rank
// that owns it. Over several, each has whole heads: those of some keys and values with the queries
// that read them, and some columns of the output.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "layers/column_splits.h"
#include "layers/forward_batch.h"
#include "layers/layer_context.h"
#include "layers/weight_loader.h"
#include "parallel/column_exchange.h"
#include "runtime/model_config.h"
#include "runtime/ops/attention.h"

namespace folkmoot {

// Cosines and sines of this step's rows, [T, rotary_dim / 2] each.
struct RopeRows {
  ConstMatrix cos;
  ConstMatrix sin;
};

class Attention {
 public:
  // `prefix` is "model.layers.3.self_attn.". `columns` must outlive the layer.
  static absl::StatusOr<Attention> Load(ThreadPool& pool, WeightLoader& loader,
                                        const ModelConfig& config, int64_t layer,
                                        const std::string& prefix, ColumnExchange& columns);

  // x [T, H] normalised input. Returns [T, H], which lives as matrices of ColumnExchange do. Writes
  // this step's keys and values to `cache`, which has this rank's heads. Collective over the
  // ranks of the exchange.
  absl::StatusOr<Matrix> Forward(LayerContext& ctx, std::span<const AttentionSequence> sequences,
                                 const RopeRows& rope, KvCache& cache, ConstMatrix x) const;

 private:
  explicit Attention(ColumnExchange& columns) : columns_(&columns) {}
  // This rank's heads of all, attended [T, heads of this rank * head_dim].
  void Attend(LayerContext& ctx, std::span<const AttentionSequence> sequences, const RopeRows& rope,
              KvCache& cache, ConstMatrix x, Matrix attended) const;

  ColumnExchange* columns_;
  ColumnSplit heads_;       // columns of the query heads
  ColumnSplit output_;      // columns of the result
  AttentionParams params_;  // of this rank's heads
  int64_t head_dim_ = 0;
  int64_t kv_heads_ = 0;  // of this rank
  float norm_eps_ = 0;
  std::vector<PackedMatrix> qkv_;  // one matrix, or three where their types differ
  PackedMatrix o_;
  std::vector<float> qkv_bias_, o_bias_;  // empty: none
  std::vector<float> q_norm_, k_norm_;    // [head_dim], [columns of all heads], or empty
  float clip_ = 0;                        // 0: none
};

}  // namespace folkmoot
