// SPDX-License-Identifier: Apache-2.0
#include "runtime/ops/window_pooling.h"

#include "runtime/check.h"
#include "runtime/cpu/window_pooling.h"

namespace folkmoot {

RowPages::Track WindowTrack(int64_t width, bool overlapping, int64_t block_size) {
  return {.width = (overlapping ? 2 : 1) * cpu::kPooled * RowPages::Padded(width),
          .rate = block_size};
}

void PoolWindows(ThreadPool& pool, const WindowPooling& pooling,
                 std::span<const AttentionSequence> sequences, ConstMatrix values,
                 ConstMatrix gates, RowPages& pages, Workspace& workspace, Matrix entries) {
  const RowPages::Track& track = pages.track(pooling.track);
  FM_CHECK(pooling.rate > 0 && pooling.width > 0);
  FM_CHECK(track.rate == pages.shape().block_size && track.dtype == DType::kF32);
  FM_CHECK(track.width == WindowTrack(pooling.width, pooling.overlapping, track.rate).width);
  FM_CHECK(std::ssize(pooling.bias) == pooling.rate * pooling.columns());
  FM_CHECK(values.cols == pooling.columns() && gates.cols == values.cols);
  FM_CHECK(values.rows == gates.rows && values.rows == CompletedRows(sequences, 1));
  FM_CHECK(entries.cols == pooling.width);
  FM_CHECK(entries.rows == CompletedRows(sequences, pooling.rate));
  cpu::PoolWindows(pool, pooling, sequences, values, gates, pages, workspace, entries);
}

}  // namespace folkmoot
