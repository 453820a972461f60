// SPDX-License-Identifier: Apache-2.0
// What tests that run under mpirun get from their main program (mpi_main.cc).
#pragma once

#include "tests/support/rank_world.h"

namespace folkmoot {

// All processes of this MPI job, known once main has begun. The body runs once in each of them,
// with a communicator that is made for it.
const RankWorld& MpiWorld();

}  // namespace folkmoot
