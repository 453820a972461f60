// SPDX-License-Identifier: Apache-2.0
// What NcclCommunicator promises, over the fake NCCL, which checks every call on the way.
#include "parallel/nccl_communicator.h"

#include <algorithm>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/gpu_ranks.h"
#include "tests/support/test_exchange.h"

namespace folkmoot {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

constexpr std::chrono::milliseconds kTimeout(250);

WaitLabel Here() { return kTestLabel; }

// Device memory with bytes in it.
cuda::Memory OnDevice(cuda::Stream& stream, const std::vector<std::byte>& bytes) {
  cuda::Memory memory =
      cuda::Memory::Allocate(static_cast<int64_t>(bytes.size()), "a test").value();
  cuda::CopyToDevice(stream, memory.data(), bytes.data(), memory.bytes());
  return memory;
}
std::vector<std::byte> ToHost(cuda::Stream& stream, const cuda::Memory& memory) {
  std::vector<std::byte> bytes(static_cast<size_t>(memory.bytes()));
  cuda::CopyToHost(stream, bytes.data(), memory.data(), memory.bytes());
  EXPECT_TRUE(stream.Synchronize().ok());
  return bytes;
}
std::vector<std::byte> Filled(size_t count, int value) {
  return std::vector<std::byte>(count, static_cast<std::byte>(value));
}

struct NcclCase {
  std::string name;
  int ranks;
  FakeNcclOptions options;
};
void PrintTo(const NcclCase& test, std::ostream* out) { *out << test.name; }

class NcclContract : public testing::TestWithParam<NcclCase> {
 protected:
  NcclContract() : nccl_(GetParam().options) {}
  ~NcclContract() override { EXPECT_EQ(nccl_.Complaint(), ""); }
  void Run(const std::function<void(GpuRank&)>& body) {
    RunGpuRanks(nccl_, GetParam().ranks, body);
  }

