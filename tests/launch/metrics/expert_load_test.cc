// SPDX-License-Identifier: Apache-2.0
#include "launch/metrics/expert_load.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace folkmoot {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;

const ExpertWindow::Time kStart{};

TEST(ExpertWindow, CountsGrowthOfTheLastSecondsOnly) {
  ExpertWindow window(2, milliseconds(1000));
  EXPECT_THAT(window.Recent(), ElementsAre(0, 0));
  window.Add(kStart, {});
  for (int i = 1; i <= 500; ++i) {  // every 10 ms one more token of the first expert
    window.Add(kStart + milliseconds(10 * i), {i, 7});
  }
  EXPECT_NEAR(window.seconds(), 1.0, 0.11);
  EXPECT_NEAR(static_cast<double>(window.Recent()[0]), 100 * window.seconds(), 1);
  EXPECT_EQ(window.Recent()[1], 0);
}

TEST(ExpertWindow, APauseIsPartOfTheWindow) {
  ExpertWindow window(1, milliseconds(1000));
  window.Add(kStart, {5});
  window.Add(kStart + milliseconds(60000), {11});
  EXPECT_THAT(window.Recent(), ElementsAre(6));
  EXPECT_EQ(window.seconds(), 60);
}

TEST(ExpertLoad, SumsFollowThePlacement) {
  const MoeLayout layout = {
      .layers = {0, 2}, .experts = 3, .ranks = 2, .rank_of_expert = {1, 0, 1}};
  EXPECT_THAT(SumByRank(layout, {1, 2, 3, 10, 20, 30}), ElementsAre(2, 4, 20, 40));
}

TEST(ExpertLoad, Balancedness) {
  const std::vector<int64_t> counts = {5, 5, 0, 8, 0, 0};
  EXPECT_EQ(Balancedness(counts, 0, 2), 1.0);
  EXPECT_EQ(Balancedness(counts, 2, 2), 0.5);
  EXPECT_TRUE(std::isnan(Balancedness(counts, 4, 2)));
}

}  // namespace
}  // namespace folkmoot
