// SPDX-License-Identifier: Apache-2.0
// Before what a part of a layer gives joins the stream, both are scaled by learned vectors, so that
// the model decides how much of the stream goes on: shifted, too, in ZAYA1 (Zyphra 2025, arXiv
// 2511.17127), by a gate that keeps the length of the sum in Muse Spark (Meta 2026;
// modeling_muse_spark.py).
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "layers/layer_context.h"
#include "layers/layer_names.h"
#include "layers/weight_loader.h"

namespace folkmoot {

// (x + shift) * scale, by column.
class RowScale {
 public:
  static absl::StatusOr<RowScale> Load(WeightLoader& loader, const RowScaleNames& names, int64_t n);
  explicit RowScale(std::vector<float> scale) : scale_(std::move(scale)) {}
  RowScale() = default;
  // x [T, n]; out may be x.
  void Apply(LayerContext& ctx, ConstMatrix x, Matrix out) const;

 private:
  std::vector<float> shift_, scale_;  // [n]; the first may be empty
};

// Of what a part gives, and of the stream.
struct LearnedResidual {
  static absl::StatusOr<LearnedResidual> Load(WeightLoader& loader, const ResidualNames& names,
                                              int64_t n);
  // beta = sigmoid(gate / temperature) of what a part gives, sqrt(1 - beta^2) of the stream.
  static absl::StatusOr<LearnedResidual> LoadGate(WeightLoader& loader, const std::string& gate,
                                                  float temperature, int64_t n);
  RowScale given, stream;
};

}  // namespace folkmoot
