// SPDX-License-Identifier: Apache-2.0
// Ranks as MPI processes; host memory.
//
// Exchanges are MPI_Isend and MPI_Irecv per peer rather than MPI_Ialltoallv: when a deadline passes
// it is then known which peers are missing, and peers that exchange nothing cost nothing. Waiting
// polls: a short spin where each rank has a core of its own, then sched_yield, then short sleeps,
// so that ranks which share cores do not starve each other.
//
// While it waits, a rank looks every 50 ms whether its peers on the same host are alive, and fails
// at once with "rank 2 (pid 4711 on node3) is gone" when one is not.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "parallel/communicator.h"

namespace folkmoot {

struct MpiCommunicatorOptions {
  // Longer messages travel in pieces: MPI counts are ints.
  int64_t chunk_bytes = int64_t{1} << 30;
  // Compute threads of every rank. When ranks x threads exceed the cores of the host, waits yield
  // from the start.
  int threads_per_rank = 1;
  // For making the communicator; also the first timeout() of the result is 30 s.
  std::chrono::milliseconds setup_timeout = std::chrono::seconds(120);
};

// All processes of the MPI job, over communicators of its own. Collective. Needs an MpiEnvironment,
// which must outlive it; only the thread that made the environment may use it.
absl::StatusOr<std::unique_ptr<Communicator>> MakeMpiCommunicator(
    const MpiCommunicatorOptions& options = {});

}  // namespace folkmoot
