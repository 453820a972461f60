// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/admission.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <atomic>
#include <random>
#include <thread>

#include "launch/supervisor/handoff.h"
#include "launch/supervisor/rank_entrance.h"
#include "launch/supervisor/supervisor_line.h"
#include "launch/supervisor/tcp_socket.h"

namespace folkmoot {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;
using testing::StartsWith;
using Clock = std::chrono::steady_clock;

constexpr milliseconds kAmple{10'000};

// A supervisor that only admits, on a thread of its own.
class Gatekeeper {
 public:
  explicit Gatekeeper(const Token& token, int64_t epoch = 1) {
    FileDescriptor listening = *ListenOnTcp("127.0.0.1", 0);
    address_ = LocalAddress(listening.get());
    admission_.emplace(std::move(listening));
    admission_->Expect(token, epoch);
    thread_ = std::thread([this] {
      while (!leaving_) {
        std::vector<pollfd> fds;
        admission_->AppendTo(&fds);
        poll(fds.data(), fds.size(), 10);
        for (Admission::Guest& guest : admission_->Admit(Clock::now())) {
          guests_ += guest.purpose == Purpose::kBeats ? 'b' : 'p';
          sockets_.push_back(std::move(guest.socket));
        }
        most_ = std::max(most_, admission_->strangers());
      }
    });
  }
  ~Gatekeeper() { Leave(); }

  const std::string& address() const { return address_; }
  // Who has come: 'b' for beats, 'p' for plans. It stops then.
  const std::string& Leave() {
    leaving_ = true;
    if (thread_.joinable()) thread_.join();
    return guests_;
  }
  size_t most() const { return most_; }
  int64_t refused() const { return admission_->refused(); }

 private:
  std::string address_;
  std::optional<Admission> admission_;
  std::string guests_;
  std::vector<FileDescriptor> sockets_;
  size_t most_ = 0;
  std::atomic<bool> leaving_{false};
  std::thread thread_;
};

char FirstByte(int fd) {
  pollfd wait = {.fd = fd, .events = POLLIN, .revents = 0};
  poll(&wait, 1, static_cast<int>(kAmple.count()));
  char byte = 0;
  return recv(fd, &byte, 1, 0) == 1 ? byte : '\0';
}

TEST(Admission, WhoKnowsTheTokenComesIn) {
  const Token token = RandomToken();
  Gatekeeper keeper(token, 7);
  const auto beats = EnterAt(keeper.address(), token, Purpose::kBeats, 7, kAmple);
  ASSERT_TRUE(beats.ok()) << beats.status();
  const auto plans = EnterAt(keeper.address(), token, Purpose::kPlans, 7, kAmple);
  ASSERT_TRUE(plans.ok()) << plans.status();
  EXPECT_EQ(keeper.Leave(), "bp");
  EXPECT_EQ(keeper.refused(), 0);
}

TEST(Admission, ATokenOfAnotherLifeDoesNotDo) {
  const Token token = RandomToken();
  const Token other = RandomToken();
  EXPECT_NE(token, other);
  Gatekeeper keeper(token, 2);
  EXPECT_FALSE(EnterAt(keeper.address(), other, Purpose::kBeats, 2, milliseconds(100)).ok());
  const auto old = EnterAt(keeper.address(), token, Purpose::kBeats, 1, milliseconds(100));
  EXPECT_THAT(std::string(Message(old.status())), HasSubstr(keeper.address()));
  EXPECT_EQ(keeper.Leave(), "");
  EXPECT_GE(keeper.refused(), 2);
}

// Who listens at the address must know the token too.
TEST(Admission, ARankSpeaksToItsSupervisorAlone) {
  const Token token = RandomToken();
  const FileDescriptor listening = *ListenOnTcp("127.0.0.1", 0);
  std::atomic<bool> leaving{false};
  std::thread impostor([&] {
    while (!leaving) {
      absl::StatusOr<FileDescriptor> socket = AcceptTcp(listening.get());
      if (!socket.ok()) {
        std::this_thread::sleep_for(milliseconds(1));
        continue;
      }
      FrameChannel channel(*std::move(socket), kGreetingBytes);
      const std::string nonce(32, 'n');
      (void)channel.Send("\x0a\x20" + nonce, kAmple);  // a Challenge
      (void)channel.Receive(kAmple);                   // the proof of the rank, of no use
      (void)channel.Send("\x0a\x20" + nonce, kAmple);  // a Welcome
      (void)channel.Receive(milliseconds(100));
    }
  });
  const auto entered =
      EnterAt(LocalAddress(listening.get()), token, Purpose::kBeats, 1, milliseconds(200));
  leaving = true;
  impostor.join();
  EXPECT_THAT(std::string(Message(entered.status())), HasSubstr("not the supervisor"));
}

TEST(Admission, AGreetingIsGoodOnce) {
  const Token token = RandomToken();
  // What a good rank sends, as somebody on the way sees it.
  std::string seen;
  {
    const FileDescriptor listening = *ListenOnTcp("127.0.0.1", 0);
    std::thread rank([&] {
      (void)EnterAt(LocalAddress(listening.get()), token, Purpose::kBeats, 1, milliseconds(1));
    });
    absl::StatusOr<FileDescriptor> socket = NotFound("");
    while (!socket.ok()) socket = AcceptTcp(listening.get());
    FrameChannel channel(*std::move(socket), kGreetingBytes);
    ASSERT_TRUE(channel.Send("\x0a\x20" + std::string(32, 'n'), kAmple).ok());
    seen = *channel.Receive(kAmple);
    channel.HangUp();
    rank.join();
  }
  Greeting greeting;
  ASSERT_TRUE(Decode(seen, &greeting).ok());
  Gatekeeper keeper(token);
  FrameChannel again(*ConnectToTcp(keeper.address(), kAmple), kGreetingBytes);
  ASSERT_TRUE(again.Receive(kAmple).ok());
  ASSERT_TRUE(again.Send(seen, kAmple).ok());
  EXPECT_EQ(again.Receive(kAmple).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(keeper.Leave(), "");
}

TEST(Admission, GarbageIsTheEndOfTheConnection) {
  const Token token = RandomToken();
  Gatekeeper keeper(token);
  std::mt19937 random(7);
  int refused = 0;
  for (int i = 0; i < 400; ++i) {
    const FileDescriptor socket = *ConnectToTcp(keeper.address(), kAmple);
    std::string bytes(random() % 400 + 1, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    if (i % 2 == 0 && bytes.size() > 4) {  // whole frames
      const auto size = static_cast<uint32_t>(bytes.size() - 4);
      std::memcpy(bytes.data(), &size, 4);
    }
    (void)send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    ++refused;
  }
  ASSERT_TRUE(EnterAt(keeper.address(), token, Purpose::kBeats, 1, kAmple).ok());
  EXPECT_EQ(keeper.Leave(), "b");
  EXPECT_GT(keeper.refused(), refused / 2);  // the rest was not read before the end
}

TEST(Admission, TheSilentDoNotKeepOutThoseWhoSpeak) {
  const Token token = RandomToken();
  Gatekeeper keeper(token);
  std::vector<FileDescriptor> silent;
  for (size_t i = 0; i < 3 * Admission::kMostStrangers; ++i) {
    silent.push_back(*ConnectToTcp(keeper.address(), kAmple));
    if (i % 50 > 0) continue;
    EXPECT_TRUE(EnterAt(keeper.address(), token, Purpose::kBeats, 1, kAmple).ok()) << i;
  }
  EXPECT_EQ(keeper.Leave(), std::string(8, 'b'));
  EXPECT_EQ(keeper.most(), Admission::kMostStrangers);
}

TEST(Admission, StrangersHaveSomeSeconds) {
  FileDescriptor listening = *ListenOnTcp("127.0.0.1", 0);
  const std::string address = LocalAddress(listening.get());
  Admission admission(std::move(listening));
  const FileDescriptor socket = *ConnectToTcp(address, kAmple);
  const Clock::time_point now = Clock::now();
  while (admission.strangers() == 0) (void)admission.Admit(now);
  (void)admission.Admit(now + Admission::kGreetingTime - milliseconds(1));
  EXPECT_EQ(admission.strangers(), 1u);
  (void)admission.Admit(now + Admission::kGreetingTime);
  EXPECT_EQ(admission.strangers(), 0u);
}

TEST(Token, IsWrittenInDigits) {
  const Token token = RandomToken();
  const auto back = ParseToken(TokenText(token));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*back, token);
  const std::string good = TokenText(token);
  for (const std::string& bad :
       {std::string(), good + "0", good.substr(1), "x" + good.substr(1), "A" + good.substr(1)}) {
    EXPECT_FALSE(ParseToken(bad).ok()) << bad;
  }
}

TEST(ReadLine, EndsWithTheLine) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  const FileDescriptor ours(pair[0]);
  FileDescriptor theirs(pair[1]);
  const std::string text = "first\n\nlonger than eight\n";
  ASSERT_EQ(send(theirs.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  EXPECT_EQ(*ReadLine(ours.get(), 8, kAmple), "first");
  EXPECT_EQ(*ReadLine(ours.get(), 8, kAmple), "");
  EXPECT_EQ(ReadLine(ours.get(), 8, kAmple).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(*ReadLine(ours.get(), 8, kAmple), "an eight");
  EXPECT_EQ(ReadLine(ours.get(), 8, milliseconds(20)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  theirs.Reset();
  EXPECT_EQ(ReadLine(ours.get(), 8, kAmple).status().code(), absl::StatusCode::kUnavailable);
}

TEST(TcpSocket, ListensAtOneAddress) {
  for (const char* const all : {"0.0.0.0", "::"}) {
    EXPECT_THAT(std::string(Message(ListenOnTcp(all, 0).status())), HasSubstr("every address"));
  }
  EXPECT_EQ(ListenOnTcp("no such name", 0).status().code(), absl::StatusCode::kNotFound);
  const FileDescriptor listening = *ListenOnTcp("localhost", 0);
  const std::string address = LocalAddress(listening.get());
  const FileDescriptor ours = *ConnectToTcp(address, kAmple);
  EXPECT_EQ(PeerAddress(ours.get()), address);
  EXPECT_TRUE(SameAddress(ours.get()));
  EXPECT_EQ(PeerAddress(listening.get()), "");
  EXPECT_FALSE(SameAddress(listening.get()));
  for (const char* const bad : {"", "nowhere", "127.0.0.1:", "name:1", "[::1:1"}) {
    EXPECT_FALSE(ConnectToTcp(bad, kAmple).ok()) << bad;
  }
}

TEST(TcpSocket, HostsAreComparedWithAndWithoutTheirDomain) {
  EXPECT_TRUE(SameHost("a", "a"));
  EXPECT_TRUE(SameHost("a", "a.example.org"));
  EXPECT_TRUE(SameHost("a.example.org", "a"));
  EXPECT_FALSE(SameHost("a.example.org", "a.example.com"));
  EXPECT_FALSE(SameHost("a", "b"));
  EXPECT_FALSE(SameHost("10.0.0.1", "10.0.0.2"));
  EXPECT_FALSE(AddressTowards({HostName()}).ok());
  EXPECT_THAT(std::string(Message(AddressTowards({"127.0.0.1"}).status())), HasSubstr("loopback"));
}

TEST(Handoff, PassesConnectionsOn) {
  auto [mine, theirs] = *MakeHandoff();
  EXPECT_EQ(NextConnection(theirs.get()).status().code(), absl::StatusCode::kNotFound);
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  const FileDescriptor far(pair[0]);
  FileDescriptor near(pair[1]);
  ASSERT_TRUE(HandOff(mine.get(), near.get()).ok());
  near.Reset();
  const auto passed = NextConnection(theirs.get());
  ASSERT_TRUE(passed.ok()) << passed.status();
  ASSERT_EQ(send(far.get(), "x", 1, 0), 1);
  EXPECT_EQ(FirstByte(passed->get()), 'x');
  // Nobody takes them: an error, and no wait.
  absl::Status status;
  for (int i = 0; i < 10'000 && status.ok(); ++i) status = HandOff(mine.get(), far.get());
  EXPECT_FALSE(status.ok());
}

TEST(RankEntrance, OnOneHostOpensNoPort) {
  const std::string directory = testing::TempDir();
  for (const char* const name : {"/ranks", "/engine"}) unlink((directory + name).c_str());
  auto entrance = RankEntrance::Open(directory, "", 0);
  ASSERT_TRUE(entrance.ok()) << entrance.status();
  EXPECT_FALSE(entrance->across_hosts());
  EXPECT_EQ(entrance->control(), "");
  EXPECT_EQ(entrance->BeginLife(1), "");
  const FileDescriptor rank = *ConnectTo(RankSocket(directory));
  const auto arrivals = entrance->Arrivals(Clock::now());
  ASSERT_EQ(arrivals.size(), 1u);
  EXPECT_EQ(arrivals[0].process, getpid());
}

// Whatever rank 0's host does, and whoever else has the connection.
TEST(RankEntrance, ALifesEndIsTheEndOfItsPlans) {
  auto entrance = RankEntrance::Open("", "127.0.0.1", 0);
  ASSERT_TRUE(entrance.ok()) << entrance.status();
  const Token token = *ParseToken(entrance->BeginLife(1));
  std::atomic<bool> entered{false};
  absl::StatusOr<FileDescriptor> rank = NotFound("");
  std::thread rank0([&] {
    rank = EnterAt(entrance->control(), token, Purpose::kPlans, 1, kAmple);
    entered = true;
  });
  while (!entered) EXPECT_TRUE(entrance->Arrivals(Clock::now()).empty());
  rank0.join();
  ASSERT_TRUE(rank.ok()) << rank.status();
  const FrameChannel channel(*std::move(rank), kPlanFrameBytes);
  EXPECT_FALSE(channel.closed());
  entrance->EndLife();
  pollfd wait = {.fd = channel.fd(), .events = POLLRDHUP, .revents = 0};
  EXPECT_EQ(poll(&wait, 1, static_cast<int>(kAmple.count())), 1);
  EXPECT_TRUE(channel.closed());
}

TEST(RankEntrance, AcrossHostsEveryLifeHasItsToken) {
  auto entrance = RankEntrance::Open("", "127.0.0.1", 0);
  ASSERT_TRUE(entrance.ok()) << entrance.status();
  EXPECT_THAT(entrance->control(), StartsWith("127.0.0.1:"));
  const std::string first = entrance->BeginLife(1);
  EXPECT_TRUE(ParseToken(first).ok());
  EXPECT_NE(entrance->BeginLife(2), first);
}

}  // namespace
}  // namespace folkmoot
