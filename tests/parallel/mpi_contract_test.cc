// SPDX-License-Identifier: Apache-2.0
// The contracts with ranks as MPI processes, and what only MPI does.
#include "parallel/mpi_communicator.h"
#include "tests/contract/column_contract.h"
#include "tests/contract/communicator_contract.h"
#include "tests/contract/dispatcher_contract.h"
#include "tests/support/mpi_main.h"

namespace folkmoot {
namespace {

INSTANTIATE_TEST_SUITE_P(Mpi, CommunicatorContract, testing::Values(MpiWorld()), WorldName);
INSTANTIATE_TEST_SUITE_P(Mpi, DispatcherContract, testing::Values(MpiWorld()), WorldName);
INSTANTIATE_TEST_SUITE_P(Mpi, ColumnContract,
                         testing::Combine(testing::Values(MpiWorld()),
                                          testing::Values(ColumnsKind::kMessages,
                                                          ColumnsKind::kShared)),
                         ColumnWorldName);

TEST(MpiCommunicator, LongMessagesTravelInChunks) {
  MpiCommunicatorOptions options;
  options.chunk_bytes = 1000;
  const auto comm = MakeMpiCommunicator(options);
  ASSERT_TRUE(comm.ok()) << comm.status();
  for (int round = 0; round < 6; ++round) {
    TestExchange exchange(**comm, round);
    const auto started = (*comm)->Start(exchange.send, exchange.recv, kTestLabel);
    ASSERT_TRUE(started.ok()) << started.status();
    ASSERT_TRUE((*comm)->Wait(*started).ok());
    exchange.ExpectArrived((*comm)->rank());
  }
}

}  // namespace
}  // namespace folkmoot
