// SPDX-License-Identifier: Apache-2.0
// Kimi Delta Attention (Kimi Linear, arXiv 2510.26692): the gated delta rule with a decay of its
// own for every number of a key, whose gates come out of narrow matrices. GLM-5.3-Flash bounds the
// decays (RecurrentConfig::decay_bound), and so does Ling 3, where the gates are made in one step.
// Ranks that divide it have whole heads.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "layers/recurrent_mixer.h"
#include "runtime/ops/delta_rule.h"

namespace folkmoot {

class KimiDeltaAttention final : public RecurrentMixer {
 public:
  static absl::StatusOr<std::unique_ptr<Attention>> Load(ThreadPool& pool, WeightLoader& loader,
                                                         const ModelConfig& config, int64_t layer,
                                                         const RecurrentNames& names,
                                                         ColumnExchange& columns);

 private:
  // Two matrices, one behind the other: [D, H] whole on every rank, and [columns of its heads, D];
  // or empty: what they would give is made with all other projections.
  struct LowRank {
    PackedMatrix in, out;
    int64_t first = 0;  // column of what it gives among those of all projections
  };

  KimiDeltaAttention(const ModelConfig& config, int64_t layer, ColumnExchange& columns);
  absl::Status LoadInputs(ThreadPool& pool, WeightLoader& loader, const ModelConfig& config,
                          const RecurrentNames& names);
  absl::Status LoadLowRanks(ThreadPool& pool, WeightLoader& loader, int64_t hidden,
                            const RecurrentNames& names);
  absl::StatusOr<LowRank> LoadLowRank(ThreadPool& pool, WeightLoader& loader, int64_t hidden,
                                      const std::string& in, const std::string& out, bool exact);
  absl::Status LoadGates(WeightLoader& loader, const RecurrentNames& names);
  void Attend(LayerContext& ctx, const AttentionStep& step, KvCache& cache, ConstMatrix x,
              Matrix attended) const override;

  DeltaHeads all_;          // of all ranks
  DeltaRuleParams params_;  // of this rank's heads
  LowRank decays_, gates_;
  std::vector<float> rates_, step_bias_, norm_;
};

}  // namespace folkmoot
