// SPDX-License-Identifier: Apache-2.0
// Self-attention of a block: projections, optional q/k norms, rotary embedding, paged attention,
// causal but for encoders.
//
// Over one rank of `columns` it is dense and local: a sequence's keys and values live on the rank
// that owns it. Over several, each has whole heads: those of some keys and values with the queries
// that read them, and some columns of the output.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "layers/column_splits.h"
#include "layers/layer_context.h"
#include "layers/layer_names.h"
#include "layers/weight_loader.h"
#include "parallel/column_exchange.h"
#include "runtime/model_config.h"
#include "runtime/ops/attention.h"
#include "runtime/ops/norm.h"
#include "runtime/ops/recurrent_state.h"
#include "runtime/ops/row_pages.h"

namespace folkmoot {

// Cosines and sines of this step's rows, [T, rotary_dim / 2] each.
struct RopeRows {
  ConstMatrix cos;
  ConstMatrix sin;
};

// What all layers of a step share.
struct AttentionStep {
  std::span<const AttentionSequence> sequences;
  RopeRows rope;
  RopeRows local_rope;                   // of LayerConfig::local_rope
  std::span<const float> temperature;    // [T], of q in layers without rotation; empty: none
  std::span<const float> log_positions;  // [T], ln(position + 1); ModelConfig::query_scales
  std::span<const float> position_bias;  // AttentionParams::position_bias of all heads, and reach
  int64_t reach = 0;
  // [T, H] each, what keys and values are made of where it is not what queries are made of
  // (ClippedAttention); empty: it is.
  ConstMatrix key_rows, value_rows;
  // Where a layer runs again (LoopConfig): how far behind its own its pages and state stand.
  int64_t again = 0;
  RecurrentState* state = nullptr;  // of layers that have one; null: the model has none
  RowPages* rows = nullptr;         // of Mixer::kCompressed and IndexerConfig::pool; likewise
  // Of sparse attention: keys of indexers, one layer for each, and what the last indexer chose; the
  // latter is null where every query sees all keys.
  KvCache* index_keys = nullptr;
  const ChosenKeys* chosen = nullptr;
  // Of windows that keep the prompt (ModelConfig::windows_keep_prompt): those that `chosen` is for,
  // and the others, whose queries see all.
  std::span<const AttentionSequence> beyond_window, within_window;
};

class Attention {
 public:
  virtual ~Attention() = default;

  // x [T, H] normalised input. Returns [T, H], which lives as matrices of ColumnExchange do. Writes
  // this step's keys and values to `cache`, which has this rank's heads, or to step.rows, or takes
  // step.state further. Collective over the ranks of the exchange.
  virtual absl::StatusOr<Matrix> Forward(LayerContext& ctx, const AttentionStep& step,
                                         KvCache& cache, ConstMatrix x) const = 0;
};

// Whose heads of all tokens go through one output matrix.
class UniformAttention : public Attention {
 public:
  absl::StatusOr<Matrix> Forward(LayerContext& ctx, const AttentionStep& step, KvCache& cache,
                                 ConstMatrix x) const override;

 protected:
  // `layer` is that of the model, or of the cache where these differ. `columns` must outlive the
  // layer. heads_ is the caller's to set, and LoadOutput to call.
  UniformAttention(int64_t layer, ColumnExchange& columns) : layer_(layer), columns_(&columns) {}
  absl::Status LoadOutput(ThreadPool& pool, WeightLoader& loader, int64_t hidden, bool bias,
                          const std::string& module);
  int rank() const { return columns_->rank(); }
  int64_t layer() const { return layer_; }

  ColumnSplit heads_;  // columns of what the heads of all ranks give

 private:
  // This rank's heads of all, attended: [T, its columns of heads_]. Not called where it has none.
  virtual void Attend(LayerContext& ctx, const AttentionStep& step, KvCache& cache, ConstMatrix x,
                      Matrix attended) const = 0;

  int64_t layer_;
  ColumnExchange* columns_;
  ColumnSplit output_;  // columns of the result
  PackedMatrix o_;
  std::vector<float> o_bias_;  // empty: none
};

// What scores are multiplied with, where heads have keys of their own.
float ScoreScale(const ModelConfig& config);

// The state of `slots` sequences on a rank that has so many units of RecurrentSplit.
RecurrentState::Shape StateShape(const ModelConfig& config, int64_t units, int64_t slots);

// Multi-head, grouped-query or latent attention, a mixture of heads, or what stands in its place,
// as the config says.
absl::StatusOr<std::unique_ptr<Attention>> LoadAttention(ThreadPool& pool, WeightLoader& loader,
                                                         const ModelConfig& config, int64_t layer,
                                                         const LayerNames& names,
                                                         ColumnExchange& columns);

}  // namespace folkmoot
