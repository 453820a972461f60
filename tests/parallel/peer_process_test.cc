// SPDX-License-Identifier: Apache-2.0
#include "parallel/peer_process.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace folkmoot {
namespace {

// A process that lives until it is killed, and what it says of itself.
struct Child {
  Child() {
    int ends[2];
    if (pipe(ends) != 0) std::abort();
    pid = fork();
    if (pid == 0) {
      const std::string text = ProcessIdentity::Own().Encode();
      if (write(ends[1], text.data(), text.size()) < 0) _exit(1);
      close(ends[1]);
      while (true) pause();
    }
    close(ends[1]);
    std::string text(1000, 0);
    text.resize(static_cast<size_t>(std::max<ssize_t>(0, read(ends[0], text.data(), text.size()))));
    close(ends[0]);
    identity = ProcessIdentity::Decode(text).value();
  }
  ~Child() {
    Kill();
    Reap();
  }
  void Kill() const {
    if (pid > 0) kill(pid, SIGKILL);
  }
  void Reap() {
    if (pid > 0) waitpid(pid, nullptr, 0);
    pid = 0;
  }

  pid_t pid = 0;
  ProcessIdentity identity;
};

bool GoneWithin(PeerProcess& process, std::chrono::milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (!process.Gone()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

constexpr std::chrono::seconds kSoon(5);

TEST(ProcessIdentity, SurvivesTheWire) {
  const ProcessIdentity own = ProcessIdentity::Own();
  EXPECT_EQ(own.pid, getpid());
  EXPECT_GT(own.start_time, 0u);
  EXPECT_FALSE(own.host.empty());
  const ProcessIdentity copy = ProcessIdentity::Decode(own.Encode()).value();
  EXPECT_EQ(copy.host, own.host);
  EXPECT_EQ(copy.machine, own.machine);
  EXPECT_EQ(copy.pid, own.pid);
  EXPECT_EQ(copy.start_time, own.start_time);
}

TEST(ProcessIdentity, RefusesWhatIsNone) {
  for (const char* text : {"", "a\nb\nc\nd", "a\nb\n12", "a\nb\n12\n-4", "a\nb\n12\n4\n5",
                           "a\nb\n99999999999999999999\n4"}) {
    EXPECT_FALSE(ProcessIdentity::Decode(text).ok()) << text;
  }
}

TEST(PeerProcess, SeesADeathBeforeAnybodyReapsIt) {
  const ProcessIdentity own = ProcessIdentity::Own();
  Child child;
  PeerProcess process(child.identity, own);
  EXPECT_TRUE(process.local());
  EXPECT_FALSE(process.Gone());
  child.Kill();
  EXPECT_TRUE(GoneWithin(process, kSoon));
  child.Reap();
  EXPECT_TRUE(process.Gone());
}

TEST(PeerProcess, SeesADeathThatCameFirst) {
  Child child;
  const ProcessIdentity identity = child.identity;
  child.Kill();
  child.Reap();
  PeerProcess process(identity, ProcessIdentity::Own());
  EXPECT_TRUE(process.Gone());
}

TEST(PeerProcess, AnotherProcessUnderTheSamePidIsNotThePeer) {
  Child child;
  ProcessIdentity earlier = child.identity;
  --earlier.start_time;
  PeerProcess process(earlier, ProcessIdentity::Own());
  EXPECT_TRUE(process.Gone());
}

TEST(PeerProcess, AStoppedProcessIsAlive) {
  Child child;
  PeerProcess process(child.identity, ProcessIdentity::Own());
  kill(child.pid, SIGSTOP);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_FALSE(process.Gone());
}

TEST(PeerProcess, OtherMachinesAndThisProcessAreNotWatched) {
  const ProcessIdentity own = ProcessIdentity::Own();
  ProcessIdentity far = own;
  far.pid = 1;
  far.machine = "another";
  PeerProcess remote(far, own);
  EXPECT_FALSE(remote.local());
  EXPECT_FALSE(remote.Gone());
  PeerProcess self(own, own);
  EXPECT_FALSE(self.Gone());
}

TEST(PeerProcesses, FindsTheFirstThatIsGone) {
  const ProcessIdentity own = ProcessIdentity::Own();
  Child a;
  Child b;
  auto peers =
      PeerProcesses::Create({own.Encode(), a.identity.Encode(), b.identity.Encode()}, own).value();
  EXPECT_EQ(peers.on_this_host(), 3);
  EXPECT_EQ(peers.FirstGone(), -1);
  b.Kill();
  b.Reap();
  EXPECT_EQ(peers.FirstGone(), 2);
  EXPECT_FALSE(peers.Gone(1));
  EXPECT_EQ(peers.Name(2), fmt::format("rank 2 (pid {} on {})", b.identity.pid, own.host));
}

}  // namespace
}  // namespace folkmoot
