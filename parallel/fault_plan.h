// SPDX-License-Identifier: Apache-2.0
// Faults on purpose, to see a server survive them: which rank does what at which exchange. Only
// behind a flag that says what it is.
//
// A plan is a list, "kill:rank=2,step=40,layer=3;delay:rank=0,step=10,ms=500". Each fault happens
// once, at the first exchange that is not before it: step and layer are lower bounds, and without
// `layer` any exchange of the step will do.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "parallel/communicator.h"

namespace folkmoot {

// kKill: the process is gone. kStop: it stands still, as by SIGSTOP. kDelay: it sleeps. kCorrupt: a
// byte that it sends is another. kDrop: what it sends to one peer never arrives.
enum class FaultKind : uint8_t { kKill, kStop, kDelay, kCorrupt, kDrop };

struct Fault {
  FaultKind kind = FaultKind::kKill;
  int rank = 0;
  int64_t step = 0;
  int layer = -1;     // -1: any
  int64_t ms = 1000;  // of a delay
  int64_t epoch = 1;  // life of the engine that it happens in; 0: every one
};

// Errors name what is wrong with which fault.
absl::StatusOr<std::vector<Fault>> ParseFaultPlan(std::string_view text);

// The same group, where this rank has the faults of the plan that are its own in the life under
// way. `epoch`, the life's number, must outlive the result.
std::unique_ptr<Communicator> AddFaults(std::unique_ptr<Communicator> inner,
                                        std::vector<Fault> plan, const int64_t* epoch);

}  // namespace folkmoot
