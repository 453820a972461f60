// SPDX-License-Identifier: Apache-2.0
// `folkmoot bench a2a`: how long tokens travel to their experts and back, without the experts.
#pragma once

#include <cstdint>
#include <ostream>
#include <vector>

#include "launch/command.h"
#include "parallel/communicator.h"
#include "parallel/dispatcher.h"
#include "runtime/status.h"

namespace folkmoot {

struct BenchA2aOptions {
  std::vector<int64_t> tokens = {1, 8, 64, 512};  // per rank; the experts are the placement's
  std::vector<int64_t> hidden = {1024, 4096};
  std::vector<int> top_k = {2, 8};
  int warm_up = 10;
  int iterations = 100;
  uint64_t seed = 0;
  DispatcherKind dispatcher = DispatcherKind::kAuto;
  bool json = false;  // one JSON object instead of the table
};

// Collective. Times dispatch + combine round trips of random tokens over `placement` for every
// combination of the options, as rank 0 sees them, and checks every number that returns, bit by
// bit, in the first and the last round trip. Rank 0 writes to `out`; the others write nothing.
//
// GB/s counts the bytes that cross ranks (rows, choices and results, of all ranks together) per
// median round trip. An error when a result is wrong, an option is out of range, or a rank fails.
absl::Status RunBenchAllToAll(Communicator& comm, const ExpertPlacement& placement,
                              const BenchA2aOptions& options, std::ostream& out);

Command MakeBenchAllToAll(CLI::App& bench);

}  // namespace folkmoot
