// SPDX-License-Identifier: Apache-2.0
// A normalisation of rows with its weights: the kind that the model has, perhaps with a gate.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "layers/layer_context.h"
#include "layers/weight_loader.h"
#include "runtime/model_config.h"
#include "runtime/ops/norm.h"

namespace folkmoot {

class Norm {
 public:
  Norm() = default;  // leaves rows as they are
  // `module` + ".weight" (and ".bias") are vectors [n], or `module` itself is, where it ends in
  // ".scale" (Grok-1). Empty: an RMSNorm without weights.
  static absl::StatusOr<Norm> Load(WeightLoader& loader, const ModelConfig& config,
                                   const std::string& module, int64_t n);
  // The same of another kind than ModelConfig::norm.
  static absl::StatusOr<Norm> Load(WeightLoader& loader, const ModelConfig& config, NormKind kind,
                                   const std::string& module, int64_t n);
  // An RMSNorm without weights of x times the weights of `module`.
  static absl::StatusOr<Norm> LoadLate(WeightLoader& loader, const ModelConfig& config,
                                       const std::string& module, int64_t n);

  // With a gate of ModelConfig::norm_gate_rank: y * sigmoid(W_up silu(W_down y)) for y of the norm.
  // `module` + ".norm", ".W_down" and ".W_up" are modules.
  static absl::StatusOr<Norm> LoadGated(ThreadPool& pool, WeightLoader& loader,
                                        const ModelConfig& config, const std::string& module,
                                        int64_t n);

  void set_eps(float eps) { eps_ = eps; }
  void MultiplyWeights(float factor);

  // x [T, n]; out may be x.
  void Apply(LayerContext& ctx, ConstMatrix x, Matrix out) const;
  // residual += factor * delta, then out = norm(residual). out may be delta.
  void AddApply(LayerContext& ctx, ConstMatrix delta, float factor, Matrix residual,
                Matrix out) const;

 private:
  void ApplyAlone(ThreadPool& pool, ConstMatrix x, Matrix out) const;
  void AddApplyAlone(ThreadPool& pool, ConstMatrix delta, float factor, Matrix residual,
                     Matrix out) const;
  void ApplyGate(LayerContext& ctx, Matrix y) const;

  NormKind kind_ = NormKind::kRms;
  float eps_ = 0;
  std::vector<float> weight_;
  std::vector<float> bias_;   // empty: none
  std::vector<float> first_;  // what x is multiplied with; empty: nothing
  std::optional<GatedFfnWeights> gate_;
};

// An RMSNorm of each of several vectors of n numbers that stand side by side, with weights of its
// own for each.
class StreamNorm {
 public:
  StreamNorm() = default;
  // `module` + ".weight" is [streams * n].
  static absl::StatusOr<StreamNorm> Load(WeightLoader& loader, const ModelConfig& config,
                                         const std::string& module, int64_t streams, int64_t n);
  // All results are multiplied.
  void MultiplyWeights(float factor);
  // x [T, streams * n]; out may be x.
  void Apply(LayerContext& ctx, ConstMatrix x, Matrix out) const;

 private:
  int64_t n_ = 0;
  float eps_ = 0;
  std::vector<float> weight_;
};

// A vector of RMSNorm weights as kernels take it, whatever kind of RMSNorm it is.
absl::StatusOr<std::vector<float>> RmsNormWeights(WeightLoader& loader, NormKind kind,
                                                  const std::string& name, int64_t n);

}  // namespace folkmoot
