// SPDX-License-Identifier: Apache-2.0
#include "layers/query_scale.h"

#include "runtime/ops/norm.h"

namespace folkmoot {

absl::StatusOr<QueryScale> QueryScale::Load(WeightLoader& loader, const QueryScaleNames& names,
                                            int64_t heads, int64_t first, int64_t count) {
  QueryScale scale;
  FM_ASSIGN_OR_RETURN(scale.scale_, loader.VectorPart(names.scale, heads, first, count));
  FM_ASSIGN_OR_RETURN(scale.bias_, loader.VectorPart(names.bias, heads, first, count));
  return scale;
}

void QueryScale::Apply(LayerContext& ctx, std::span<const float> log_positions, Matrix q) const {
  ScaleHeads(ctx.pool, log_positions, scale_, bias_, q);
}

}  // namespace folkmoot
