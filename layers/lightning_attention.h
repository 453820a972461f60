// SPDX-License-Identifier: Apache-2.0
// Lightning attention as MiniMax-01 has it: what the heads read from their memories is normalised
// over all of them, and multiplied with sigmoids of a matrix of its own. Ranks do not divide it.
#pragma once

#include <memory>
#include <vector>

#include "layers/recurrent_mixer.h"
#include "runtime/ops/lightning_attention.h"

namespace folkmoot {

class LightningMixer final : public RecurrentMixer {
 public:
  static absl::StatusOr<std::unique_ptr<Attention>> Load(ThreadPool& pool, WeightLoader& loader,
                                                         const ModelConfig& config, int64_t layer,
                                                         const RecurrentNames& names,
                                                         ColumnExchange& columns);
  static LightningHeads HeadsOf(const ModelConfig& config);
  // What the heads of layer `layer` of `layers` keep of their memories with every row: e^-s, where
  // s = 2^(-8 (h + 1) / heads) (1 - layer / (layers - 1 + 1e-5) + 1e-5) for head h, as Transformers
  // has it. In the authors' code the first 1e-5 is not there.
  static std::vector<float> DecaysOf(int64_t heads, int64_t layer, int64_t layers);

 private:
  LightningMixer(const ModelConfig& config, int64_t layer, ColumnExchange& columns);
  void Attend(LayerContext& ctx, const AttentionStep& step, KvCache& cache, ConstMatrix x,
              Matrix attended) const override;

  LightningParams params_;
  std::vector<float> decays_, norm_;
};

}  // namespace folkmoot
