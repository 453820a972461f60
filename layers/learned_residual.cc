// SPDX-License-Identifier: Apache-2.0
#include "layers/learned_residual.h"

#include <algorithm>
#include <cmath>

#include "runtime/ops/norm.h"

namespace folkmoot {

absl::StatusOr<RowScale> RowScale::Load(WeightLoader& loader, const RowScaleNames& names,
                                        int64_t n) {
  RowScale scale;
  FM_ASSIGN_OR_RETURN(scale.shift_, loader.Vector(names.shift, n));
  FM_ASSIGN_OR_RETURN(scale.scale_, loader.Vector(names.scale, n));
  return scale;
}

void RowScale::Apply(LayerContext& ctx, ConstMatrix x, Matrix out) const {
  ShiftScale(ctx.pool, x, shift_, scale_, out);
}

absl::StatusOr<LearnedResidual> LearnedResidual::Load(WeightLoader& loader,
                                                      const ResidualNames& names, int64_t n) {
  LearnedResidual residual;
  FM_ASSIGN_OR_RETURN(residual.given, RowScale::Load(loader, names.given, n));
  FM_ASSIGN_OR_RETURN(residual.stream, RowScale::Load(loader, names.stream, n));
  return residual;
}

absl::StatusOr<LearnedResidual> LearnedResidual::LoadGate(WeightLoader& loader,
                                                          const std::string& gate,
                                                          float temperature, int64_t n) {
  constexpr float kLeast = 1e-3f;  // of the square; as the authors have it
  FM_ASSIGN_OR_RETURN(std::vector<float> given, loader.Vector(gate, n));
  std::vector<float> stream(given.size());
  for (size_t i = 0; i < given.size(); ++i) {
    const float w = given[i] / temperature;
    given[i] = 1.0f / (1.0f + std::exp(-w));
    const float rest = 1.0f / (1.0f + std::exp(w));  // 1 - given, also where that is small
    stream[i] = std::sqrt(std::max(rest * (1.0f + given[i]), kLeast));
  }
  LearnedResidual residual;
  residual.given = RowScale(std::move(given));
  residual.stream = RowScale(std::move(stream));
  return residual;
}

}  // namespace folkmoot
