// SPDX-License-Identifier: Apache-2.0
// LFM2's gated short convolution (Liquid AI 2025) as a mixer of rows. Ranks that divide it have
// some of its channels.
#pragma once

#include <memory>

#include "layers/recurrent_mixer.h"
#include "runtime/ops/short_convolution.h"

namespace folkmoot {

class ShortConvolutionMixer final : public RecurrentMixer {
 public:
  static absl::StatusOr<std::unique_ptr<Attention>> Load(ThreadPool& pool, WeightLoader& loader,
                                                         const ModelConfig& config, int64_t layer,
                                                         const RecurrentNames& names,
                                                         ColumnExchange& columns);
  // Of a rank that has so many channels of the model's.
  static RecurrentState::LayerShape StateOf(const ModelConfig& config, int64_t channels) {
    return {.inputs = (config.recurrent.kernel - 1) * channels};
  }

 private:
  ShortConvolutionMixer(const ModelConfig& config, int64_t layer, ColumnExchange& columns)
      : RecurrentMixer(config, layer, 1, columns) {}
  void Attend(LayerContext& ctx, const AttentionStep& step, KvCache& cache, ConstMatrix x,
              Matrix attended) const override;

  ShortConvolutionParams params_;  // of this rank's channels
};

}  // namespace folkmoot
