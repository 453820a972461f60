// SPDX-License-Identifier: Apache-2.0
// usage: mpi_regroup SPARES HOW VICTIM...
// Ranks that exchange, in a job with SPARES spare processes. The victims, one after the other, end
// in the middle of an exchange: HOW is `kill`, or `stop`, where the process stands still until a
// peer kills it and cancels everybody's waits. A spare takes the rank of each. Every byte of every
// exchange is checked, in buffers that are used again and again, so that a message of a group that
// was given up would show. For mpi_regroup_test.sh: each process that ends well says so.
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "parallel/mpi_communicator.h"
#include "parallel/mpi_environment.h"

namespace folkmoot {
namespace {

using std::chrono::milliseconds;

constexpr size_t kSizes[] = {300, 20'000, 1'000'000, 5};
constexpr int kSteps = 60;
constexpr int kLastStep = 41;  // of a victim: of a million bytes, or of five
constexpr milliseconds kStandsStill(300);

class Member {
 public:
  Member(MpiCommunicator& comm, std::vector<int> victims, bool stop)
      : comm_(comm), victims_(std::move(victims)), stop_(stop) {}

  absl::Status Run() {
    const int ranks = comm_.size();
    std::vector<int> members(static_cast<size_t>(ranks));
    for (int r = 0; r < ranks; ++r) members[static_cast<size_t>(r)] = r;
    for (size_t g = 0;; ++g) {
      const int victim = g < victims_.size() ? victims_[g] : -1;
      const absl::Status status = comm_.rank() < 0 ? absl::OkStatus() : Exchange(g, victim);
      if (victim < 0) return status;
      if (comm_.rank() >= 0 && status.ok())
        return FailedPrecondition("group {} outlived its victim", g);
      if (comm_.rank() >= 0) comm_.Abandon(status);  // as ranks do
      members[static_cast<size_t>(victim)] = ranks + static_cast<int>(g);
      const auto begin = std::chrono::steady_clock::now();
      // A spare process goes over when it is needed, and not before.
      if (comm_.rank() < 0 && comm_.process() != ranks + static_cast<int>(g)) continue;
      FM_RETURN_IF_ERROR(comm_.Regroup(static_cast<int>(g) + 1, members));
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
      if (took > milliseconds(900)) return DeadlineExceeded("group {} took {} s", g, took.count());
    }
  }

 private:
  static std::byte Value(int rank, size_t group, int step) {
    return static_cast<std::byte>(
        (static_cast<size_t>(rank) * 31 + group * 7 + static_cast<size_t>(step) * 3) % 251);
  }

  absl::Status Exchange(size_t group, int victim) {
    const auto ranks = static_cast<size_t>(comm_.size());
    if (in_.size() != ranks) in_.assign(ranks, std::vector<std::byte>(kSizes[2]));
    out_.resize(kSizes[2]);
    const bool dies = comm_.rank() == victim;
    FM_RETURN_IF_ERROR(LearnPids());
    std::thread fence;
    if (stop_ && victim >= 0 && !dies) {
      fence = std::thread([this, group, victim] {
        std::this_thread::sleep_for(kStandsStill * 3);
        kill(pids_[static_cast<size_t>(victim)], SIGKILL);
        comm_.Cancel(static_cast<int>(group) + 1);
      });
    }
    absl::Status status;
    for (int step = 0; status.ok() && (step < kSteps || victim >= 0); ++step) {
      status = OneStep(group, step, dies && step == kLastStep + static_cast<int>(group));
    }
    if (fence.joinable()) fence.join();
    return status;
  }

  absl::Status LearnPids() {
    const int own = getpid();
    pids_.resize(static_cast<size_t>(comm_.size()));
    return AllGather(comm_, std::as_bytes(std::span(&own, 1)),
                     std::as_writable_bytes(std::span(pids_)), {.phase = "pids"});
  }

  absl::Status OneStep(size_t group, int step, bool last) {
    const size_t bytes = kSizes[static_cast<size_t>(step) % std::size(kSizes)];
    std::fill(out_.begin(), out_.end(), Value(comm_.rank(), group, step));
    std::vector<ConstBytes> send(in_.size(), ConstBytes(out_).first(bytes));
    std::vector<MutableBytes> recv;
    for (std::vector<std::byte>& from : in_) recv.push_back(MutableBytes(from).first(bytes));
    FM_ASSIGN_OR_RETURN(const folkmoot::Exchange exchange,
                        comm_.Start(send, recv, {.phase = "dispatch", .layer = 1, .step = step}));
    if (last) std::raise(stop_ ? SIGSTOP : SIGKILL);
    FM_RETURN_IF_ERROR(comm_.Wait(exchange));
    for (size_t q = 0; q < in_.size(); ++q) {
      const std::byte expected = Value(static_cast<int>(q), group, step);
      for (size_t i = 0; i < bytes; ++i) {
        if (in_[q][i] == expected) continue;
        fmt::print(stderr, "error: group {}, step {}: byte {} from rank {} is wrong\n", group, step,
                   i, q);
        std::_Exit(1);
      }
    }
    return absl::OkStatus();
  }

  MpiCommunicator& comm_;
  const std::vector<int> victims_;
  const bool stop_;
  std::vector<int> pids_;
  std::vector<std::byte> out_;
  std::vector<std::vector<std::byte>> in_;
};

}  // namespace
}  // namespace folkmoot

int main(int argc, char** argv) {
  const auto environment = folkmoot::MpiEnvironment::Create();
  if (!environment.ok() || argc < 3) folkmoot::AbortJob(1);
  folkmoot::MpiCommunicatorOptions options;
  options.spares = std::atoi(argv[1]);
  std::vector<int> victims;
  for (int i = 3; i < argc; ++i) victims.push_back(std::atoi(argv[i]));
  absl::Status status;
  auto comm = folkmoot::MakeMpiCommunicator(options);
  status = comm.status();
  if (comm.ok()) {
    (*comm)->set_timeout(std::chrono::seconds(20));
    status = folkmoot::Member(**comm, victims, std::string(argv[2]) == "stop").Run();
  }
  if (status.ok()) {
    std::printf("well: process %d, rank %d\n", (*comm)->process(), (*comm)->rank());
  } else {
    std::fprintf(stderr, "error: %s\n", std::string(folkmoot::Message(status)).c_str());
  }
  std::fflush(nullptr);
  std::_Exit(0);  // MPI_Finalize would wait for the dead
}
