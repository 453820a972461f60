// SPDX-License-Identifier: Apache-2.0
// What mixers with a state per sequence have in common (RecurrentConfig): projections that go
// through a causal convolution, a slot of RecurrentState in place of pages of keys and values, and
// an output matrix. Ranks that divide one have some units each: key heads, groups of heads, or
// channels.
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "layers/attention.h"
#include "runtime/ops/causal_convolution.h"

namespace folkmoot {

class RecurrentMixer : public UniformAttention {
 protected:
  // `values`: columns of the result for each unit of RecurrentSplit.
  RecurrentMixer(const ModelConfig& config, int64_t layer, int64_t values, ColumnExchange& columns);

  // Matrices that multiply the same rows and whose outputs stand side by side, after those that are
  // there already; with `biased`, each has a bias beside it.
  absl::Status LoadProjections(ThreadPool& pool, WeightLoader& loader,
                               std::span<const TensorRef> refs, bool biased);
  Matrix Project(LayerContext& ctx, ConstMatrix x) const;
  void ProjectInto(LayerContext& ctx, ConstMatrix x, Matrix projected) const;
  // The convolution of `channels` channels in all, those of each module behind those of the one
  // before it, of which this rank has some runs: first channel and width each.
  absl::Status LoadConvolution(WeightLoader& loader, const RecurrentConfig& config,
                               const std::vector<std::string>& modules, int64_t channels,
                               std::span<const std::pair<int64_t, int64_t>> runs);

  int64_t first_unit() const { return units_.begin(rank()); }
  int64_t own_units() const { return units_.width(rank()); }
  const CausalConvolution& convolution() const { return convolution_; }

 private:
  ColumnSplit units_;
  std::vector<PackedMatrix> projections_;
  std::vector<float> bias_;                   // of all projections; empty: none
  std::vector<float> weights_, kernel_bias_;  // that convolution_ views
  CausalConvolution convolution_;
};

}  // namespace folkmoot