  FakeNccl nccl_;
};

TEST_P(NcclContract, AllToAllMovesEqualBlocks) {
  Run([](GpuRank& rank) {
    const int me = rank.nccl->rank();
    std::vector<std::byte> out;
    std::vector<std::byte> expected;
    for (int q = 0; q < rank.nccl->size(); ++q) {
      out.insert(out.end(), 100, static_cast<std::byte>(me * 16 + q));
      expected.insert(expected.end(), 100, static_cast<std::byte>(q * 16 + me));
    }
    const cuda::Memory send = OnDevice(*rank.stream, out);
    const cuda::Memory recv = OnDevice(*rank.stream, Filled(out.size(), 0xee));
    ASSERT_TRUE(rank.nccl->AllToAll(*rank.stream, send.data(), recv.data(), 100, kTestLabel).ok());
    ASSERT_TRUE(rank.nccl->Wait(*rank.stream, Here).ok());
    EXPECT_EQ(ToHost(*rank.stream, recv), expected);
  });
}

TEST_P(NcclContract, AllGatherMovesSeveralParts) {
  Run([](GpuRank& rank) {
    const int me = rank.nccl->rank();
    const size_t ranks = static_cast<size_t>(rank.nccl->size());
    const cuda::Memory send = OnDevice(*rank.stream, Filled(70, me + 1));
    const cuda::Memory first = OnDevice(*rank.stream, Filled(70 * ranks, 0xee));
    const cuda::Memory second = OnDevice(*rank.stream, Filled(8 * ranks, 0xee));
    const GatherPart parts[] = {
        {send.data(), first.data(), 70}, {nullptr, nullptr, 0}, {send.data(), second.data(), 8}};
    ASSERT_TRUE(rank.nccl->AllGather(*rank.stream, parts, kTestLabel).ok());
    ASSERT_TRUE(rank.nccl->Wait(*rank.stream, Here).ok());
    const auto all = [&](size_t bytes) {
      std::vector<std::byte> joined;
      for (size_t q = 0; q < ranks; ++q) {
        joined.insert(joined.end(), bytes, static_cast<std::byte>(q + 1));
      }
      return joined;
    };
    EXPECT_EQ(ToHost(*rank.stream, first), all(70));
    EXPECT_EQ(ToHost(*rank.stream, second), all(8));
  });
}

// The byte ranges of the host's contract, among them empty ones; in the last round only the first
// rank has something for the last.
TEST_P(NcclContract, AllToAllVMovesEveryRange) {
  Run([](GpuRank& rank) {
    const int me = rank.nccl->rank();
    const int ranks = rank.nccl->size();
    const auto bytes_of = [ranks](int from, int to, int round) {
      const bool sends = round < 3 || (from == 0 && to == ranks - 1);
      return sends ? TestBytes(from, to, round) : std::vector<std::byte>{};
    };
    for (int round = 0; round < 4; ++round) {
      std::vector<cuda::Memory> memories;
      std::vector<DeviceRange> send;
      std::vector<DeviceRange> recv;
      for (int i = 0; i < 2; ++i) {
        for (int q = 0; q < ranks; ++q) {
          memories.push_back(OnDevice(*rank.stream, bytes_of(me, q, round + i)));
          send.push_back({memories.back().data(), memories.back().bytes()});
        }
      }
      const size_t sends = memories.size();
      for (int i = 0; i < 2; ++i) {
        for (int q = 0; q < ranks; ++q) {
          memories.push_back(
              OnDevice(*rank.stream, Filled(bytes_of(q, me, round + i).size(), 0xee)));
          recv.push_back({memories.back().data(), memories.back().bytes()});
        }
      }
      ASSERT_TRUE(rank.nccl->AllToAllV(*rank.stream, send, recv, kTestLabel).ok());
      ASSERT_TRUE(rank.nccl->Wait(*rank.stream, Here).ok());
      for (size_t i = 0; i < sends; ++i) {
        const int q = static_cast<int>(i) % ranks;
        EXPECT_EQ(ToHost(*rank.stream, memories[sends + i]),
                  bytes_of(q, me, round + static_cast<int>(i) / ranks));
      }
    }
  });
}

TEST_P(NcclContract, RunsInAGraph) {
  Run([](GpuRank& rank) {
    const int me = rank.nccl->rank();
    const size_t ranks = static_cast<size_t>(rank.nccl->size());
    const cuda::Memory send = OnDevice(*rank.stream, Filled(16, 0));
    const cuda::Memory all = OnDevice(*rank.stream, Filled(16 * ranks, 0xee));
    const cuda::Memory back = OnDevice(*rank.stream, Filled(16 * ranks, 0xee));
    absl::Status status;
    const auto graph = cuda::Graph::Record(*rank.stream, [&] {
      const GatherPart part{send.data(), all.data(), 16};
      status = rank.nccl->AllGather(*rank.stream, {&part, 1}, kTestLabel);
      if (status.ok()) {
        status = rank.nccl->AllToAll(*rank.stream, all.data(), back.data(), 16, kTestLabel);
      }
    });
    ASSERT_TRUE(graph.ok() && status.ok()) << graph.status() << status;
    for (int round = 1; round < 4; ++round) {
      const std::vector<std::byte> mine = Filled(16, me * 10 + round);
      cuda::CopyToDevice(*rank.stream, send.data(), mine.data(), 16);
      (*graph)->Launch(*rank.stream);
      ASSERT_TRUE(rank.nccl->Wait(*rank.stream, Here).ok());
      // Every rank sent block q of what it had of all ranks to rank q.
      EXPECT_EQ(ToHost(*rank.stream, back), Filled(16 * ranks, me * 10 + round));
    }
  });
}

std::vector<NcclCase> Cases() {
  std::vector<NcclCase> cases;
  for (const int ranks : {1, 2, 3, 4}) {
    cases.push_back({"Ranks" + std::to_string(ranks), ranks, {}});
  }
  cases.push_back({"Slow", 3, {.polls = 5}});
  cases.push_back({"WithoutAllToAll", 3, {.version = 21805, .all_to_all = false}});
  return cases;
}
INSTANTIATE_TEST_SUITE_P(Fake, NcclContract, testing::ValuesIn(Cases()),
                         [](const testing::TestParamInfo<NcclCase>& one) {
                           return one.param.name;
                         });

// ---- What goes wrong before the ranks are connected ----

TEST(NcclSetUp, RanksOnOneGpuAreNamed) {
  FakeNccl nccl;
  RunUnconnectedGpuRanks(3, [&](GpuRank& rank) {
    if (rank.host.rank() == 2) rank.device.uuid = "GPU-1";
    if (rank.host.rank() == 0) rank.device.uuid = "GPU-1";
    const std::string message(Message(rank.Connect(nccl.Api())));
    EXPECT_THAT(message, AllOf(HasSubstr("ranks 0 and 2 would share one GPU"), HasSubstr("GPU-1")));
    EXPECT_TRUE(rank.Connect(nccl.Api(), {.allow_shared_gpu = true}).ok());
  });
}

TEST(NcclSetUp, ARankWithoutNcclIsNamedByAll) {
  FakeNccl nccl;
  RunUnconnectedGpuRanks(3, [&](GpuRank& rank) {
    absl::StatusOr<NcclApi> api = nccl.Api();
    if (rank.host.rank() == 1) api = NotFound("libnccl.so.2 was not found");
    const std::string message(Message(rank.Connect(api)));
    EXPECT_THAT(message, AllOf(HasSubstr("rank 1 (on "), HasSubstr("libnccl.so.2 was not found")));
  });
}

TEST(NcclSetUp, DifferentVersionsAreNamed) {
  FakeNccl nccl;
  RunUnconnectedGpuRanks(3, [&](GpuRank& rank) {
    absl::StatusOr<NcclApi> api = nccl.Api();
    if (rank.host.rank() == 2) api->version = 22703;
    EXPECT_THAT(std::string(Message(rank.Connect(api))),
                HasSubstr("rank 2 has NCCL 2.27.3, rank 0 has 2.28.9"));
  });
}

TEST(NcclSetUp, NoUniqueId) {
  FakeNccl nccl;
  nccl.FailUniqueId(kNcclSystemError);
  RunUnconnectedGpuRanks(2, [&](GpuRank& rank) {
    EXPECT_THAT(std::string(Message(rank.Connect(nccl.Api()))),
                AllOf(HasSubstr("rank 0"), HasSubstr("ncclGetUniqueId")));
  });
}

// The others hear of it before their deadline.
TEST(NcclSetUp, AFailedInitReachesAll) {
  FakeNccl nccl;
  nccl.FailInit(1, kNcclSystemError);
  RunUnconnectedGpuRanks(3, [&](GpuRank& rank) {
    const Stopwatch stopwatch;
    const absl::Status status = rank.Connect(nccl.Api());
    EXPECT_LT(stopwatch.elapsed(), kSoon);
    const std::string message(Message(status));
    EXPECT_THAT(message, HasSubstr("rank 1: NCCL set-up: ncclCommInitRankConfig"));
    if (rank.host.rank() != 1) {
      EXPECT_THAT(message, HasSubstr("rank 1 gave up"));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  });
}

TEST(NcclSetUp, ARankThatNeverComesIsNamedAtTheDeadline) {
  FakeNccl nccl;
  RunUnconnectedGpuRanks(3, [&](GpuRank& rank) {
    if (rank.host.rank() == 2) {  // takes part until NCCL starts
      NcclApi api = nccl.Api();
      api.comm_init_rank_config = [](NcclComm*, int, NcclUniqueId, int, NcclConfig*) {
        std::this_thread::sleep_for(4 * kTimeout);
        return kNcclSystemError;
      };
      EXPECT_FALSE(rank.Connect(api).ok());
      return;
    }
    const absl::Status status = rank.Connect(nccl.Api(), {.setup_timeout = kTimeout});
    EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
    EXPECT_THAT(std::string(Message(status)),
                AllOf(HasSubstr("NCCL set-up: no progress on the GPU within 250 ms"),
                      HasSubstr("no data from rank 2")));
  });
}

// ---- What goes wrong later ----

absl::Status GatherAndWait(GpuRank& rank, int64_t bytes = 64) {
  const cuda::Memory send = OnDevice(*rank.stream, Filled(64, 1));
  const cuda::Memory recv = OnDevice(*rank.stream, Filled(64 * 4, 2));
  const GatherPart part{send.data(), recv.data(), bytes};
  FM_RETURN_IF_ERROR(rank.nccl->AllGather(*rank.stream, {&part, 1}, kTestLabel));
  return rank.nccl->Wait(*rank.stream, Here);
}
constexpr int kSetUpCalls = 2;

TEST(NcclFailure, ARankThatLiesIsNamed) {
  FakeNccl nccl;
  RunGpuRanks(nccl, 3, [](GpuRank& rank) {
    const Stopwatch stopwatch;
    const absl::Status status = GatherAndWait(rank, rank.nccl->rank() == 2 ? 32 : 64);
    EXPECT_LT(stopwatch.elapsed(), kSoon);
    EXPECT_THAT(std::string(Message(status)),
                AllOf(HasSubstr("layer 3 dispatch of step 41"),
                      HasSubstr("rank 2 calls ncclAllGather of 32 bytes")));
    EXPECT_TRUE(rank.stream->Finished());
    EXPECT_EQ(rank.nccl->status(), status);
    EXPECT_EQ(GatherAndWait(rank), status);  // broken for ever
  });
  EXPECT_THAT(nccl.Complaint(), StartsWith("rank 2 calls ncclAllGather of 32 bytes"));
}

TEST(NcclFailure, SendsWithoutReceivesAreNamed) {
  FakeNccl nccl;
  RunGpuRanks(nccl, 2, [](GpuRank& rank) {
    const cuda::Memory memory = OnDevice(*rank.stream, Filled(64, 1));
    std::vector<DeviceRange> send(2);
    const std::vector<DeviceRange> recv(2);
    send[static_cast<size_t>(1 - rank.nccl->rank())] = {memory.data(), 64};  // both only send
    absl::Status status = rank.nccl->AllToAllV(*rank.stream, send, recv, kTestLabel);
    if (status.ok()) status = rank.nccl->Wait(*rank.stream, Here);
    EXPECT_THAT(std::string(Message(status)),
                HasSubstr("all ranks wait for each other: rank 0 in ncclSend, rank 1 in ncclSend"));
  });
}

TEST(NcclFailure, AnErrorOfNcclReachesAll) {
  FakeNccl nccl;
  nccl.FailCall(1, kSetUpCalls + 1, kNcclRemoteError);
  RunGpuRanks(nccl, 3, [](GpuRank& rank) {
    const Stopwatch stopwatch;
    EXPECT_TRUE(GatherAndWait(rank).ok());
    const absl::Status status = GatherAndWait(rank);
    EXPECT_LT(stopwatch.elapsed(), kSoon);
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(Message(status)),
                AllOf(StartsWith(WaitName(rank.host.rank(), kTestLabel)),
                      HasSubstr("rank 1: layer 3 dispatch of step 41: NCCL: error of the fake")));
    EXPECT_TRUE(rank.stream->Finished());
    // The host communicator is broken too.
    EXPECT_FALSE(Barrier(rank.host, kTestLabel).ok());
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  });
}

// All ranks wait and all answer: the error says where each is.
TEST(NcclFailure, AHangingGpuEndsAtTheDeadline) {
  FakeNccl nccl;
  nccl.HangCall(1, kSetUpCalls);
  RunGpuRanks(nccl, 3, [](GpuRank& rank) {
    rank.host.set_timeout(kTimeout);
    const Stopwatch stopwatch;
    const absl::Status status = GatherAndWait(rank);
    EXPECT_GE(stopwatch.elapsed(), kTimeout);
    EXPECT_LT(stopwatch.elapsed(), kSoon);
    EXPECT_THAT(std::string(Message(status)), StartsWith(WaitName(rank.host.rank(), kTestLabel)));
    EXPECT_THAT(
        std::string(Message(status)),
        testing::AnyOf(HasSubstr("no progress on the GPU within 250 ms"), HasSubstr("gave up")));
    EXPECT_TRUE(rank.stream->Finished());  // NCCL's kernels are gone
    std::this_thread::sleep_for(kTimeout);
  });
}

TEST(NcclFailure, ARankThatNeverComesIsNamed) {
  FakeNccl nccl;
  nccl.HangCall(0, kSetUpCalls);  // the fake's ranks would wait in the call
  RunGpuRanks(nccl, 3, [](GpuRank& rank) {
    if (rank.nccl->rank() == 2) {
      std::this_thread::sleep_for(6 * kTimeout);
      return;
    }
    rank.host.set_timeout(kTimeout);
    const absl::Status status = GatherAndWait(rank);
    EXPECT_THAT(std::string(Message(status)),
                AllOf(HasSubstr("no progress on the GPU within 250 ms"), HasSubstr("rank 2")));
    std::this_thread::sleep_for(6 * kTimeout);
  });
}

TEST(NcclFailure, ARankThatGivesUpIsHeard) {
  FakeNccl nccl;
  RunGpuRanks(nccl, 3, [](GpuRank& rank) {
    const Stopwatch stopwatch;
    if (rank.nccl->rank() == 2) {
      const absl::Status reason = DataLoss("expert file is cut short");
      EXPECT_EQ(rank.nccl->Abandon(reason), reason);
      EXPECT_EQ(GatherAndWait(rank), reason);
    } else {
      EXPECT_THAT(std::string(Message(GatherAndWait(rank))),
                  AllOf(HasSubstr("rank 2 gave up: expert file is cut short")));
    }
    EXPECT_LT(stopwatch.elapsed(), kSoon);
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  });
}

}  // namespace
}  // namespace folkmoot
