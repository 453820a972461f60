// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/restart_policy.h"

#include <gtest/gtest.h>

namespace folkmoot {
namespace {

using std::chrono::milliseconds;

TEST(RestartPolicy, AnEngineThatNeverWasReadyIsGivenUpAtOnce) {
  RestartPolicy policy;
  EXPECT_FALSE(policy.OnFailure(EngineLife::kNeverReady).has_value());
}

TEST(RestartPolicy, OneThatWorksStartsAgainForEver) {
  RestartPolicy policy;
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(policy.OnFailure(EngineLife::kComputed), milliseconds(0)) << i;
  }
}

TEST(RestartPolicy, UselessLivesAreFollowedByPausesAndAnEnd) {
  RestartPolicy policy;
  EXPECT_EQ(policy.OnFailure(EngineLife::kComputed), milliseconds(0));
  EXPECT_EQ(policy.OnFailure(EngineLife::kNeverReady), milliseconds(0));
  EXPECT_EQ(policy.OnFailure(EngineLife::kReady), milliseconds(500));
  EXPECT_EQ(policy.OnFailure(EngineLife::kReady), milliseconds(1000));
  EXPECT_EQ(policy.OnFailure(EngineLife::kNeverReady), milliseconds(2000));
  EXPECT_FALSE(policy.OnFailure(EngineLife::kReady).has_value());
}

TEST(RestartPolicy, AUsefulLifeClearsTheCount) {
  RestartPolicy policy;
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i + 1 < RestartPolicy::kMostFailures; ++i) {
      EXPECT_TRUE(policy.OnFailure(EngineLife::kReady).has_value());
    }
    EXPECT_EQ(policy.OnFailure(EngineLife::kComputed), milliseconds(0));
  }
}

}  // namespace
}  // namespace folkmoot
