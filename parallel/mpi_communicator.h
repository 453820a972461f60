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
#include <span>

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
  // The last processes of the job, so many, are no ranks: they can take the place of ranks that
  // have died.
  int spares = 0;
};

// A group of MPI processes whose dead ranks can be replaced.
//
// MPI has no part in that: no call of it that needs a dead process, or that waits. The survivors
// give up what was under way, and all go over to MPI communicators that were made at the start.
class MpiCommunicator : public Communicator {
 public:
  // The number of this process in the job, which never changes. It is also its first rank; of a
  // spare, rank() is -1, and it can do nothing but Regroup.
  virtual int process() const = 0;

  // From any thread: the waits of groups before this one, those under way and those to come, end
  // at once with an error. The first group is 0.
  virtual void Cancel(int next_group) = 0;

  // Makes group `group`, 1 to `spares`, whole again: members[r] is the process that is rank r from
  // now on. All of them call it, with the same members. Others may skip groups; numbers only grow.
  // Needs no other process, and waits for none but those that are about to end.
  //
  // Buffers of exchanges under way must stay as they are until all members have come to an
  // exchange of the new group; then MPI touches them no more. Where that cannot be known
  // (DeadlineExceeded), the group is broken for good.
  virtual absl::Status Regroup(int group, std::span<const int> members) = 0;
};

// All processes of the MPI job but spare ones, over MPI communicators of its own. Collective. Needs
// an MpiEnvironment, which must outlive it; only the thread that made the environment may use it.
absl::StatusOr<std::unique_ptr<MpiCommunicator>> MakeMpiCommunicator(
    const MpiCommunicatorOptions& options = {});

}  // namespace folkmoot
