// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/run_directory.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "launch/supervisor/host_shared_memory.h"

namespace folkmoot {
namespace {

namespace fs = std::filesystem;

class RunDirectoryTest : public testing::Test {
 protected:
  void SetUp() override {
    base_ = testing::TempDir() + "/folkmoot-run-directory-test";
    fs::remove_all(base_);
    fs::create_directories(base_);
    const char* before = std::getenv("TMPDIR");
    before_ = before == nullptr ? "" : before;
    setenv("TMPDIR", base_.c_str(), 1);
  }
  void TearDown() override {
    if (before_.empty()) {
      unsetenv("TMPDIR");
    } else {
      setenv("TMPDIR", before_.c_str(), 1);
    }
    fs::remove_all(base_);
  }

  std::string base_, before_;
};

TEST_F(RunDirectoryTest, IsPrivateAndGoes) {
  std::string path;
  {
    absl::StatusOr<RunDirectory> directory = RunDirectory::Create();
    ASSERT_TRUE(directory.ok()) << directory.status();
    path = directory->path();
    EXPECT_EQ(fs::status(path).permissions(), fs::perms::owner_all);
  }
  EXPECT_FALSE(fs::exists(path));
}

// One that was killed leaves its directory and its shared memory; the next start removes them, and
// nothing of those who live or are not ours.
TEST_F(RunDirectoryTest, TheNextOneCleansUpAfterTheDead) {
  const auto alive = RunDirectory::Create();
  ASSERT_TRUE(alive.ok());
  int pipe_ends[2];
  ASSERT_EQ(pipe(pipe_ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    const auto dead = RunDirectory::Create();
    fs::create_directory(SharedMemoryDirectory(dead->path(), 1));
    std::ofstream(dead->path() + "/1") << "a socket, say";
    const std::string path = dead->path();
    (void)!write(pipe_ends[1], path.data(), path.size());
    raise(SIGKILL);
  }
  waitpid(child, nullptr, 0);
  std::string dead(4096, '\0');
  dead.resize(static_cast<size_t>(read(pipe_ends[0], dead.data(), dead.size())));
  close(pipe_ends[0]);
  close(pipe_ends[1]);
  ASSERT_TRUE(fs::exists(dead));
  ASSERT_TRUE(fs::exists(SharedMemoryDirectory(dead, 1)));
  fs::create_directory(base_ + "/folkmoot-abcdef");       // somebody's without a lock
  fs::create_directory(base_ + "/folkmoot-longer-name");  // somebody else's
  std::ofstream(base_ + "/folkmoot-longer-name/lock") << "";
  {
    const auto next = RunDirectory::Create();
    ASSERT_TRUE(next.ok());
    EXPECT_FALSE(fs::exists(dead));
    EXPECT_FALSE(fs::exists(SharedMemoryDirectory(dead, 1)));
    EXPECT_TRUE(fs::exists(alive->path() + "/lock"));
    EXPECT_TRUE(fs::exists(base_ + "/folkmoot-abcdef"));
    EXPECT_TRUE(fs::exists(base_ + "/folkmoot-longer-name"));
    EXPECT_TRUE(fs::exists(next->path()));
  }
}

}  // namespace
}  // namespace folkmoot
