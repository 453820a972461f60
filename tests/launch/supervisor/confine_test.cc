// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/confine.h"

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <thread>

#include "launch/supervisor/process.h"

namespace folkmoot {
namespace {

// The exit status of `body` in a confined copy of this process; 99: it could not be confined.
int Confined(const std::function<int()>& body) {
  const absl::StatusOr<pid_t> child = StartCopy([&] { return Confine().ok() ? body() : 99; });
  EXPECT_TRUE(child.ok()) << child.status();
  int status = 0;
  EXPECT_EQ(waitpid(*child, &status, 0), *child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(Confine, NothingIsStarted) {
  EXPECT_EQ(Confined([] {
              execl("/bin/true", "true", nullptr);
              return errno == EPERM ? 7 : 1;
            }),
            7);
}

TEST(Confine, ThreadsAreConfinedToo) {
  EXPECT_EQ(Confined([] {
              int result = 1;
              std::thread([&] {
                execl("/bin/true", "true", nullptr);
                result = errno == EPERM ? 7 : 1;
              }).join();
              return result;
            }),
            7);
}

TEST(Confine, OthersAreNotTraced) {
  EXPECT_EQ(Confined([] {
              const bool traced = ptrace(PTRACE_ATTACH, getppid(), nullptr, nullptr) == 0;
              const bool mounted = mount("none", "/mnt", "tmpfs", 0, nullptr) == 0;
              return !traced && !mounted && errno == EPERM ? 7 : 1;
            }),
            7);
}

TEST(Confine, NoCoreIsLeftAndNoRightsAreGained) {
  EXPECT_EQ(Confined([] {
              rlimit limit = {};
              getrlimit(RLIMIT_CORE, &limit);
              return limit.rlim_max == 0 && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 &&
                             prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0
                         ? 7
                         : 1;
            }),
            7);
}

}  // namespace
}  // namespace folkmoot
