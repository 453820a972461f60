// SPDX-License-Identifier: Apache-2.0
// How tensor-parallel layers divide their outputs among ranks. Every output keeps its whole sum, so
// the division cannot be seen in a result.
#pragma once

#include <cstdint>

#include "parallel/column_split.h"
#include "runtime/model_config.h"
#include "runtime/ops/gemm.h"

namespace folkmoot {

// The key-value heads of each rank, with which go the query heads that read them. Some ranks may
// have none.
inline ColumnSplit KvHeadSplit(const ModelConfig& config, int ranks) {
  return ColumnSplit::Even(config.kv_heads, 1, ranks);
}

// The same of one layer, whose heads may be others.
inline ColumnSplit KvHeadSplit(const ModelConfig& config, const LayerConfig& layer, int ranks) {
  return ColumnSplit::Even(config.kv_heads_of(layer), 1, ranks);
}

// Groups of heads that an output matrix of their own reads (CompressedConfig).
inline ColumnSplit OutputGroupSplit(const ModelConfig& config, int ranks) {
  return ColumnSplit::Even(config.compressed.output_groups, 1, ranks);
}

// Whole panels of `panel` columns; parts of them where there are fewer panels than ranks.
inline ColumnSplit PanelSplit(int64_t cols, int64_t panel, int ranks) {
  while (panel > 1 && (cols + panel - 1) / panel < ranks) panel /= 2;
  return ColumnSplit::Even(cols, panel, ranks);
}

// Outputs of a matrix product.
inline ColumnSplit OutputSplit(int64_t outputs, int ranks) {
  return PanelSplit(outputs, PackedMatrix::kPanel, ranks);
}

// What ranks divide of mixers with a state: key heads, with which go the value heads that they
// serve, groups of a state space with their heads, channels of a short convolution, or the heads of
// keys of convolved attention, as KvHeadSplit does. Residual convolutions have one unit, all
// ranks'.
inline ColumnSplit RecurrentSplit(const ModelConfig& config, int ranks) {
  if (config.recurrent.kind == Recurrence::kShortConvolution) {
    return OutputSplit(config.hidden, ranks);
  }
  return ColumnSplit::Even(config.recurrent.key_heads, 1, ranks);
}

// Intermediate columns of a gated feed-forward network, whose panels hold gate and up.
inline ColumnSplit IntermediateSplit(int64_t intermediate, int ranks) {
  return PanelSplit(intermediate, PackedMatrix::kPanel / 2, ranks);
}

}  // namespace folkmoot
