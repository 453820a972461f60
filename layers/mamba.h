// SPDX-License-Identifier: Apache-2.0
// The mixer of Mamba (Gu and Dao, arXiv 2312.00752) as Jamba has it: x goes through a convolution,
// from what comes of it a matrix makes dt, B and C, which are normalised, and another widens dt to
// a step of each channel (runtime/ops/selective_scan.h).
//
// All channels make dt, B and C together: ranks do not divide it.
#pragma once

#include <memory>
#include <vector>

#include "layers/recurrent_mixer.h"
#include "runtime/ops/selective_scan.h"

namespace folkmoot {

class Mamba final : public RecurrentMixer {
 public:
  static absl::StatusOr<std::unique_ptr<Attention>> Load(ThreadPool& pool, WeightLoader& loader,
                                                         const ModelConfig& config, int64_t layer,
                                                         const RecurrentNames& names,
                                                         ColumnExchange& columns);
  static SelectiveScanShape ShapeOf(const ModelConfig& config);

 private:
  Mamba(const ModelConfig& config, int64_t layer, ColumnExchange& columns);
  absl::Status LoadSelection(ThreadPool& pool, WeightLoader& loader, const ModelConfig& config,
                             const RecurrentNames& names);
  absl::Status LoadRates(WeightLoader& loader, const RecurrentNames& names);
  void Attend(LayerContext& ctx, const AttentionStep& step, KvCache& cache, ConstMatrix x,
              Matrix attended) const override;

  SelectiveScanParams params_;
  int64_t step_rank_ = 0;
  float norm_eps_ = 0;
  PackedMatrix select_;  // [step_rank + 2 * state_dim, channels]
  PackedMatrix steps_;   // [channels, step_rank]
  std::vector<float> step_bias_;
  std::vector<float> step_norm_, b_norm_, c_norm_;
  std::vector<float> rates_, skip_;  // that params_ views
};

}  // namespace folkmoot
