// SPDX-License-Identifier: Apache-2.0
// Linear attention by the gated delta rule (Gated DeltaNet, arXiv 2412.06464; Qwen3-Next): what a
// sequence has been is in a slot of RecurrentState, not in pages of keys and values. Ranks that
// divide it have whole key heads with the value heads that they serve.
#pragma once

#include <memory>
#include <vector>

#include "layers/recurrent_mixer.h"
#include "runtime/ops/delta_rule.h"

namespace folkmoot {

class GatedDeltaNet final : public RecurrentMixer {
 public:
  static absl::StatusOr<std::unique_ptr<Attention>> Load(ThreadPool& pool, WeightLoader& loader,
                                                         const ModelConfig& config, int64_t layer,
                                                         const RecurrentNames& names,
                                                         ColumnExchange& columns);
  // Of a rank that has `key_heads` of the model's.
  static DeltaHeads HeadsOf(const ModelConfig& config, int64_t key_heads);

 private:
  GatedDeltaNet(const ModelConfig& config, int64_t layer, ColumnExchange& columns);
  absl::Status LoadInputs(ThreadPool& pool, WeightLoader& loader, const ModelConfig& config,
                          const RecurrentNames& names);
  absl::Status LoadGates(WeightLoader& loader, const RecurrentNames& names);
  void Attend(LayerContext& ctx, const AttentionStep& step, KvCache& cache, ConstMatrix x,
              Matrix attended) const override;

  DeltaHeads all_;          // of all ranks
  DeltaRuleParams params_;  // of this rank's heads
  std::vector<float> rates_, step_bias_, norm_;
};

}  // namespace folkmoot
