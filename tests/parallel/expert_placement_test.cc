// SPDX-License-Identifier: Apache-2.0
#include "parallel/expert_placement.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace folkmoot {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(ExpertPlacement, ContiguousGivesTheRestToTheFirstRanks) {
  const ExpertPlacement placement = ExpertPlacement::Contiguous(7, 3);
  EXPECT_THAT(placement.experts_of(0), ElementsAre(0, 1, 2));
  EXPECT_THAT(placement.experts_of(1), ElementsAre(3, 4));
  EXPECT_THAT(placement.experts_of(2), ElementsAre(5, 6));
  EXPECT_EQ(placement.rank_of(4), 1);
  EXPECT_EQ(placement.slot_of(4), 1);
}

TEST(ExpertPlacement, RoundRobinDealsThemOut) {
  const ExpertPlacement placement = ExpertPlacement::RoundRobin(7, 3);
  EXPECT_THAT(placement.experts_of(0), ElementsAre(0, 3, 6));
  EXPECT_THAT(placement.experts_of(1), ElementsAre(1, 4));
  EXPECT_THAT(placement.experts_of(2), ElementsAre(2, 5));
  EXPECT_EQ(placement.slot_of(6), 2);
}

TEST(ExpertPlacement, MoreRanksThanExperts) {
  for (const ExpertPlacement& placement :
       {ExpertPlacement::Contiguous(2, 4), ExpertPlacement::RoundRobin(2, 4)}) {
    EXPECT_THAT(placement.experts_of(0), ElementsAre(0));
    EXPECT_THAT(placement.experts_of(1), ElementsAre(1));
    EXPECT_THAT(placement.experts_of(2), IsEmpty());
    EXPECT_THAT(placement.experts_of(3), IsEmpty());
    EXPECT_EQ(placement.ranks(), 4);
  }
}

TEST(ExpertPlacement, ExplicitTakesAnyNumberPerRank) {
  const auto placement = ExpertPlacement::Explicit({2, 0, 2, 2}, 3).value();
  EXPECT_THAT(placement.experts_of(0), ElementsAre(1));
  EXPECT_THAT(placement.experts_of(1), IsEmpty());
  EXPECT_THAT(placement.experts_of(2), ElementsAre(0, 2, 3));
  EXPECT_EQ(placement.slot_of(3), 2);
}

TEST(ExpertPlacement, ExplicitRefusesRanksThatDoNotExist) {
  EXPECT_THAT(std::string(Message(ExpertPlacement::Explicit({0, 3}, 3).status())),
              HasSubstr("expert 1 is placed on rank 3; expected a rank from 0 to 2"));
  EXPECT_FALSE(ExpertPlacement::Explicit({-1}, 3).ok());
  EXPECT_FALSE(ExpertPlacement::Explicit({}, 0).ok());
}

TEST(ExpertPlacement, FingerprintTellsPlacementsApart) {
  EXPECT_EQ(ExpertPlacement::Contiguous(4, 4).Fingerprint(),
            ExpertPlacement::RoundRobin(4, 4).Fingerprint());
  EXPECT_NE(ExpertPlacement::Contiguous(8, 4).Fingerprint(),
            ExpertPlacement::RoundRobin(8, 4).Fingerprint());
  EXPECT_NE(ExpertPlacement::Explicit({0, 0}, 1).value().Fingerprint(),
            ExpertPlacement::Explicit({0, 0}, 2).value().Fingerprint());
}

class PlacementFile : public testing::Test {
 protected:
  ~PlacementFile() override { std::filesystem::remove(path_); }
  absl::StatusOr<ExpertPlacement> Parse(const std::string& text, int experts, int ranks) {
    std::ofstream(path_) << text;
    return ExpertPlacement::Parse(path_, experts, ranks);
  }
  void ExpectError(const std::string& text, const std::string& words) {
    const auto placement = Parse(text, 3, 2);
    ASSERT_FALSE(placement.ok()) << text;
    EXPECT_THAT(std::string(Message(placement.status())), HasSubstr(words)) << text;
    EXPECT_THAT(std::string(Message(placement.status())), HasSubstr(path_)) << text;
  }

  const std::string path_ =
      std::filesystem::temp_directory_path() / ("placement_" + std::to_string(getpid()) + ".json");
};

TEST_F(PlacementFile, IsRead) {
  const auto placement = Parse("[1, 0,\n 1]\n", 3, 2);
  ASSERT_TRUE(placement.ok()) << placement.status();
  EXPECT_THAT(placement->experts_of(1), ElementsAre(0, 2));
}

TEST_F(PlacementFile, NamesWhatIsWrong) {
  ExpectError("", "expected a JSON list");
  ExpectError("[1, 0", "expected a JSON list");
  ExpectError("{\"0\": 1}", "expected a JSON list");
  ExpectError("[0, 1]", "it lists 2 experts, the model has 3");
  ExpectError("[0, 1, 2]", "expert 2 is placed on 2; expected a rank from 0 to 1");
  ExpectError("[0, -1, 0]", "expert 1 is placed on -1");
  ExpectError("[0, 4294967296, 0]", "expert 1 is placed on 4294967296");
  ExpectError("[0, 18446744073709551615, 0]", "expert 1 is placed on 18446744073709551615");
  ExpectError("[0, 0.5, 0]", "expert 1 is placed on 0.5");
  ExpectError("[0, \"1\", 0]", "expert 1 is placed on string");
  ExpectError("[0, null, 0]", "expert 1 is placed on null");
  ExpectError(std::string(200000, '['), "expected a JSON list");
}

TEST(ExpertPlacement, ParseKnowsTheNames) {
  EXPECT_EQ(ExpertPlacement::Parse("contiguous", 8, 3)->Fingerprint(),
            ExpertPlacement::Contiguous(8, 3).Fingerprint());
  EXPECT_EQ(ExpertPlacement::Parse("round_robin", 8, 3)->Fingerprint(),
            ExpertPlacement::RoundRobin(8, 3).Fingerprint());
  const auto missing = ExpertPlacement::Parse("roundrobin", 8, 3);
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(Message(missing.status())), HasSubstr("'roundrobin': not 'contiguous'"));
  EXPECT_FALSE(ExpertPlacement::Parse("contiguous", -1, 3).ok());
  EXPECT_FALSE(ExpertPlacement::Parse("contiguous", 1, 0).ok());
  EXPECT_FALSE(ExpertPlacement::Parse("/tmp", 1, 1).ok());
}

}  // namespace
}  // namespace folkmoot
