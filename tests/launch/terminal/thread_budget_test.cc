// SPDX-License-Identifier: Apache-2.0
#include "launch/thread_budget.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace folkmoot {
namespace {

namespace fs = std::filesystem;

TEST(ThreadBudget, SharesTheCoresOfAHost) {
  const ThreadBudget budget =
      BudgetOf({.online_cores = 16, .allowed_cores = 16, .ranks_on_host = 4}, 0, "auto");
  EXPECT_EQ(budget.threads, 4);
  EXPECT_FALSE(budget.pin);
  EXPECT_EQ(budget.why, "16 of 16 cores for 4 ranks");
  EXPECT_EQ(BudgetOf({.online_cores = 2, .allowed_cores = 2, .ranks_on_host = 4}, 0, "on").threads,
            1);
}

TEST(ThreadBudget, CoresThatTheLauncherGaveAreTheRanksOwn) {
  const ThreadBudget budget = BudgetOf(
      {.online_cores = 16, .allowed_cores = 4, .ranks_on_host = 4, .bound_by_launcher = true}, 0,
      "auto");
  EXPECT_EQ(budget.threads, 4);
  EXPECT_TRUE(budget.pin);
  EXPECT_FALSE(BudgetOf({.online_cores = 16, .allowed_cores = 4}, 0, "off").pin);
  // Fewer cores by the container, which all ranks share.
  EXPECT_EQ(
      BudgetOf({.online_cores = 16, .allowed_cores = 4, .ranks_on_host = 4}, 0, "auto").threads, 1);
}

TEST(ThreadBudget, TheControlGroupLimitsAllRanksTogether) {
  ThreadFacts facts = {.online_cores = 64, .allowed_cores = 64, .quota_cores = 2.5};
  EXPECT_EQ(BudgetOf(facts, 0, "auto").threads, 3);
  EXPECT_EQ(BudgetOf(facts, 0, "auto").why, "64 of 64 cores for 1 rank, 2.5 of CPU time allowed");
  facts.ranks_on_host = 2;
  EXPECT_EQ(BudgetOf(facts, 0, "auto").threads, 1);
  facts.quota_cores = 100;
  EXPECT_EQ(BudgetOf(facts, 0, "auto").threads, 32);
}

TEST(ThreadBudget, TheFlagWins) {
  const ThreadBudget budget = BudgetOf({.online_cores = 2, .allowed_cores = 2}, 7, "auto");
  EXPECT_EQ(budget.threads, 7);
  EXPECT_EQ(budget.why, "--threads");
}

TEST(CpuQuota, IsTheLeastOfTheGroupsAbove) {
  const fs::path root = fs::path(testing::TempDir()) / ("cgroup-" + std::to_string(getpid()));
  fs::create_directories(root / "a" / "b");
  std::ofstream(root / "a" / "cpu.max") << "150000 100000\n";
  std::ofstream(root / "a" / "b" / "cpu.max") << "max 100000\n";
  EXPECT_EQ(CpuQuota(root.string(), "0::/a/b\n"), 1.5);
  EXPECT_EQ(CpuQuota(root.string(), "0::/\n"), 0);
  EXPECT_EQ(CpuQuota(root.string(), "1:cpu:/a\n"), 0);  // version 1
  std::ofstream(root / "cpu.max") << "50000 100000\n";
  EXPECT_EQ(CpuQuota(root.string(), "12:x:/y\n0::/a/b\n"), 0.5);
  std::ofstream(root / "cpu.max") << "rubbish";
  EXPECT_EQ(CpuQuota(root.string(), "0::/a\n"), 1.5);
  fs::remove_all(root);
}

}  // namespace
}  // namespace folkmoot
