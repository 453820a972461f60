// SPDX-License-Identifier: Apache-2.0
// Mixture of attention heads (Zhang et al. 2022, arXiv 2210.05144) as JetMoE has it
// (arXiv 2404.07413): an expert is a query and an output matrix, and all share keys and values. A
// token attends with the queries of each expert that it chose; what they give goes through their
// output matrices, weighed by the softmax over the chosen logits.
//
// Experts are not dispatched: attention is local, so every rank has them all, or over several ranks
// of `columns` some heads of each and some columns of its output. Gates of requests do not touch
// them.
#pragma once

#include <memory>
#include <vector>

#include "layers/attention.h"

namespace folkmoot {

class MixtureAttention final : public Attention {
 public:
  static absl::StatusOr<std::unique_ptr<Attention>> Load(ThreadPool& pool, WeightLoader& loader,
                                                         const ModelConfig& config, int64_t layer,
                                                         const AttentionNames& names,
                                                         ColumnExchange& columns);

  absl::StatusOr<Matrix> Forward(LayerContext& ctx, const AttentionStep& step, KvCache& cache,
                                 ConstMatrix x) const override;

 private:
  // The choices of this step's tokens, [T, chosen_], and the same sorted by expert.
  struct Choices {
    std::span<float> weights;
    std::span<int64_t> place;    // of each choice among the sorted
    std::span<int64_t> offsets;  // [experts + 1] into the sorted
  };

  MixtureAttention(const ModelConfig& config, int64_t layer, ColumnExchange& columns);
  absl::Status LoadKeys(ThreadPool& pool, WeightLoader& loader, const ModelConfig& config,
                        const AttentionNames& names);
  absl::Status LoadExperts(ThreadPool& pool, WeightLoader& loader, const ModelConfig& config,
                           const AttentionNames& names);
  Choices Choose(LayerContext& ctx, ConstMatrix x) const;
  // This rank's heads, attended, in the order of the cache: chosen_ queries for each of its keys.
  void Attend(LayerContext& ctx, const AttentionStep& step, KvCache& cache, ConstMatrix x,
              const Choices& choices, Matrix attended) const;
  void Queries(LayerContext& ctx, ConstMatrix x, const Choices& choices, Matrix q) const;
  // This rank's columns of the weighed outputs of all heads.
  void Combine(LayerContext& ctx, ConstMatrix attended, const Choices& choices, Matrix out) const;

  int64_t layer_;
  ColumnExchange* columns_;
  int64_t head_dim_;
  int64_t chosen_;          // experts of a token
  ColumnSplit kv_;          // columns of the keys of all ranks, and of the values
  ColumnSplit heads_;       // of what their queries give
  ColumnSplit output_;      // of the result
  AttentionParams params_;  // of this rank's heads
  PackedMatrix router_;
  std::vector<PackedMatrix> kv_weights_;  // one matrix, or several where their types differ
  std::vector<GatedFfnWeights> queries_;  // by expert; `down` is [this rank's kv columns, H]
  std::vector<GatedFfnWeights> outputs_;  // and [this rank's columns, all kv columns]
  std::vector<const GatedFfnWeights*> query_pointers_, output_pointers_;
  std::vector<float> bias_;  // [this rank's columns]
};

}  // namespace folkmoot
