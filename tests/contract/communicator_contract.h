// SPDX-License-Identifier: Apache-2.0
// What every Communicator promises. Instantiated once per transport.
#pragma once

#include <chrono>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/rank_world.h"
#include "tests/support/test_exchange.h"

namespace folkmoot {

class CommunicatorContract : public testing::TestWithParam<RankWorld> {
 protected:
  int ranks() const { return GetParam().size; }
  int last() const { return ranks() - 1; }
  void Run(const RankBody& body) const { GetParam().run(body); }
};

// The memory of one exchange in which every rank sends TestBytes to every rank.
struct TestExchange {
  TestExchange(const Communicator& comm, int round_in) : round(round_in) {
    for (int q = 0; q < comm.size(); ++q) {
      out.push_back(TestBytes(comm.rank(), q, round));
      in.emplace_back(TestBytes(q, comm.rank(), round).size());
    }
    for (size_t q = 0; q < out.size(); ++q) {
      send.emplace_back(out[q]);
      recv.emplace_back(in[q]);
    }
  }
  void ExpectArrived(int rank) const {
    for (size_t q = 0; q < in.size(); ++q) {
      EXPECT_EQ(in[q], TestBytes(static_cast<int>(q), rank, round)) << "from rank " << q;
    }
  }

  int round;
  std::vector<std::vector<std::byte>> out;
  std::vector<std::vector<std::byte>> in;
  std::vector<ConstBytes> send;
  std::vector<MutableBytes> recv;
};

TEST_P(CommunicatorContract, KnowsRanks) {
  Run([&](Communicator& comm) {
    EXPECT_EQ(comm.size(), ranks());
    EXPECT_GE(comm.rank(), 0);
    EXPECT_LT(comm.rank(), ranks());
  });
}

TEST_P(CommunicatorContract, MovesEveryRange) {
  Run([&](Communicator& comm) {
    for (int round = 0; round < 12; ++round) {
      TestExchange exchange(comm, round);
      const auto started = comm.Start(exchange.send, exchange.recv, kTestLabel);
      ASSERT_TRUE(started.ok()) << started.status();
      ASSERT_TRUE(comm.Wait(*started).ok());
      exchange.ExpectArrived(comm.rank());
    }
  });
}

TEST_P(CommunicatorContract, SeveralExchangesFlyAtOnce) {
  Run([&](Communicator& comm) {
    std::vector<TestExchange> exchanges;
    std::vector<Exchange> started;
    for (int round = 0; round < 5; ++round) exchanges.emplace_back(comm, round);
    for (TestExchange& exchange : exchanges) {
      started.push_back(comm.Start(exchange.send, exchange.recv, kTestLabel).value());
    }
    // Each rank waits in an order of its own.
    for (size_t i = 0; i < started.size(); ++i) {
      const size_t pick = (i * 2 + static_cast<size_t>(comm.rank())) % started.size();
      ASSERT_TRUE(comm.Wait(started[pick]).ok());
      exchanges[pick].ExpectArrived(comm.rank());
    }
  });
}

TEST_P(CommunicatorContract, BroadcastsFromEveryRoot) {
  Run([&](Communicator& comm) {
    for (int root = 0; root < comm.size(); ++root) {
      std::vector<int64_t> numbers(3, comm.rank() == root ? root + 100 : -1);
      ASSERT_TRUE(
          Broadcast(comm, root, std::as_writable_bytes(std::span(numbers)), kTestLabel).ok());
      EXPECT_EQ(numbers, std::vector<int64_t>(3, root + 100));
      std::string text = comm.rank() == root ? std::string(static_cast<size_t>(root), 'x') : "old";
      ASSERT_TRUE(BroadcastString(comm, root, &text, kTestLabel).ok());
      EXPECT_EQ(text, std::string(static_cast<size_t>(root), 'x'));
    }
  });
}

TEST_P(CommunicatorContract, GathersInRankOrder) {
  Run([&](Communicator& comm) {
    const auto text_of = [](int rank) { return std::string(static_cast<size_t>(rank * 3), 'a'); };
    std::vector<std::string> expected;
    std::vector<int32_t> ids;
    for (int q = 0; q < comm.size(); ++q) {
      expected.push_back(text_of(q));
      ids.push_back(q);
    }
    std::vector<int32_t> all(ids.size());
    const int32_t mine = comm.rank();
    ASSERT_TRUE(AllGather(comm, std::as_bytes(std::span(&mine, 1)),
                          std::as_writable_bytes(std::span(all)), kTestLabel)
                    .ok());
    EXPECT_EQ(all, ids);
    EXPECT_EQ(AllGatherStrings(comm, text_of(comm.rank()), kTestLabel).value(), expected);
    for (int root = 0; root < comm.size(); ++root) {
      const auto at_root = GatherStrings(comm, root, text_of(comm.rank()), kTestLabel).value();
      if (comm.rank() == root) {
        EXPECT_EQ(at_root, expected);
      } else {
        EXPECT_THAT(at_root, testing::Each(""));
      }
    }
  });
}

TEST_P(CommunicatorContract, BarrierHoldsEveryoneForTheLast) {
  constexpr std::chrono::milliseconds kLate(60);
  Run([&](Communicator& comm) {
    ASSERT_TRUE(Barrier(comm, kTestLabel).ok());
    const Stopwatch stopwatch;
    if (comm.rank() == last()) std::this_thread::sleep_for(kLate);
    ASSERT_TRUE(Barrier(comm, kTestLabel).ok());
    // Half of it: the ranks do not leave the first barrier at the same moment.
    EXPECT_GE(stopwatch.elapsed(), kLate / 2);
  });
}

TEST_P(CommunicatorContract, SilentPeerIsNamedAtTheDeadline) {
  if (ranks() == 1) GTEST_SKIP() << "needs a peer";
  Run([&](Communicator& comm) {
    const std::chrono::milliseconds timeout(250);
    EXPECT_GT(comm.timeout(), timeout);
    comm.set_timeout(timeout);
    if (comm.rank() == last()) {  // never comes
      std::this_thread::sleep_for(2 * timeout);
      return;
    }
    const Stopwatch stopwatch;
    const absl::Status status = Barrier(comm, kTestLabel);
    EXPECT_GE(stopwatch.elapsed(), timeout);
    EXPECT_LT(stopwatch.elapsed(), kSoon);
    EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
    EXPECT_THAT(std::string(Message(status)),
                testing::StartsWith("rank " + std::to_string(comm.rank()) +
                                    ": layer 3 dispatch of step 41: no data from rank " +
                                    std::to_string(last()) + " within 250 ms"));
    // Broken for ever, at once, with the same words.
    EXPECT_EQ(Barrier(comm, {.phase = "combine"}), status);
    EXPECT_LT(stopwatch.elapsed(), kSoon);
  });
}

TEST_P(CommunicatorContract, AbandonReachesEveryoneBeforeTheDeadline) {
  if (ranks() == 1) GTEST_SKIP() << "needs a peer";
  Run([&](Communicator& comm) {
    comm.set_timeout(std::chrono::seconds(60));
    const Stopwatch stopwatch;
    if (comm.rank() == last()) {
      const absl::Status reason = DataLoss("expert file is cut short");
      comm.Abandon(reason);
      EXPECT_EQ(Barrier(comm, kTestLabel), reason);
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      return;
    }
    const absl::Status status = Barrier(comm, kTestLabel);
    EXPECT_LT(stopwatch.elapsed(), kSoon);
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    const std::string message(Message(status));
    EXPECT_THAT(message, testing::StartsWith("rank " + std::to_string(comm.rank()) +
                                             ": layer 3 dispatch of step 41: rank " +
                                             std::to_string(last())));
    EXPECT_THAT(message, testing::HasSubstr("gave up: expert file is cut short"));
    EXPECT_EQ(Barrier(comm, kTestLabel), status);
  });
}

TEST_P(CommunicatorContract, CheckPeersHearsOfAPeerThatGaveUp) {
  Run([&](Communicator& comm) {
    ASSERT_TRUE(Barrier(comm, kTestLabel).ok());
    EXPECT_TRUE(comm.CheckPeers(kTestLabel).ok());
    if (ranks() == 1) return;
    // Somebody may still be in it when the last rank, which is through, gives up.
    absl::Status status = Barrier(comm, kTestLabel);
    if (comm.rank() == last()) {
      ASSERT_TRUE(status.ok());
      comm.Abandon(DataLoss("expert file is cut short"));
      std::this_thread::sleep_for(std::chrono::milliseconds(300));
      return;
    }
    const Stopwatch stopwatch;
    while (status.ok() && stopwatch.elapsed() < kSoon) {
      status = comm.CheckPeers(kTestLabel);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(Message(status)),
                testing::AllOf(testing::StartsWith("rank " + std::to_string(comm.rank()) +
                                                   ": layer 3 dispatch of step 41: rank " +
                                                   std::to_string(last())),
                               testing::HasSubstr("gave up: expert file is cut short")));
    EXPECT_EQ(Barrier(comm, kTestLabel), status);
  });
}

// Rank 0 expects 10 bytes of rank 1, which sends another number.
inline void ExpectLengthError(Communicator& comm, size_t sent) {
  std::vector<std::byte> buffer(100);
  std::vector<ConstBytes> send(static_cast<size_t>(comm.size()));
  std::vector<MutableBytes> recv(static_cast<size_t>(comm.size()));
  if (comm.rank() == 1) send[0] = ConstBytes(buffer.data(), sent);
  if (comm.rank() == 0) recv[1] = MutableBytes(buffer.data(), 10);
  comm.set_timeout(std::chrono::seconds(60));
  const Stopwatch stopwatch;
  const auto started = comm.Start(send, recv, kTestLabel);
  const absl::Status status = started.ok() ? comm.Wait(*started) : started.status();
  EXPECT_LT(stopwatch.elapsed(), kSoon);
  if (comm.rank() != 0) return;
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_THAT(std::string(Message(status)),
              testing::AllOf(testing::StartsWith("rank 0: layer 3 dispatch of step 41"),
                             testing::HasSubstr("rank 1")));
}

TEST_P(CommunicatorContract, ShortMessageIsAnError) {
  if (ranks() == 1) GTEST_SKIP() << "needs a peer";
  Run([&](Communicator& comm) { ExpectLengthError(comm, 4); });
}

TEST_P(CommunicatorContract, LongMessageIsAnError) {
  if (ranks() == 1) GTEST_SKIP() << "needs a peer";
  Run([&](Communicator& comm) { ExpectLengthError(comm, 40); });
}

}  // namespace folkmoot
