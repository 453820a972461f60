// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/rank_beacon.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <utility>

namespace folkmoot {
namespace {

using std::chrono::milliseconds;

bool Readable(int fd) {
  pollfd event = {.fd = fd, .events = POLLIN, .revents = 0};
  return poll(&event, 1, 0) == 1;
}

// A wake-up that is left over would cut off the first wait of the life that the order began.
TEST(RankBeacon, AnOrderThatIsTakenTakesItsWakeUpAlong) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  FrameChannel supervisor{FileDescriptor(pair[0]), kControlFrameBytes};
  const Progress progress;
  auto beacon = RankBeacon::Start(FileDescriptor(pair[1]), RankHello{.ranks = 2}, progress,
                                  [](const RepairOrder&) {});
  ASSERT_TRUE(beacon.ok()) << beacon.status();
  EXPECT_FALSE(Readable((*beacon)->order_fd()));
  EXPECT_FALSE((*beacon)->TakeOrder(milliseconds(0)).has_value());
  for (int64_t epoch = 2; epoch < 500; ++epoch) {
    const RepairOrder order = {.epoch = epoch, .members = {0, 2}, .since = {1, epoch}};
    ASSERT_TRUE(supervisor.Send(Encode(order), milliseconds(10'000)).ok());
    const std::optional<RepairOrder> taken = (*beacon)->TakeOrder(milliseconds(10'000));
    ASSERT_TRUE(taken.has_value());
    EXPECT_EQ(taken->epoch, epoch);
    EXPECT_EQ(taken->members, order.members);
    ASSERT_FALSE(Readable((*beacon)->order_fd())) << epoch;
    while (true) {  // what the beacon says is read, or it would wait for us
      const auto beat = supervisor.Poll();
      ASSERT_TRUE(beat.ok()) << beat.status();
      if (!*beat) break;
    }
  }
  beacon->reset();
}

}  // namespace
}  // namespace folkmoot
