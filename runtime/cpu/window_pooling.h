// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "runtime/ops/window_pooling.h"

namespace folkmoot::cpu {

// Numbers that an open window keeps of each channel: maximum, sum, weighted sum, in rows of
// RowPages::Padded(width) each. Where windows overlap, those of the next entry follow.
inline constexpr int64_t kPooled = 3;

void PoolWindows(ThreadPool& pool, const WindowPooling& pooling,
                 std::span<const AttentionSequence> sequences, ConstMatrix values,
                 ConstMatrix gates, RowPages& pages, Workspace& workspace, Matrix entries);

}  // namespace folkmoot::cpu
