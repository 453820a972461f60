// SPDX-License-Identifier: Apache-2.0
// The check that runs with real NCCL where there is a GPU (nccl_gpu_check), here over the fake: it
// must pass, and it must notice a wrong exchange.
#include "tests/support/device_exchange_check.h"

#include <cstring>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/gpu_ranks.h"

namespace folkmoot {
namespace {

class NcclDeviceCheck : public testing::TestWithParam<int> {};

TEST_P(NcclDeviceCheck, Passes) {
  FakeNccl nccl;
  RunGpuRanks(nccl, GetParam(), [](GpuRank& rank) {
    const auto report = CheckDeviceExchange(*rank.nccl, *rank.stream, 64);
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->launches, 4);  // three of the exchange, one of the experts
  });
  EXPECT_EQ(nccl.Complaint(), "");
}
INSTANTIATE_TEST_SUITE_P(Ranks, NcclDeviceCheck, testing::Values(1, 2, 3, 4));

// An all-to-all that forgets the last number of each block.
TEST(NcclDeviceCheckControl, NoticesAWrongAllToAll) {
  FakeNccl nccl;
  RunUnconnectedGpuRanks(2, [&](GpuRank& rank) {
    NcclApi api = nccl.Api();
    api.all_to_all = [right = api.all_to_all](const void* send, void* recv, size_t count,
                                              NcclDataType type, NcclComm comm, NcclStream stream) {
      const NcclResult result = right(send, recv, count, type, comm, stream);
      if (count > 4) std::memset(static_cast<std::byte*>(recv) + count - 4, 0x55, 4);
      return result;
    };
    ASSERT_TRUE(rank.Connect(api).ok());
    EXPECT_THAT(CheckDeviceExchange(*rank.nccl, *rank.stream, 64).status().ToString(),
                testing::HasSubstr("all-to-all brought"));
  });
}

}  // namespace
}  // namespace folkmoot
