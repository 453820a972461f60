// SPDX-License-Identifier: Apache-2.0
// A communicator whose exchanges go wrong on purpose.
#pragma once

#include <memory>
#include <vector>

#include "parallel/communicator.h"
#include "parallel/fault_plan.h"

namespace folkmoot {

// The same group, where this rank has the faults of the plan that are its own in this life of the
// engine, and its exchanges are points of faults.
std::unique_ptr<Communicator> AddFaults(std::unique_ptr<Communicator> inner,
                                        const std::vector<Fault>& plan, int64_t epoch);

}  // namespace folkmoot
