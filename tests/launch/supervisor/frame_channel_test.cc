// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/frame_channel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "launch/supervisor/tcp_socket.h"

namespace folkmoot {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

struct Ends {
  explicit Ends(size_t cap = kControlFrameBytes) {
    int pair[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    a.emplace(FileDescriptor(pair[0]), cap);
    b.emplace(FileDescriptor(pair[1]), cap);
  }
  std::optional<FrameChannel> a, b;
};

TEST(FrameChannel, MessagesArriveWholeAndInOrder) {
  Ends ends(size_t{1} << 26);
  std::vector<std::string> sent = {"", "x", std::string(70'000, 'y'), std::string(1 << 23, 'z')};
  std::thread sender([&] {
    for (const std::string& message : sent) {
      EXPECT_TRUE(ends.a->Send(message, milliseconds(10'000)).ok());
    }
  });
  for (const std::string& message : sent) {
    const auto received = ends.b->Receive(milliseconds(10'000));
    ASSERT_TRUE(received.ok()) << received.status();
    EXPECT_EQ(*received, message);
  }
  sender.join();
}

// A message that nobody asked for stays in the socket, and whoever sent it hears that.
TEST(FrameChannel, WhatWasNotReadIsKnown) {
  const auto listening = ListenOnTcp("127.0.0.1", 0);
  ASSERT_TRUE(listening.ok()) << listening.status();
  for (const bool tcp : {false, true}) {
    for (const bool reads : {false, true}) {
      Ends ends;
      if (tcp) {
        ends.a.emplace(*ConnectToTcp(LocalAddress(listening->get()), milliseconds(10'000)), 100);
        ends.b.emplace(*AcceptTcp(listening->get()), 100);
      }
      EXPECT_TRUE(ends.a->Send("one", milliseconds(1000)).ok());
      EXPECT_TRUE(ends.a->Send("two", milliseconds(1000)).ok());
      EXPECT_EQ(*ends.b->Receive(milliseconds(1000)), "one");
      if (reads) {
        EXPECT_EQ(*ends.b->Receive(milliseconds(1000)), "two");
      }
      ends.b.reset();
      EXPECT_FALSE(ends.a->Receive(milliseconds(1000)).ok());
      EXPECT_EQ(ends.a->left_unread(), !reads) << tcp;
    }
  }
}

TEST(FrameChannel, BytesMayComeOneByOne) {
  Ends ends;
  const std::string wire(
      "\x03\x00\x00\x00"
      "abc",
      7);
  for (const char byte : wire) {
    const auto nothing = ends.b->Poll();
    ASSERT_TRUE(nothing.ok());
    EXPECT_FALSE(nothing->has_value());
    EXPECT_EQ(write(ends.a->fd(), &byte, 1), 1);
  }
  const auto received = ends.b->Poll();
  ASSERT_TRUE(received.ok());
  EXPECT_EQ(*received, "abc");
}

TEST(FrameChannel, ALengthBeyondTheCapIsRefusedBeforeItsBytesCome) {
  Ends ends(100);
  const uint32_t length = 101;
  EXPECT_EQ(write(ends.a->fd(), &length, sizeof(length)), 4);  // and nothing behind it
  const auto received = ends.b->Receive(milliseconds(1000));
  EXPECT_EQ(received.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(received.status().message()), HasSubstr("101 bytes"));
}

TEST(FrameChannel, TheEndOfTheOtherProcessIsHeard) {
  Ends ends;
  EXPECT_FALSE(ends.b->closed());
  EXPECT_TRUE(ends.a->Send("last", milliseconds(1000)).ok());
  ends.a.reset();
  EXPECT_TRUE(ends.b->closed());
  EXPECT_EQ(*ends.b->Receive(milliseconds(1000)), "last");
  EXPECT_EQ(ends.b->Receive(milliseconds(1000)).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ends.b->Send("x", milliseconds(1000)).code(), absl::StatusCode::kUnavailable);
}

TEST(FrameChannel, WaitsEnd) {
  Ends ends;
  EXPECT_EQ(ends.b->Receive(milliseconds(30)).status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(ends.a->Send(std::string(1 << 24, 'x'), milliseconds(30)).code(),
            absl::StatusCode::kDeadlineExceeded);
}

TEST(Sockets, AreThisUsersAlone) {
  const std::string path = testing::TempDir() + "/folkmoot-socket-test";
  std::filesystem::remove(path);
  const auto listening = ListenAt(path);
  ASSERT_TRUE(listening.ok()) << listening.status();
  EXPECT_EQ(std::filesystem::status(path).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  EXPECT_EQ(AcceptFrom(listening->get()).status().code(), absl::StatusCode::kNotFound);
  const auto client = ConnectTo(path);
  ASSERT_TRUE(client.ok()) << client.status();
  const auto server = AcceptFrom(listening->get());
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_EQ(PeerProcess(server->get()), getpid());
  std::filesystem::remove(path);
  EXPECT_THAT(std::string(ConnectTo(path).status().message()), HasSubstr(path));
  EXPECT_THAT(std::string(ListenAt(std::string(200, 'x')).status().message()), HasSubstr("TMPDIR"));
}

}  // namespace
}  // namespace folkmoot
