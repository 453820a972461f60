// SPDX-License-Identifier: Apache-2.0
// Attention of a decoder to what the encoder made of the source. Its keys and values are computed
// once, with the source, and stand in the decoder layer's pages at the positions of the source, in
// front of those of the layer's own attention.
#pragma once

#include <span>
#include <vector>

#include "layers/layer_context.h"
#include "layers/layer_names.h"
#include "layers/weight_loader.h"
#include "runtime/model_config.h"
#include "runtime/ops/attention.h"

namespace folkmoot {

class CrossAttention {
 public:
  // `layer` is that of the cache. `config` has the decoder's heads.
  static absl::StatusOr<CrossAttention> Load(ThreadPool& pool, WeightLoader& loader,
                                             const ModelConfig& config, int64_t layer,
                                             const AttentionNames& names);

  // encoded [S, H]: the rows of all sources. `sources` says whose they are.
  void Store(LayerContext& ctx, std::span<const AttentionSequence> sources, ConstMatrix encoded,
             KvCache& cache) const;
  // x and out [T, H]; `targets` see the keys before AttentionSequence::keys_end.
  void Forward(LayerContext& ctx, std::span<const AttentionSequence> targets, const KvCache& cache,
               ConstMatrix x, Matrix out) const;

 private:
  struct Linear {
    PackedMatrix weights;
    std::vector<float> bias;  // empty: none
  };
  static absl::StatusOr<Linear> LoadLinear(ThreadPool& pool, WeightLoader& loader,
                                           const std::string& module, int64_t n, int64_t k,
                                           bool biased);

  AttentionParams params_;
  Linear q_, k_, v_, o_;
};

}  // namespace folkmoot
