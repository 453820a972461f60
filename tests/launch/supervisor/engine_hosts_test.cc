// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/engine_hosts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "launch/supervisor/host_shared_memory.h"
#include "launch/supervisor/listening_sockets.h"
#include "launch/supervisor/tcp_socket.h"

namespace folkmoot {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(EngineHosts, OfAList) {
  const auto hosts = ReadHosts("a:2,b.example.org:16,10.0.0.3,a", "");
  ASSERT_TRUE(hosts.ok()) << hosts.status();
  EXPECT_THAT(hosts->names, ElementsAre("a", "b.example.org", "10.0.0.3"));
  EXPECT_TRUE(ReadHosts("", "")->names.empty());
  for (const char* const bad : {"a:", "a:x", "a:-1", "-oProxyCommand=sh:1", "a;b", ",a", "a b"}) {
    EXPECT_EQ(ReadHosts(bad, "").status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
  EXPECT_THAT(std::string(Message(ReadHosts("a", "f").status())), HasSubstr("give one of them"));
}

TEST(EngineHosts, OfAFile) {
  const std::string path = testing::TempDir() + "/folkmoot-hostfile";
  const auto read = [&](const std::string& text) {
    std::ofstream(path) << text;
    return ReadHosts("", path);
  };
  EXPECT_THAT(read("# mine\na slots=2\n\n  b max_slots=4 # the other\na\n")->names,
              ElementsAre("a", "b"));
  EXPECT_THAT(std::string(Message(read("# nobody\n").status())), HasSubstr("no host"));
  EXPECT_THAT(std::string(Message(read("a\n-x\n").status())), HasSubstr("'-x'"));
  EXPECT_EQ(ReadHosts("", "/nowhere").status().code(), absl::StatusCode::kNotFound);
}

TEST(EngineHosts, TheLauncherIsToldAndGetsOurVariables) {
  EXPECT_TRUE(IsOpenMpiLauncher("/usr/bin/mpirun --bind-to core"));
  EXPECT_FALSE(IsOpenMpiLauncher("srun --mpi=pmix"));
  EXPECT_FALSE(IsOpenMpiLauncher(""));
  setenv("FOLKMOOT_THREADS", "2", 1);
  setenv("FOLKMOOT_API_KEY", "s3cret", 1);
  const std::vector<std::string> words =
      LauncherWords(*ReadHosts("a:2,b:2", ""), {{"FOLKMOOT_API_KEY", std::nullopt}});
  unsetenv("FOLKMOOT_THREADS");
  unsetenv("FOLKMOOT_API_KEY");
  EXPECT_EQ(words[0], "--host");
  EXPECT_EQ(words[1], "a:2,b:2");
  EXPECT_NE(std::find(words.begin(), words.end(), "FOLKMOOT_THREADS"), words.end());
  EXPECT_EQ(std::find(words.begin(), words.end(), "FOLKMOOT_API_KEY"), words.end());
}

TEST(EngineHosts, SaysWhereNobodyCameFrom) {
  EXPECT_EQ(MissingHosts({"a", "b"}, {"b.example.org", "a"}), "");
  EXPECT_EQ(MissingHosts({"a", "b", "c"}, {"b"}), "; none from a, c");
  EXPECT_EQ(MissingHosts({}, {}), "");
}

TEST(HostSharedMemory, GoesWithItsUsers) {
  const std::string server = fmt::format("/anywhere/folkmoot-test-{}", getpid());
  const std::filesystem::path old = SharedMemoryDirectory(server, 1);
  const std::filesystem::path mine = SharedMemoryDirectory(server, 2);
  std::filesystem::create_directories(old);
  std::ofstream(old / "segment") << "left by a rank that was killed";
  UseSharedMemoryDirectory(server, 2);
  EXPECT_FALSE(std::filesystem::exists(old));
  EXPECT_EQ(std::filesystem::status(mine).permissions(), std::filesystem::perms::owner_all);
  EXPECT_EQ(std::getenv("OMPI_MCA_btl_vader_backing_directory"), mine.string());
  unsetenv("OMPI_MCA_btl_vader_backing_directory");
  std::ofstream(mine / "segment") << "in use";
  std::ifstream user(mine / "segment");
  UnlinkSharedMemory(server, 2);
  EXPECT_EQ(std::filesystem::file_size(mine / "segment"), 0u);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(user), {}), "in use");
  LeaveSharedMemoryDirectory(server, 2);
  EXPECT_TRUE(std::filesystem::exists(mine));  // another rank is not done
  std::filesystem::remove(mine / "segment");
  LeaveSharedMemoryDirectory(server, 2);
  EXPECT_FALSE(std::filesystem::exists(mine));
}

TEST(ListeningSockets, AreFound) {
  const FileDescriptor near = *ListenOnTcp("127.0.0.1", 0);
  std::vector<std::string> found;
  for (const ListeningSocket& socket : ListeningSocketsOf(getpid())) {
    EXPECT_EQ(socket.process, getpid());
    EXPECT_EQ(socket.program, "supervisor_test");
    if (socket.loopback) found.push_back(socket.address);
  }
  EXPECT_THAT(found, ElementsAre(LocalAddress(near.get())));
}

}  // namespace
}  // namespace folkmoot
