// SPDX-License-Identifier: Apache-2.0
// Stages 6 and 7 of a gate: choices claim places in the experts of one capacity group, and those
// that find none overflow or are rerouted.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "layers/gates/decisions.h"
#include "parallel/routing.h"

namespace folkmoot {

// The tokens that share places.
struct CapacityGroupView {
  std::span<const int64_t> tokens;  // rows of Decisions, in the order of the group
  std::optional<int64_t> capacity;  // places per expert; nullopt = no limit
  std::span<int32_t> used;          // [E] claims so far, carried in and out
};

// Resolves every kWanted claim of the group and gives places. Slot-major order is GShard's
// (Lepikhin et al. 2020), batch_prioritized is V-MoE's (Riquelme et al. 2021).
void PlaceGroup(const GateConfig& config, const CapacityGroupView& group, Workspace& workspace,
                Decisions& decisions);

// What routing the token at `position` did to the counters [E] of its sequence chunk, from its
// routing alone: expert, state [K]. Only for gates whose counters depend on nothing but the tokens
// before (InvarianceClass::kSequenceChunkCausal).
void CountClaims(const GateConfig& config, int64_t position, std::span<const int32_t> expert,
                 std::span<const SlotState> state, std::span<int32_t> used);

}  // namespace folkmoot
