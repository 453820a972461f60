// SPDX-License-Identifier: Apache-2.0
// Self-attention of a decoder block: projections, optional q/k norms, rotary embedding, paged
// causal attention. Dense and local: a sequence's keys and values live on the rank that owns it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "layers/forward_batch.h"
#include "layers/layer_context.h"
#include "layers/weight_loader.h"
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
  // `prefix` is "model.layers.3.self_attn.".
  static absl::StatusOr<Attention> Load(ThreadPool& pool, WeightLoader& loader,
                                        const ModelConfig& config, int64_t layer,
                                        const std::string& prefix);

  // x [T, H] normalised input; out [T, H]. Writes this step's keys and values to `cache`.
  void Forward(LayerContext& ctx, const ForwardBatch& batch,
               std::span<const AttentionSequence> sequences, const RopeRows& rope, KvCache& cache,
               ConstMatrix x, Matrix out) const;

 private:
  Attention() = default;

  AttentionParams params_;
  int64_t head_dim_ = 0;
  int64_t kv_heads_ = 0;
  float norm_eps_ = 0;
  PackedMatrix q_, k_, v_, o_;
  std::vector<float> q_bias_, k_bias_, v_bias_, o_bias_;  // empty: none
  std::vector<float> q_norm_, k_norm_;                    // [head_dim] or empty
};

}  // namespace folkmoot
