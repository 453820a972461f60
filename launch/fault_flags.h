// SPDX-License-Identifier: Apache-2.0
// --fault and --unsafe-faults, of every command that loads a model.
#pragma once

#include <string>
#include <vector>

#include "parallel/fault_plan.h"
#include "runtime/status.h"

namespace CLI {  // NOLINT(readability-identifier-naming): the name that CLI11 has
class App;
}

namespace folkmoot {

struct FaultFlags {
  std::string plan;
  bool unsafe = false;
  int64_t epoch = 1;  // not a flag: the life of the engine that this process is a rank of
};

void AddFaultFlags(CLI::App& app, FaultFlags* flags);

// An error is one of usage.
absl::StatusOr<std::vector<Fault>> ReadFaults(const FaultFlags& flags);

// This process is `site` from here on, and has the faults that the plan has for it. Before it has
// threads that read, write or allocate. An empty plan costs nothing.
absl::Status ArmFaults(const FaultFlags& flags, const FaultSite& site);

// With "count" in the plan: what this process has reached, on stderr. Once, at its end.
void PrintFaultCounts(const FaultFlags& flags, const FaultSite& site);

}  // namespace folkmoot
