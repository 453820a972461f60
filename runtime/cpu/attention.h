// SPDX-License-Identifier: Apache-2.0
// CPU side of runtime/ops/attention.h; shapes are checked there.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/ops/attention.h"

namespace folkmoot::cpu {

void StoreKv(ThreadPool& pool, int64_t layer, std::span<const AttentionSequence> sequences,
             ConstMatrix k, ConstMatrix v, KvCache& cache);

void PagedAttention(ThreadPool& pool, const AttentionParams& params,
                    std::span<const AttentionSequence> sequences, ConstMatrix q,
                    const KvCache& cache, Workspace& workspace, Matrix out);

}  // namespace folkmoot::cpu
