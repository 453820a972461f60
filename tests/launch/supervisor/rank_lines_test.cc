// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/rank_lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <vector>

namespace folkmoot {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;

TEST(RankLines, ASpareProcessTakesAPlaceAndAllRanksHearOfIt) {
  RankLines lines;
  lines.Begin(3, /*epoch=*/5);
  std::vector<FrameChannel> processes;
  for (const int number : {0, 1, 2, 4, 3}) {  // spares come in any order
    int pair[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    processes.emplace_back(FileDescriptor(pair[1]), kControlFrameBytes);
    lines.all().push_back({.channel = FrameChannel(FileDescriptor(pair[0]), kControlFrameBytes),
                           .number = number,
                           .rank = number < 3 ? number : -1,
                           .epoch = 5});
  }
  EXPECT_EQ(lines.ranks(), 3);
  EXPECT_EQ(lines.spares(), 2u);
  lines.Replace({1}, 6);
  EXPECT_EQ(lines.ranks(), 3);
  EXPECT_EQ(lines.spares(), 1u);
  EXPECT_TRUE(lines.Announce(milliseconds(1000)));
  for (const size_t i : {0, 2, 4}) {
    RepairOrder order;
    ASSERT_TRUE(Decode(processes[i].Receive(milliseconds(1000)).value_or(""), &order).ok()) << i;
    EXPECT_EQ(order.epoch, 6);
    EXPECT_THAT(order.members, ElementsAre(0, 3, 2));
    EXPECT_THAT(order.since, ElementsAre(5, 6, 5));
  }
  // The dead one, and the spare process that is left, hear nothing.
  for (const size_t i : {1, 3}) EXPECT_FALSE(processes[i].Poll().value_or("").has_value());
  EXPECT_EQ(lines.all()[1].rank, -1);
  EXPECT_EQ(lines.all()[3].epoch, 6) << "it may be needed in that life";
  processes[2] = FrameChannel(FileDescriptor(), 1);
  lines.Replace({0}, 7);
  EXPECT_FALSE(lines.Announce(milliseconds(10))) << "rank 2 is gone";
}

}  // namespace
}  // namespace folkmoot
