// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/engine_job.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/wait.h>

#include <filesystem>
#include <fstream>

#include "launch/supervisor/process.h"

namespace folkmoot {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(RankCommand, KeepsTheUsersFlagsAndNoKeys) {
  std::vector<std::string> command = RankCommand({"folkmoot",
                                                  "serve",
                                                  "MODEL",
                                                  "--ranks",
                                                  "3",
                                                  "--api-key",
                                                  "s3cret",
                                                  "--port=80",
                                                  "--api-key=s3cret",
                                                  "--launcher=srun",
                                                  "--ranks=4",
                                                  "--dtype",
                                                  "bfloat16",
                                                  "--api-key",
                                                  "one",
                                                  "two",
                                                  "--api-key-file",
                                                  "keys",
                                                  "--hosts",
                                                  "a:2,b:2",
                                                  "--control-host=10.0.0.1"});
  ASSERT_FALSE(command.empty());
  command.erase(command.begin());  // this program
  EXPECT_THAT(command, ElementsAre("serve", "MODEL", "--port=80", "--dtype", "bfloat16"));
}

TEST(Process, SaysHowItEnded) {
  EXPECT_EQ(DescribeExit(0), "exited with status 0");
  EXPECT_EQ(DescribeExit(3 << 8), "exited with status 3");
  EXPECT_EQ(DescribeExit(9), "was killed by signal 9 (Killed)");
}

TEST(Process, GivesAProgramItsInput) {
  const std::string path = testing::TempDir() + "/folkmoot-input";
  for (const std::string input : {"", "a line\n"}) {
    const auto child = StartProgram({"sh", "-c", "cat >" + path}, {}, input);
    ASSERT_TRUE(child.ok()) << child.status();
    int status = -1;
    EXPECT_EQ(waitpid(*child, &status, 0), *child);
    EXPECT_EQ(status, 0);
    std::ifstream file(path);
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), input);
  }
}

TEST(Process, KnowsItsCommandLine) {
  const auto words = OwnCommandLine();
  ASSERT_TRUE(words.ok()) << words.status();
  EXPECT_THAT(words->front(), HasSubstr("supervisor_test"));
}

}  // namespace
}  // namespace folkmoot
