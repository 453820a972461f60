// SPDX-License-Identifier: Apache-2.0
// The attention of Inkling 2 (Thinking Machines 2026; Transformers' modeling_inkling2.py). As in
// Inkling nothing turns, scores have a term by distance, which each query mixes out of profiles,
// and keys and values go through short convolutions. Unlike there
//
//   - heads of q and k, and mixes, are not normalised: they are made shorter where they are too
//     long, q and mixes behind learned factors; values are normalised, without weights;
//   - each token makes a sink for each head, and gates for what heads give;
//   - layers without a window (LayerConfig::dynamic) make q, k and v of rows of their own, each
//     token makes taps that join the weights of its convolutions, and q and mixes grow with the
//     position (TemperatureConfig).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "layers/attention.h"
#include "layers/residual_convolution.h"

namespace folkmoot {

class ClippedAttention final : public UniformAttention {
 public:
  static absl::StatusOr<std::unique_ptr<Attention>> Load(ThreadPool& pool, WeightLoader& loader,
                                                         const ModelConfig& config, int64_t layer,
                                                         const AttentionNames& names,
                                                         ColumnExchange& columns);

 private:
  ClippedAttention(const ModelConfig& config, int64_t layer, ColumnExchange& columns);
  absl::Status LoadQueries(ThreadPool& pool, WeightLoader& loader, const ModelConfig& config,
                           const AttentionNames& names);
  absl::Status LoadKeys(ThreadPool& pool, WeightLoader& loader, const ModelConfig& config,
                        const AttentionNames& names);
  absl::Status LoadConvolution(WeightLoader& loader, const ModelConfig& config,
                               const AttentionNames& names);
  absl::Status LoadProfiles(WeightLoader& loader, const ModelConfig& config,
                            const AttentionNames& names);
  void Attend(LayerContext& ctx, const AttentionStep& step, KvCache& cache, ConstMatrix x,
              Matrix attended) const override;
  // Of this rank's heads, clipped and scaled, as attention takes them; gates as they were made.
  struct Queries {
    Matrix q, mixes, sinks, gates;
  };
  struct Keys {
    Matrix k, v;
  };
  Queries ProjectQueries(LayerContext& ctx, const AttentionStep& step, ConstMatrix x) const;
  Keys ProjectKeys(LayerContext& ctx, const AttentionStep& step, ConstMatrix x) const;

  LayerConfig kind_;
  ClipConfig clip_;
  // Of all ranks: heads of queries, heads of keys, and their columns; all heads have one size.
  ColumnSplit head_split_, kv_head_split_, keys_;
  int64_t head_dim_ = 0;
  int64_t taps_ = 0;  // of a head of keys, or of values
  float norm_eps_ = 0;
  AttentionParams params_;             // of this rank's heads
  std::vector<PackedMatrix> queries_;  // rows of q, mixes, sinks and gates
  PackedMatrix k_, v_;
  PackedMatrix k_taps_, v_taps_;                    // LayerConfig::dynamic
  std::vector<float> q_factors_, mix_factors_;      // [columns of this rank's heads]
  std::vector<float> v_norm_;                       // [head_dim] of ones
  DistanceProfiles profiles_;                       // RelativeConfig
  std::optional<ResidualConvolution> convolution_;  // of keys and values
};

}  // namespace folkmoot
