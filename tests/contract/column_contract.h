// SPDX-License-Identifier: Apache-2.0
// What every ColumnExchange promises. Instantiated for each transport and each kind.
#pragma once

#include <chrono>
#include <memory>
#include <thread>
#include <tuple>
#include <vector>

#include "gtest/gtest.h"
#include "parallel/column_exchange.h"
#include "tests/support/rank_world.h"
#include "tests/support/test_exchange.h"

namespace folkmoot {

class ColumnContract : public testing::TestWithParam<std::tuple<RankWorld, ColumnsKind>> {
 protected:
  static constexpr int64_t kFloats = 1 << 16;

  int ranks() const { return std::get<0>(GetParam()).size; }
  void Run(const std::function<void(Communicator&, ColumnExchange&)>& body) const {
    std::get<0>(GetParam()).run([&](Communicator& comm) {
      auto columns = MakeColumnExchange(std::get<1>(GetParam()), comm, kFloats, false);
      ASSERT_TRUE(columns.ok()) << columns.status();
      body(comm, **columns);
    });
  }

  static float Value(int round, int64_t row, int64_t col) {
    return static_cast<float>(round * 100000 + row * 1000 + col);
  }
  static void Fill(const Matrix& all, const ColumnSplit& split, int rank, int round) {
    for (int64_t r = 0; r < all.rows; ++r) {
      for (int64_t c = split.begin(rank); c < split.begin(rank + 1); ++c) {
        all.Row(r)[c] = Value(round, r, c);
      }
    }
  }
  static bool Whole(const Matrix& all, int round) {
    for (int64_t r = 0; r < all.rows; ++r) {
      for (int64_t c = 0; c < all.cols; ++c) {
        if (all.Row(r)[c] != Value(round, r, c)) return false;
      }
    }
    return true;
  }
  // As tests give it: some ranks have nothing.
  static ColumnSplit Uneven(int ranks) {
    std::vector<int64_t> begins = {0};
    for (int r = 0; r < ranks; ++r) begins.push_back(begins.back() + (r % 3 == 1 ? 0 : 5 + r));
    return ColumnSplit(begins);
  }
};

TEST_P(ColumnContract, EveryRankSeesEveryColumn) {
  const ColumnSplit uneven = Uneven(ranks());
  const ColumnSplit even = ColumnSplit::Even(96, 32, ranks());
  Run([&](Communicator& comm, ColumnExchange& columns) {
    for (int round = 0; round < 50; ++round) {
      const Matrix a = columns.Take(round % 4, uneven);  // no row, too
      const Matrix b = columns.Take(7, even);
      Fill(a, uneven, comm.rank(), round);
      Fill(b, even, comm.rank(), round + 1);
      ASSERT_TRUE(columns.Gather(kTestLabel).ok());
      EXPECT_TRUE(Whole(a, round) && Whole(b, round + 1)) << "round " << round;
    }
  });
}

// A gathered matrix is read while the next one is written, by ranks that come late.
TEST_P(ColumnContract, AGatheredMatrixLivesThroughTheNextGather) {
  const ColumnSplit split = ColumnSplit::Even(64, 16, ranks());
  Run([&](Communicator& comm, ColumnExchange& columns) {
    Matrix last;
    for (int round = 0; round < 20; ++round) {
      const Matrix next = columns.Take(3, split);
      Fill(next, split, comm.rank(), round);
      if ((round + comm.rank()) % 5 == 0) {
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
      }
      EXPECT_TRUE(round == 0 || Whole(last, round - 1)) << "round " << round;
      ASSERT_TRUE(columns.Gather(kTestLabel).ok());
      EXPECT_TRUE(Whole(next, round)) << "round " << round;
      last = next;
    }
  });
}

TEST_P(ColumnContract, ASilentRankIsNamedAtTheDeadline) {
  if (ranks() == 1) GTEST_SKIP() << "needs a peer";
  const ColumnSplit split = ColumnSplit::Even(64, 16, ranks());
  Run([&](Communicator& comm, ColumnExchange& columns) {
    const std::chrono::milliseconds timeout(250);
    comm.set_timeout(timeout);
    if (comm.rank() == 0) {  // never comes
      std::this_thread::sleep_for(2 * timeout);
      return;
    }
    columns.Take(1, split);
    const absl::Status status = columns.Gather(kTestLabel);
    EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
    EXPECT_NE(Message(status).find("layer 3 dispatch of step 41: no data from rank 0"),
              std::string::npos)
        << status;
    EXPECT_FALSE(columns.Gather(kTestLabel).ok()) << "a broken exchange stays broken";
  });
}

TEST_P(ColumnContract, ARankThatGivesUpReachesTheOthers) {
  if (ranks() == 1) GTEST_SKIP() << "needs a peer";
  const ColumnSplit split = ColumnSplit::Even(64, 16, ranks());
  Run([&](Communicator& comm, ColumnExchange& columns) {
    // All have come here: giving up must not reach a rank that is still being set up. It may reach
    // one that is still in the first exchange.
    columns.Take(1, split);
    absl::Status status = columns.Gather(kTestLabel);
    if (comm.rank() == ranks() - 1) {
      ASSERT_TRUE(status.ok());
      comm.Abandon(Unavailable("the sky has fallen"));
      std::this_thread::sleep_for(std::chrono::milliseconds(300));
      return;
    }
    const Stopwatch stopwatch;
    if (status.ok()) {
      columns.Take(1, split);
      status = columns.Gather(kTestLabel);
    }
    EXPECT_NE(Message(status).find("the sky has fallen"), std::string::npos) << status;
    EXPECT_LT(stopwatch.elapsed(), kSoon);
  });
}

inline std::string ColumnWorldName(const testing::TestParamInfo<ColumnContract::ParamType>& info) {
  return std::get<0>(info.param).name +
         (std::get<1>(info.param) == ColumnsKind::kShared ? "Shared" : "Messages");
}

}  // namespace folkmoot
