// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "runtime/ops/row_attention.h"

namespace folkmoot::cpu {

void RowAttention(ThreadPool& pool, const RowAttentionParams& params,
                  std::span<const AttentionSequence> sequences, ConstMatrix q,
                  const RowPages& pages, Workspace& workspace, Matrix out);
void SelectRows(ThreadPool& pool, const RowSelectionParams& params,
                std::span<const AttentionSequence> sequences, ConstMatrix q, ConstMatrix weights,
                const RowPages& pages, Workspace& workspace, const ChosenKeys& chosen);

}  // namespace folkmoot::cpu
