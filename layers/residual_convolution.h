// SPDX-License-Identifier: Apache-2.0
// The short convolutions of Inkling (Thinking Machines 2026): rows go through a causal convolution
// of each channel by itself, and are added to what comes out,
//
//   out[t] = x[t] + sum over j of w[j] * x[t - rows + 1 + j].
//
// In Inkling 2 that is divided by the root of rows + 1 (RecurrentConfig::scaled), or, where each
// token makes taps that join w, of 2 rows + 1: whatever is added up keeps its size.
//
// Keys and values of a layer go through one, what its attention gives through another, and what its
// feed-forward network gives through a third. The rows that they will see again are in one slot of
// RecurrentState.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "layers/attention.h"
#include "runtime/ops/causal_convolution.h"

namespace folkmoot {

class ResidualConvolution {
 public:
  // What goes through it.
  enum class Place : uint8_t { kAttention, kFfn, kKeysAndValues };
  // Channels first .. first + width of the kernels of a module, [channels, 1, rows].
  struct Kernels {
    std::string module;
    int64_t channels = 0;
    int64_t first = 0;
    int64_t width = 0;
  };

  // Of layer `layer` of the model. Channels are those of all kernels in turn.
  static absl::StatusOr<ResidualConvolution> Load(WeightLoader& loader, const ModelConfig& config,
                                                  int64_t layer, Place place,
                                                  std::span<const Kernels> kernels);
  // Of keys and values, with taps: each kernel is a whole name, [rows, channels], the row's own
  // first.
  static absl::StatusOr<ResidualConvolution> LoadDynamic(WeightLoader& loader,
                                                         const ModelConfig& config, int64_t layer,
                                                         std::span<const Kernels> kernels);
  // Of one layer; room for the keys and values of all ranks, since layers may have different heads.
  static RecurrentState::LayerShape StateOf(const ModelConfig& config);

  // As if x were multiplied with it first.
  void MultiplyInputs(float factor);

  // x and out [T, channels], different matrices. Takes step.state further. `taps`, where there are
  // some: [T, heads * rows], the row's own first (CausalConvolution), which are multiplied.
  void Apply(LayerContext& ctx, const AttentionStep& step, ConstMatrix x, Matrix out,
             Matrix taps = {}) const;

 private:
  ResidualConvolution(const ModelConfig& config, int64_t layer, Place place,
                      std::span<const Kernels> kernels);

  float factor_ = 1;            // of all that comes out
  int64_t layer_ = 0;           // of the state
  std::vector<float> weights_;  // that convolution_ views
  CausalConvolution convolution_;
};

}  // namespace folkmoot
