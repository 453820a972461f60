// SPDX-License-Identifier: Apache-2.0
// What a rank tells every other before it sends tokens: how many, and where in the plan it is.
// Ranks that disagree find out here, by name, before anybody waits for bytes that never come.
#pragma once

#include <cstdint>
#include <type_traits>

#include "parallel/communicator.h"
#include "parallel/expert_placement.h"
#include "runtime/status.h"

namespace folkmoot {

struct DispatchHeader {
  int64_t step = 0;
  int32_t layer = 0;
  int32_t hidden = 0;
  uint64_t placement = 0;       // ExpertPlacement::Fingerprint
  int64_t rows = 0;             // that follow to this peer
  int64_t choices = 0;          // that follow to this peer
  int64_t weight_on_input = 0;  // 0 or 1: Routing::weight_on_input
};
static_assert(std::is_trivially_copyable_v<DispatchHeader> && sizeof(DispatchHeader) == 48);

// An error when rank `peer`, which sent `theirs`, is not where rank `rank` with `mine` is.
absl::Status CheckSamePlan(int rank, const DispatchHeader& mine, int peer,
                           const DispatchHeader& theirs, const WaitLabel& label);

}  // namespace folkmoot
