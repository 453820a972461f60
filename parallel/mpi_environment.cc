// SPDX-License-Identifier: Apache-2.0
#include "parallel/mpi_environment.h"

#include <mpi.h>
#include <sys/uio.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>

namespace folkmoot {
namespace {

constexpr std::chrono::seconds kFinalizeTimeout(10);

bool HasVariable(const char* name) { return std::getenv(name) != nullptr; }

int NumberOf(const char* name) {
  const char* text = std::getenv(name);
  return text == nullptr ? 0 : std::atoi(text);
}

// Some containers forbid process_vm_readv, by which Open MPI copies between processes; it then
// prints errors and loses messages. Trying it on ourselves tells.
bool CanReadOtherProcesses() {
  char from = 1;
  char to = 0;
  iovec local{&to, 1};
  iovec remote{&from, 1};
  return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == 1;
}

// Settings that Open MPI reads in MPI_Init. None overrides a choice of the user, whose `--mca`
// options arrive in the same variables.
void ChooseTransport() {
  const int local = NumberOf("OMPI_COMM_WORLD_LOCAL_SIZE");
  if (local == 0) return;  // not Open MPI
  if (local == NumberOf("OMPI_COMM_WORLD_SIZE") && !HasVariable("OMPI_MCA_pml") &&
      !HasVariable("OMPI_MCA_btl")) {
    setenv("OMPI_MCA_pml", "ob1", 0);
    setenv("OMPI_MCA_btl", "self,vader", 0);
  }
  // We never block in MPI, and between our polls we choose ourselves how to give up the core
  // (parallel/backoff.h); a yield inside every poll would cost a turn of everybody else.
  setenv("OMPI_MCA_mpi_yield_when_idle", "0", 0);
  if (!CanReadOtherProcesses()) {
    setenv("OMPI_MCA_btl_vader_single_copy_mechanism", "none", 0);
  }
}

}  // namespace

bool LaunchedByMpi() {
  // Slurm sets SLURM_PROCID for every program it starts; only with PMI is it an MPI launch.
  return HasVariable("OMPI_COMM_WORLD_SIZE") || HasVariable("PMIX_RANK") ||
         HasVariable("PMI_RANK") || HasVariable("PMI_SIZE") || HasVariable("MPI_LOCALRANKID");
}

bool IsFirstRank() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"}) {
    if (const char* rank = std::getenv(name)) return std::string_view(rank) == "0";
  }
  return true;
}

void AbortJob(int code) {
  std::fflush(nullptr);
  int initialized = 0;
  int finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  if (initialized != 0 && finalized == 0) MPI_Abort(MPI_COMM_WORLD, code);
  std::_Exit(code);
}

absl::StatusOr<std::unique_ptr<MpiEnvironment>> MpiEnvironment::Create() {
  int initialized = 0;
  MPI_Initialized(&initialized);
  if (initialized != 0) return FailedPrecondition("MPI was initialised before");
  ChooseTransport();
  int provided = MPI_THREAD_SINGLE;
  if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS) {
    return Unavailable("MPI_Init failed; was the program started with mpirun?");
  }
  if (provided < MPI_THREAD_FUNNELED) {
    return FailedPrecondition(
        "this MPI library offers thread level {}, Folkmoot needs MPI_THREAD_FUNNELED ({}); install "
        "one that was built with threads",
        provided, MPI_THREAD_FUNNELED);
  }
  return std::unique_ptr<MpiEnvironment>(new MpiEnvironment());
}

MpiEnvironment::~MpiEnvironment() {
  if (!finalize_) return;
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
  // MPI_Finalize waits for all ranks without a deadline of its own: one that died in the meantime
  // would hold the others for ever when mpirun runs with recovery enabled.
  std::thread watchdog([&] {
    std::unique_lock lock(mutex);
    if (changed.wait_for(lock, kFinalizeTimeout, [&] { return done; })) return;
    std::fputs("folkmoot: MPI_Finalize did not return within 10 s: a rank is gone\n", stderr);
    std::_Exit(1);
  });
  MPI_Finalize();
  {
    const std::lock_guard lock(mutex);
    done = true;
  }
  changed.notify_all();
  watchdog.join();
}

}  // namespace folkmoot
