// SPDX-License-Identifier: Apache-2.0
// A capacity group that spans the ranks: all tokens of a step.
#pragma once

#include "layers/gates/decisions.h"
#include "parallel/communicator.h"
#include "runtime/status.h"

namespace folkmoot {

// Sorts tokens as a `step` group does: by admission order of the sequence, then by position, then
// as given. `tokens` has one entry per token of `decisions`.
void SortTokens(const Decisions& decisions, std::span<int64_t> tokens);

// Places the tokens of all ranks as one group. Every rank gathers all choices, places all of them
// in the same way and keeps its own rows; this costs a few words per token and makes every
// priority, also those that need a global sort, independent of the number of ranks. Collective.
//
//   rank 0: tokens A B     rank 1: none     rank 2: tokens C D
//   all ranks: sort (A C B D by order and position), claim places in that order, rank 2 reads C, D
absl::Status PlaceAcrossRanks(const GateConfig& config, Communicator& comm, const WaitLabel& label,
                              Workspace& workspace, Decisions& decisions);

}  // namespace folkmoot
