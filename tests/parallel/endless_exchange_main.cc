// SPDX-License-Identifier: Apache-2.0
// Ranks that exchange for ever, to be killed by rank_death_test.sh. Prints "rank 1 pid 4711" on
// standard output once all ranks are in the loop; on an error, the error on standard error, and
// leaves the way every program of ours does.
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "parallel/mpi_communicator.h"
#include "parallel/mpi_environment.h"

namespace folkmoot {
namespace {

absl::Status ExchangeForEver(Communicator& comm) {
  constexpr size_t kBytes = 20000;
  const std::vector<std::byte> mine(kBytes);
  std::vector<std::byte> all(kBytes * static_cast<size_t>(comm.size()));
  for (int64_t step = 0;; ++step) {
    FM_RETURN_IF_ERROR(AllGather(comm, mine, all, {.phase = "dispatch", .layer = 3, .step = step}));
    if (step == 100) {
      std::printf("rank %d pid %d\n", comm.rank(), getpid());
      std::fflush(stdout);
    }
  }
}

}  // namespace
}  // namespace folkmoot

int main() {
  auto environment = folkmoot::MpiEnvironment::Create();
  if (!environment.ok()) folkmoot::AbortJob(1);
  auto comm = folkmoot::MakeMpiCommunicator();
  absl::Status status = comm.status();
  if (comm.ok()) {
    (*comm)->set_timeout(std::chrono::seconds(3));
    status = folkmoot::ExchangeForEver(**comm);
    (*comm)->Abandon(status);
  }
  std::fprintf(stderr, "error: %s\n", std::string(folkmoot::Message(status)).c_str());
  folkmoot::AbortJob(1);
}
