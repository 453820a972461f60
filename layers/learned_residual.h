// SPDX-License-Identifier: Apache-2.0
// ZAYA1's residual (Zyphra 2025, arXiv 2511.17127): before what a part of a layer gives joins the
// stream, both are shifted and scaled by learned vectors, so that the model decides how much of the
// stream goes on.
#pragma once

#include <vector>

#include "layers/layer_context.h"
#include "layers/layer_names.h"
#include "layers/weight_loader.h"

namespace folkmoot {

// (x + shift) * scale, by column.
class RowScale {
 public:
  static absl::StatusOr<RowScale> Load(WeightLoader& loader, const RowScaleNames& names, int64_t n);
  // x [T, n]; out may be x.
  void Apply(LayerContext& ctx, ConstMatrix x, Matrix out) const;

 private:
  std::vector<float> shift_, scale_;  // [n]
};

// Of what a part gives, and of the stream.
struct LearnedResidual {
  static absl::StatusOr<LearnedResidual> Load(WeightLoader& loader, const ResidualNames& names,
                                              int64_t n);
  RowScale given, stream;
};

}  // namespace folkmoot
