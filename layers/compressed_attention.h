// SPDX-License-Identifier: Apache-2.0
// The attention of DeepSeek-V4 (technical report of 2026, section 2.3): a token has one row, which
// is key and value of all heads, and a query sees those of a window and, of everything before, what
// windows of tokens were compressed to:
//
//   window alone           LayerConfig::compression == 0
//   compressed sparse      some tokens an entry, overlapping; a query sees the best by an indexer,
//   attention (CSA)        which has compressed keys of its own (LayerConfig::overlapping)
//   heavily compressed     many tokens an entry, all of which a query sees
//   attention (HCA)
//
// Queries come from a normalised vector of low rank and are normalised by head, without weights. As
// rows turn before they are values, what heads give turns back by the angles of its own position.
// It goes through one matrix for each group of heads, and what these give through one for all.
//
// Over several ranks every one keeps all rows and has some groups of heads.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "layers/attention.h"
#include "layers/window_compressor.h"
#include "runtime/ops/row_attention.h"

namespace folkmoot {

class CompressedAttention final : public UniformAttention {
 public:
  static absl::StatusOr<std::unique_ptr<Attention>> Load(ThreadPool& pool, WeightLoader& loader,
                                                         const ModelConfig& config, int64_t layer,
                                                         const AttentionNames& names,
                                                         ColumnExchange& columns);
  // What the layers of a model keep of a sequence, one layer after the other.
  static std::vector<RowPages::Track> TracksOf(const ModelConfig& config, DType dtype,
                                               int64_t block_size);

 private:
  // Of layers whose windows overlap: which entries a query sees.
  struct Indexer {
    IndexerConfig dims;
    int64_t keys = 0;  // their track
    WindowCompressor compressor;
    PackedMatrix q;        // [heads * head_dim, q_rank]
    PackedMatrix weights;  // [heads, H]
  };

  CompressedAttention(const ModelConfig& config, int64_t layer, ColumnExchange& columns);
  absl::Status LoadQueries(ThreadPool& pool, WeightLoader& loader, const ModelConfig& config,
                           const AttentionNames& names);
  absl::Status LoadCompressor(ThreadPool& pool, WeightLoader& loader, const ModelConfig& config,
                              const AttentionNames& names);
  absl::Status LoadOutputs(ThreadPool& pool, WeightLoader& loader, const ModelConfig& config,
                           const AttentionNames& names);
  void Attend(LayerContext& ctx, const AttentionStep& step, KvCache& cache, ConstMatrix x,
              Matrix attended) const override;
  void KeepRows(LayerContext& ctx, const AttentionStep& step, const RopeRows& rope,
                ConstMatrix x) const;
  // This rank's heads, of the normalised vector of low rank.
  Matrix Queries(LayerContext& ctx, const RopeRows& rope, ConstMatrix low) const;
  // In the workspace; false: every query sees all entries.
  bool Choose(LayerContext& ctx, const AttentionStep& step, ConstMatrix x, ConstMatrix low,
              ChosenKeys* chosen) const;

  LayerConfig kind_;
  RotaryPart rotary_;        // of a row, and of a head
  RotaryPart index_rotary_;  // of a head of the indexer
  ColumnSplit groups_;       // of heads, over ranks
  int64_t group_width_ = 0;  // numbers that the heads of a group give
  float norm_eps_ = 0;
  RowAttentionParams params_;  // of this rank's heads
  PackedMatrix q_a_;           // [q_rank, H]
  std::vector<float> q_a_norm_;
  PackedMatrix q_b_;         // [numbers of this rank's heads, q_rank]
  std::vector<float> ones_;  // [head_dim]
  PackedMatrix rows_;        // [head_dim, H]
  std::vector<float> rows_norm_;
  std::vector<float> sinks_;  // [heads of this rank]
  std::optional<WindowCompressor> compressor_;
  std::optional<Indexer> indexer_;
  std::vector<PackedMatrix> o_a_;  // of each group of this rank: [output_rank, group_width]
};

}  // namespace folkmoot
