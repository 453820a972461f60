// SPDX-License-Identifier: Apache-2.0
// The contracts with ranks as threads, and what only threads do.
#include "tests/contract/column_contract.h"
#include "tests/contract/communicator_contract.h"
#include "tests/contract/dispatcher_contract.h"

namespace folkmoot {
namespace {

INSTANTIATE_TEST_SUITE_P(Threads, CommunicatorContract,
                         testing::ValuesIn(ThreadWorlds({1, 2, 3, 4, 7})), WorldName);
INSTANTIATE_TEST_SUITE_P(Threads, DispatcherContract,
                         testing::ValuesIn(ThreadWorlds({1, 2, 3, 4, 7})), WorldName);
INSTANTIATE_TEST_SUITE_P(Threads, ColumnContract,
                         testing::Combine(testing::ValuesIn(ThreadWorlds({1, 2, 3, 4})),
                                          testing::Values(ColumnsKind::kMessages,
                                                          ColumnsKind::kShared)),
                         ColumnWorldName);

TEST(ThreadCommunicator, ADestroyedRankIsGone) {
  std::vector<std::unique_ptr<Communicator>> ranks = MakeThreadCommunicators(3);
  std::thread waiting([&] {
    const Stopwatch stopwatch;
    const absl::Status status = Barrier(*ranks[0], kTestLabel);
    EXPECT_EQ(Message(status), "rank 0: layer 3 dispatch of step 41: rank 2 is gone");
    EXPECT_LT(stopwatch.elapsed(), kSoon);
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  ranks[2].reset();
  waiting.join();
  EXPECT_EQ(Message(Barrier(*ranks[1], {.phase = "plan"})), "rank 1: plan: rank 2 is gone");
}

TEST(ThreadCommunicator, CheckPeersNamesADestroyedRank) {
  std::vector<std::unique_ptr<Communicator>> ranks = MakeThreadCommunicators(3);
  EXPECT_TRUE(ranks[0]->CheckPeers(kTestLabel).ok());
  ranks[1].reset();
  EXPECT_EQ(Message(ranks[0]->CheckPeers(kTestLabel)),
            "rank 0: layer 3 dispatch of step 41: rank 1 is gone");
}

TEST(ThreadCommunicator, APeerThatExpectedNothingIsNamed) {
  RunRanks(2, [](Communicator& comm) {
    std::byte data{};
    std::vector<ConstBytes> send(2);
    const std::vector<MutableBytes> recv(2);
    if (comm.rank() == 1) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      send[0] = ConstBytes(&data, 1);
    }
    const auto started = comm.Start(send, recv, kTestLabel);
    if (comm.rank() == 0) {
      EXPECT_TRUE(comm.Wait(started.value()).ok());
      return;
    }
    EXPECT_EQ(started.status().code(), absl::StatusCode::kDataLoss);
  });
}

// The drawing in all_to_all_dispatcher.h, number by number. Rows hold the letter of their token.
TEST(AllToAllDispatcher, WorkedExample) {
  RunRanks(3, [](Communicator& comm) {
    const size_t rank = static_cast<size_t>(comm.rank());
    const ExpertPlacement placement = ExpertPlacement::Contiguous(6, 3);
    const auto dispatcher = MakeDispatcher(DispatcherKind::kAllToAll, comm, placement).value();
    const auto handle = dispatcher->MakeHandle();
    const std::vector<std::vector<float>> letters = {{'a', 'b'}, {'c', 'd'}, {'e', 'f'}};
    std::vector<std::vector<int32_t>> experts = {{2, 3, 0, 4}, {2, 5, 5, 0}, {1, 0, 3, 0}};
    std::vector<float> weights = {0.75f, 0.25f, 0.5f, 0.5f};
    std::vector<SlotAction> actions(4, SlotAction::kExpert);
    if (rank == 1) actions[3] = SlotAction::kNone;
    Routing routing;
    routing.tokens = 2;
    routing.top_k = 2;
    routing.expert = experts[rank];
    routing.weight = weights;
    routing.action = actions;
    const ConstMatrix x(letters[rank].data(), 2, 1);
    ASSERT_TRUE(dispatcher->StartDispatch(x, routing, kTestLabel, *handle).ok());
    const ExpertBatch batch = dispatcher->FinishDispatch(*handle).value();
    const std::vector<std::vector<float>> rows = {
        {'b', 'e', 'f', 'e'}, {'a', 'c', 'a', 'f'}, {'b', 'c', 'd'}};
    const std::vector<std::vector<int64_t>> offsets = {{0, 3, 4}, {0, 2, 4}, {0, 1, 3}};
    EXPECT_EQ(std::vector<float>(batch.rows.data, batch.rows.data + batch.rows.rows), rows[rank]);
    EXPECT_EQ(std::vector<int64_t>(batch.offsets.begin(), batch.offsets.end()), offsets[rank]);
    std::vector<float> expert_out = rows[rank];
    for (size_t slot = 0; slot < 2; ++slot) {  // expert e multiplies by e + 1
      for (int64_t r = batch.offsets[slot]; r < batch.offsets[slot + 1]; ++r) {
        expert_out[static_cast<size_t>(r)] *=
            static_cast<float>(placement.experts_of(comm.rank())[slot] + 1);
      }
    }
    ASSERT_TRUE(dispatcher->StartCombine({expert_out.data(), batch.rows.rows, 1}, *handle).ok());
    std::vector<float> out(2);
    ASSERT_TRUE(dispatcher->FinishCombine(*handle, {out.data(), 2, 1}).ok());
    const std::vector<std::vector<float>> sums = {
        {(0.75f * 3 + 0.25f * 4) * 'a', (0.5f * 1 + 0.5f * 5) * 'b'},
        {(0.75f * 3 + 0.25f * 6) * 'c', 0.5f * 6 * 'd'},
        {(0.75f * 2 + 0.25f * 1) * 'e', (0.5f * 4 + 0.5f * 1) * 'f'}};
    EXPECT_EQ(out, sums[rank]);
  });
}

}  // namespace
}  // namespace folkmoot
