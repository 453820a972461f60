// SPDX-License-Identifier: Apache-2.0
// Real NCCL among MPI processes, for machines with a GPU:
//   mpirun -n N nccl_gpu_check [hidden]     every exchange and the dispatcher, see
//                                           tests/support/device_exchange_check.h
//   mpirun -n N nccl_gpu_check --silent     the last rank stops answering; the others must say so
//                                           at their deadline, and their streams must come free
// More ranks than GPUs share them: each process then gives itself an NCCL_HOSTID of its own, so
// that NCCL takes the ranks for different hosts and uses sockets over the loopback device.
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "parallel/mpi_communicator.h"
#include "parallel/mpi_environment.h"
#include "parallel/nccl_communicator.h"
#include "tests/support/device_exchange_check.h"

namespace folkmoot {
namespace {

constexpr std::chrono::seconds kSilentTimeout(3);

int Variable(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::atoi(text);
}

void ShareGpu(int rank) {
  setenv("NCCL_HOSTID", fmt::format("folkmoot-rank-{}", rank).c_str(), 0);
  setenv("NCCL_SOCKET_IFNAME", "lo", 0);
  setenv("NCCL_IB_DISABLE", "1", 0);
  setenv("NCCL_MAX_CTAS", "2", 0);
}

absl::Status SilentRank(Communicator& host, NcclCommunicator& nccl, cuda::Stream& stream) {
  host.set_timeout(kSilentTimeout);
  if (nccl.rank() == nccl.size() - 1) {
    std::this_thread::sleep_for(4 * kSilentTimeout);
    return absl::OkStatus();
  }
  FM_ASSIGN_OR_RETURN(const cuda::Memory memory, cuda::Memory::Allocate(1 << 20, "a check"));
  const GatherPart part{memory.data(), memory.As<std::byte>() + (1 << 16), 1 << 10};
  const WaitLabel label{.phase = "dispatch", .layer = 3, .step = 41};
  absl::Status status = nccl.AllGather(stream, {&part, 1}, label);
  if (status.ok()) status = nccl.Wait(stream, [&label] { return label; });
  std::printf("rank %d was told: %s\n", nccl.rank(), std::string(Message(status)).c_str());
  if (status.ok()) return DataLoss("an exchange ended without the last rank");
  const auto deadline = std::chrono::steady_clock::now() + kSilentTimeout;
  while (!stream.Finished()) {
    if (std::chrono::steady_clock::now() > deadline) return DataLoss("NCCL's kernels did not end");
  }
  std::this_thread::sleep_for(4 * kSilentTimeout);
  return absl::OkStatus();
}

absl::Status Check(Communicator& host, const std::string& mode) {
  FM_ASSIGN_OR_RETURN(const auto devices, cuda::ListDevices());
  const int gpus = static_cast<int>(devices.size());
  const int local_rank = Variable("OMPI_COMM_WORLD_LOCAL_RANK", host.rank());
  NcclOptions options;
  options.allow_shared_gpu = Variable("OMPI_COMM_WORLD_LOCAL_SIZE", host.size()) > gpus;
  if (options.allow_shared_gpu) ShareGpu(host.rank());
  FM_RETURN_IF_ERROR(cuda::UseDevice(local_rank % gpus));
  FM_ASSIGN_OR_RETURN(const auto stream, cuda::Stream::Create());
  const absl::StatusOr<NcclApi> api = LoadNccl(LibrarySearch::FromEnvironment());
  FM_ASSIGN_OR_RETURN(const auto nccl,
                      NcclCommunicator::Create(api, host, stream->device(), *stream, options));
  if (mode == "--silent") return SilentRank(host, *nccl, *stream);
  FM_ASSIGN_OR_RETURN(const DeviceExchangeReport report,
                      CheckDeviceExchange(*nccl, *stream, mode.empty() ? 2048 : std::stoi(mode)));
  if (host.rank() == 0) {
    std::printf(
        "NCCL %s, %d ranks on %d GPUs (%s)%s: layer in fixed sizes %.0f us (%d launches of ours), "
        "in exact sizes %.0f us\n",
        NcclVersionText(api->version).c_str(), host.size(), gpus, devices[0].name.c_str(),
        options.allow_shared_gpu ? ", shared" : "", report.fixed_us, report.launches,
        report.exact_us);
  }
  return absl::OkStatus();
}

int Main(const std::string& mode) {
  if (const auto devices = cuda::ListDevices(); !devices.ok()) {
    std::printf("SKIPPED: no GPU: %s\n", devices.status().ToString().c_str());
    return 0;
  }
  const auto host = MakeMpiCommunicator();
  absl::Status status = host.status();
  if (status.ok()) status = Check(**host, mode);
  if (status.ok()) {
    std::printf("OK\n");
    return 0;
  }
  std::fprintf(stderr, "FAILED: %s\n", std::string(Message(status)).c_str());
  if (host.ok()) (*host)->Abandon(status);
  AbortJob(1);
}

}  // namespace
}  // namespace folkmoot

int main(int argc, char** argv) {
  const auto environment = folkmoot::MpiEnvironment::Create();
  if (!environment.ok()) folkmoot::AbortJob(1);
  return folkmoot::Main(argc > 1 ? argv[1] : "");
}
