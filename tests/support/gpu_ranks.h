// SPDX-License-Identifier: Apache-2.0
// Ranks as threads, each with a simulated GPU, a stream and the fake NCCL.
#pragma once

#include <functional>
#include <memory>

#include "gtest/gtest.h"
#include "parallel/nccl_communicator.h"
#include "tests/support/fake_nccl.h"
#include "tests/support/rank_test.h"

namespace folkmoot {

// What one rank has. `nccl` is made by Connect.
struct GpuRank {
  Communicator& host;
  std::unique_ptr<cuda::Stream> stream;
  cuda::DeviceInfo device;
  std::unique_ptr<NcclCommunicator> nccl;

  absl::Status Connect(const absl::StatusOr<NcclApi>& api, const NcclOptions& options = {}) {
    FM_ASSIGN_OR_RETURN(nccl, NcclCommunicator::Create(api, host, device, *stream, options));
    return absl::OkStatus();
  }
};

inline void RunUnconnectedGpuRanks(int ranks, const std::function<void(GpuRank&)>& body) {
  RunRanks(ranks, [&](Communicator& comm) {
    ASSERT_TRUE(cuda::UseDevice(comm.rank()).ok());
    GpuRank rank{comm, cuda::Stream::Create().value(), {}, nullptr};
    rank.device = rank.stream->device();
    body(rank);
  });
}

inline void RunGpuRanks(FakeNccl& nccl, int ranks, const std::function<void(GpuRank&)>& body) {
  RunUnconnectedGpuRanks(ranks, [&](GpuRank& rank) {
    const absl::Status connected = rank.Connect(nccl.Api());
    ASSERT_TRUE(connected.ok()) << connected;
    body(rank);
  });
}

}  // namespace folkmoot
