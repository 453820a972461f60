// SPDX-License-Identifier: Apache-2.0
#include "scheduler/placement.h"

#include <gtest/gtest.h>

#include <vector>

namespace folkmoot {
namespace {

TEST(Placement, TheRankWithTheLeastPendingWork) {
  std::vector<RankLoad> loads(3, {.fits = true});
  EXPECT_EQ(ChooseRank(loads, 100, kDecodeWeight), 0) << "the lowest when equal";
  loads[0].prefill_tokens = 50;
  loads[1].running = 1;
  EXPECT_EQ(ChooseRank(loads, 100, kDecodeWeight), 2);
  loads[2].running = 5;
  EXPECT_EQ(ChooseRank(loads, 100, kDecodeWeight), 1);
}

TEST(Placement, OnlyWhereItFits) {
  std::vector<RankLoad> loads(2);
  EXPECT_EQ(ChooseRank(loads, 100, kDecodeWeight), -1);
  loads[1] = {.fits = true, .prefill_tokens = 10'000};
  EXPECT_EQ(ChooseRank(loads, 100, kDecodeWeight), 1);
}

TEST(Placement, ACachedPrefixAttractsWhenLoadsAreClose) {
  std::vector<RankLoad> loads(2, {.fits = true});
  loads[1].cached_tokens = 64;
  loads[1].running = 3;  // 48 tokens' worth
  EXPECT_EQ(ChooseRank(loads, 100, kDecodeWeight), 1);
  loads[1].running = 5;  // 80
  EXPECT_EQ(ChooseRank(loads, 100, kDecodeWeight), 0);
  EXPECT_EQ(ChooseRank(loads, 100, kSiblingDecodeWeight), 1);
}

}  // namespace
}  // namespace folkmoot
