// SPDX-License-Identifier: Apache-2.0
// A whole engine in one process, its ranks as threads: `folkmoot verify` and the tests.
#pragma once

#include <functional>

#include "launch/engine.h"
#include "launch/loaded_rank.h"

namespace folkmoot {

// Loads options.model on `ranks` ranks with `threads` compute threads each, runs `body` on rank 0
// while the others work, and shuts down. Returns the first error, of the lowest rank. `adjust` may
// change what the scheduler is told.
absl::Status RunOnThreadRanks(const EngineOptions& options, int ranks, int threads,
                              const std::function<absl::Status(Engine&, LoadedRank&)>& body,
                              const std::function<void(SchedulerOptions&)>& adjust = nullptr);

}  // namespace folkmoot
