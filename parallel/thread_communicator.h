// SPDX-License-Identifier: Apache-2.0
// Ranks as threads of one process: what tests and single-process runs use. With one rank an
// exchange is a copy to oneself and a wait is nothing at all.
#pragma once

#include <memory>
#include <vector>

#include "parallel/communicator.h"

namespace folkmoot {

// Element r is rank r of a group of `ranks`. Each is used by one thread; they may be destroyed in
// any order. Destroying one is the death of its rank: peers that wait for it fail at once with
// "rank 2 is gone".
std::vector<std::unique_ptr<Communicator>> MakeThreadCommunicators(int ranks);

}  // namespace folkmoot
