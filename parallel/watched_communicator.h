// SPDX-License-Identifier: Apache-2.0
// A communicator whose waits another thread can see.
#pragma once

#include <memory>

#include "parallel/communicator.h"
#include "parallel/progress.h"

namespace folkmoot {

// `progress` must outlive the result.
std::unique_ptr<Communicator> WatchCommunicator(std::unique_ptr<Communicator> inner,
                                                Progress& progress);

}  // namespace folkmoot
