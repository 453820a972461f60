// SPDX-License-Identifier: Apache-2.0
// MPI_Init to MPI_Finalize as a scope, and the way out when something failed.
//
// After an error nobody may call MPI_Finalize: with a dead peer it never returns. The destructor
// finalizes, so a program that failed must not reach it: it leaves through AbortJob, which ends the
// other ranks too, leaves no orphan, and makes mpirun exit with the given status.
#pragma once

#include <memory>

#include "runtime/status.h"

namespace folkmoot {

// True when the environment says that an MPI launcher (mpirun, srun --mpi, PMI, PMIx) started this
// process. A program started by hand must not call MPI_Init: it would look for a daemon, and may
// fail where no MPI is installed properly.
bool LaunchedByMpi();

// True in the process that speaks for all where ranks need not meet: rank 0, as the launcher's
// environment says, or a process started by hand.
bool IsFirstRank();

// Ends the whole MPI job with exit status `code` (1..255); without MPI, ends this process. Buffered
// output of stdio is flushed first. Destructors do not run.
[[noreturn]] void AbortJob(int code);

class MpiEnvironment {
 public:
  // Initialises MPI for use by the calling thread only (MPI_THREAD_FUNNELED). Once per process.
  // Unless the user chose otherwise, it asks Open MPI on one host for shared memory only (no rank
  // listens on a port), and to leave the yielding of waits to us.
  static absl::StatusOr<std::unique_ptr<MpiEnvironment>> Create();
  // Finalizes MPI. All ranks come here; if one does not within 10 s, the process ends with status
  // 1 instead of hanging.
  ~MpiEnvironment();
  // The destructor does not finalize MPI: nobody waits for ranks that may be gone.
  void LeaveUnfinalized() { finalize_ = false; }
  MpiEnvironment(const MpiEnvironment&) = delete;
  MpiEnvironment& operator=(const MpiEnvironment&) = delete;

 private:
  MpiEnvironment() = default;
  bool finalize_ = true;
};

}  // namespace folkmoot
