// SPDX-License-Identifier: Apache-2.0
#include "layers/models/ends.h"

#include <algorithm>

#include "runtime/ops/norm.h"

namespace folkmoot {

void EmbedTokens(LayerContext& ctx, const RowTable& table, std::span<const int32_t> ids,
                 float multiplier, Matrix hidden) {
  if (table.codes) {
    EmbeddingLookup(ctx.pool, *table.codes, ids, ctx.workspace, hidden);
  } else {
    EmbeddingLookup(ctx.pool, table.plain, ids, hidden);
  }
  if (multiplier != 1.0f) Scale(ctx.pool, multiplier, hidden);
}

Matrix RowsOf(LayerContext& ctx, ConstMatrix x, std::span<const int32_t> rows) {
  const Matrix result = ctx.workspace.GetMatrix(std::ssize(rows), x.cols);
  for (int64_t r = 0; r < result.rows; ++r) {
    std::copy_n(x.Row(rows[static_cast<size_t>(r)]), x.cols, result.Row(r));
  }
  return result;
}

}  // namespace folkmoot
