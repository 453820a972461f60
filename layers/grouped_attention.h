// SPDX-License-Identifier: Apache-2.0
// Multi-head and grouped-query attention (Ainslie et al. 2023) with what families add to it.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "layers/attention.h"
#include "layers/block_indexer.h"
#include "layers/convolved_projection.h"
#include "layers/mean_indexer.h"
#include "layers/residual_convolution.h"

namespace folkmoot {

class GroupedAttention final : public UniformAttention {
 public:
  static absl::StatusOr<std::unique_ptr<Attention>> Load(ThreadPool& pool, WeightLoader& loader,
                                                         const ModelConfig& config, int64_t layer,
                                                         const AttentionNames& names,
                                                         ColumnExchange& columns);

 private:
  GroupedAttention(const ModelConfig& config, int64_t layer, ColumnExchange& columns);
  absl::Status LoadProjections(ThreadPool& pool, WeightLoader& loader, const ModelConfig& config,
                               const AttentionNames& names);
  absl::Status LoadGate(ThreadPool& pool, WeightLoader& loader, const ModelConfig& config,
                        const AttentionNames& names);
  absl::Status LoadNorms(WeightLoader& loader, const ModelConfig& config,
                         const AttentionNames& names);
  absl::Status LoadKeyScales(WeightLoader& loader, const AttentionNames& names);
  absl::Status LoadProfiles(WeightLoader& loader, const ModelConfig& config,
                            const AttentionNames& names);
  absl::Status LoadConvolution(WeightLoader& loader, const ModelConfig& config,
                               const AttentionNames& names);
  void Attend(LayerContext& ctx, const AttentionStep& step, KvCache& cache, ConstMatrix x,
              Matrix attended) const override;
  // Of this rank's heads, as they were projected. Without keys and values of its own k and v have
  // no columns, without a gate or profiles these have none.
  struct Projected {
    Matrix q, k, v, gate, mixes;
  };
  Projected Project(LayerContext& ctx, const AttentionStep& step, ConstMatrix x) const;
  // q and k are normalised and rotated, or q scaled; and clipped.
  void Turn(LayerContext& ctx, const AttentionStep& step, const Projected& projected) const;
  void MultiplyByGate(LayerContext& ctx, ConstMatrix x, Matrix gate, Matrix attended) const;
  void NormaliseHeads(LayerContext& ctx, Matrix q, Matrix k) const;
  // What is stored, of `v` or, LayerConfig::keys_are_values, of `k`, which nothing was done to yet.
  Matrix Values(LayerContext& ctx, ConstMatrix k, Matrix v) const;

  LayerConfig kind_;
  RotaryPart rotary_;
  // Of all ranks: query heads, and columns of queries, keys and values.
  ColumnSplit head_split_, queries_, keys_, values_;
  AttentionParams params_;  // of this rank's heads
  int64_t kv_heads_ = 0;    // of this rank
  float norm_eps_ = 0;
  bool norm_after_rope_ = false;
  std::optional<ConvolvedProjection> convolved_;  // Recurrence::kConvolvedAttention; or:
  std::vector<PackedMatrix> qkv_;                 // one matrix, or several where their types differ
  std::vector<float> qkv_bias_;                   // empty: none
  std::vector<float> q_norm_, k_norm_;            // [head_dim], [columns of all heads], or empty
  std::vector<float> v_norm_, attended_norm_;     // [value_dim] of ones, or empty
  std::vector<float> key_scales_;                 // [columns of this rank's keys] or empty
  std::vector<float> sinks_;                      // [heads of this rank] or empty
  DistanceProfiles profiles_;                     // RelativeConfig
  std::optional<ResidualConvolution> convolution_;  // of keys and values
  std::optional<BlockIndexer> indexer_;             // LayerConfig::indexer; or, of pools:
  std::optional<MeanIndexer> pools_;
  PackedMatrix gate_;             // [columns of this rank's heads, or the heads, H] or empty
  std::vector<float> gate_bias_;  // [outputs of gate_] or empty
  GateFunction gate_function_ = GateFunction::kSigmoid;
  float value_scale_ = 1;
  float clip_ = 0;              // 0: none
  bool gated_queries_ = false;  // AttentionGate::kBehindQueries
  bool tempered_ = false;       // TemperatureConfig
  bool beside_prompt_ = false;  // its window is one that keeps the prompt
};

}  // namespace folkmoot
