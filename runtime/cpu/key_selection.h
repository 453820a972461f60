// SPDX-License-Identifier: Apache-2.0
// CPU side of runtime/ops/key_selection.h; shapes are checked there.
#pragma once

#include <span>

#include "runtime/ops/key_selection.h"

namespace folkmoot::cpu {

void SelectKeys(ThreadPool& pool, const KeySelectionParams& params,
                std::span<const AttentionSequence> sequences, ConstMatrix q, ConstMatrix weights,
                const KvCache& keys, Workspace& workspace, const ChosenKeys& chosen);

void ExpandPools(ThreadPool& pool, int64_t size, std::span<const AttentionSequence> sequences,
                 const ChosenKeys& pools, const ChosenKeys& chosen);

void ChooseBesidePrompt(ThreadPool& pool, int64_t window,
                        std::span<const AttentionSequence> sequences, const ChosenKeys& chosen);

}  // namespace folkmoot::cpu
