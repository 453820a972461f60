// SPDX-License-Identifier: Apache-2.0
// A communicator whose exchanges go wrong on purpose.
#pragma once

#include <memory>
#include <vector>

#include "parallel/communicator.h"
#include "parallel/fault_plan.h"

namespace folkmoot {

// The same group, where this rank has the faults of the plan that are its own in the life of the
// engine under way, and its exchanges are points of faults. `epoch`, the life's number, must
// outlive the result.
std::unique_ptr<Communicator> AddFaults(std::unique_ptr<Communicator> inner,
                                        std::vector<Fault> plan, const int64_t* epoch);

}  // namespace folkmoot
