// SPDX-License-Identifier: Apache-2.0
// The mixer of Mamba-2 (Dao and Gu, arXiv 2405.21060) as Granite 4 and Nemotron-H have it. Ranks
// that divide it have whole groups of heads, with the B and the C that they share.
#pragma once

#include <memory>
#include <vector>

#include "layers/recurrent_mixer.h"
#include "runtime/ops/state_space.h"

namespace folkmoot {

class Mamba2 final : public RecurrentMixer {
 public:
  static absl::StatusOr<std::unique_ptr<Attention>> Load(ThreadPool& pool, WeightLoader& loader,
                                                         const ModelConfig& config, int64_t layer,
                                                         const RecurrentNames& names,
                                                         ColumnExchange& columns);
  // Of a rank that has so many groups of the model's.
  static StateSpaceHeads HeadsOf(const ModelConfig& config, int64_t groups);

 private:
  Mamba2(const ModelConfig& config, int64_t layer, ColumnExchange& columns);
  absl::Status LoadInputs(ThreadPool& pool, WeightLoader& loader, const ModelConfig& config,
                          const RecurrentNames& names);
  absl::Status LoadSteps(WeightLoader& loader, const RecurrentNames& names);
  void Attend(LayerContext& ctx, const AttentionStep& step, KvCache& cache, ConstMatrix x,
              Matrix attended) const override;

  StateSpaceHeads all_;      // of all ranks
  StateSpaceParams params_;  // of this rank's heads
  std::vector<float> rates_, step_bias_, skip_, norm_;
};

}  // namespace folkmoot
