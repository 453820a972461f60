// SPDX-License-Identifier: Apache-2.0
#include "runtime/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <cstdlib>

namespace folkmoot {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::internal::CaptureStderr;
using ::testing::internal::GetCapturedStderr;

TEST(LogLevel, FlagOverEnvironmentOverDefault) {
  EXPECT_EQ(ResolveLogLevel("", nullptr).value(), "warning");
  EXPECT_EQ(ResolveLogLevel("", "").value(), "warning");
  EXPECT_EQ(ResolveLogLevel("", "debug").value(), "debug");
  EXPECT_EQ(ResolveLogLevel("error", "debug").value(), "error");
  EXPECT_EQ(ResolveLogLevel("warn", nullptr).value(), "warning");
}

TEST(LogLevel, UnknownLevelNamesItsSource) {
  EXPECT_THAT(std::string(Message(ResolveLogLevel("loud", nullptr).status())),
              AllOf(HasSubstr("--log-level"), HasSubstr("'loud'"), HasSubstr("trace, debug")));
  EXPECT_THAT(std::string(Message(ResolveLogLevel("", "2").status())),
              HasSubstr("FOLKMOOT_LOG_LEVEL: unknown log level '2'"));
}

// What a fresh logger with these options writes for one line per level.
std::string LinesOf(const LogOptions& options) {
  CaptureStderr();
  EXPECT_TRUE(SetUpLog(options).ok());
  spdlog::info("step=1");
  spdlog::warn("step=2");
  return GetCapturedStderr();
}

TEST(SetUpLog, EveryLineCarriesItsRank) {
  unsetenv("FOLKMOOT_LOG_LEVEL");
  const std::string lines = LinesOf({"info", 0, 4});
  EXPECT_THAT(lines, ::testing::ContainsRegex("[0-9:.]+ info +\\[r0/4\\] step=1\n"));
  EXPECT_THAT(lines, ::testing::ContainsRegex("warning +\\[r0/4\\] step=2\n"));
}

TEST(SetUpLog, HigherRanksOnlyWarnUnlessAsked) {
  EXPECT_THAT(LinesOf({"info", 2, 4}), AllOf(Not(HasSubstr("step=1")), HasSubstr("[r2/4] step=2")));
  EXPECT_THAT(LinesOf({"info", 2, 4, true}), HasSubstr("[r2/4] step=1"));
}

TEST(SetUpLog, EnvironmentSetsTheLevelAndOffIsSilent) {
  setenv("FOLKMOOT_LOG_LEVEL", "off", 1);
  EXPECT_EQ(LinesOf({}), "");
  setenv("FOLKMOOT_LOG_LEVEL", "verbose", 1);
  EXPECT_FALSE(SetUpLog({}).ok());
  unsetenv("FOLKMOOT_LOG_LEVEL");
}

}  // namespace
}  // namespace folkmoot
