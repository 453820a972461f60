// SPDX-License-Identifier: Apache-2.0
#include "layers/learned_residual.h"

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

}  // namespace folkmoot
