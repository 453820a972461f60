// SPDX-License-Identifier: Apache-2.0
#include "parallel/combine.h"

#include <vector>

#include "gtest/gtest.h"
#include "tests/support/routing_case.h"

namespace folkmoot {
namespace {

// One token, one column: the order and the roundings can be written down.
float CombineOne(std::vector<float> weights, std::vector<float> rows,
                 std::vector<SlotAction> actions, bool weight_on_input, float x) {
  const size_t top_k = weights.size();
  std::vector<int32_t> expert(top_k, 0);
  Routing routing;
  routing.tokens = 1;
  routing.top_k = static_cast<int>(top_k);
  routing.weight_on_input = weight_on_input;
  routing.expert = expert;
  routing.weight = weights;
  routing.action = actions;
  std::vector<const float*> pointers;
  for (const float& row : rows) pointers.push_back(&row);
  float out = -1.0f;
  CombineRows({&x, 1, 1}, routing, pointers, {&out, 1, 1});
  return out;
}

constexpr SlotAction kExpert = SlotAction::kExpert;

TEST(Combine, AddsInSlotOrder) {
  // (2^25 + 1) - 2^25 loses the 1 in float32, another order keeps it.
  const float big = 0x1p25f;
  EXPECT_EQ(CombineOne({1, 1, 1}, {big, 1, -big}, {kExpert, kExpert, kExpert}, false, 0), 0.0f);
  EXPECT_EQ(CombineOne({1, 1, 1}, {big, -big, 1}, {kExpert, kExpert, kExpert}, false, 0), 1.0f);
}

TEST(Combine, RoundsProductAndSumApart) {
  // w * row = 1 + 2^-11 + 2^-24 is not a float32; a fused multiply-add would keep the 2^-24.
  const float w = 1.0f + 0x1p-12f;
  EXPECT_EQ(CombineOne({1, w}, {-1.0f, w}, {kExpert, kExpert}, false, 0), 0x1p-11f);
}

TEST(Combine, IdentityTakesItsPlaceInTheOrder) {
  const float big = 0x1p25f;
  EXPECT_EQ(
      CombineOne({1, 1, 1}, {big, 0, -big}, {kExpert, SlotAction::kIdentity, kExpert}, false, 1.0f),
      0.0f);
  EXPECT_EQ(CombineOne({1, 0.5f}, {3, 0}, {kExpert, SlotAction::kIdentity}, false, 8.0f), 7.0f);
}

TEST(Combine, WeightOnInputAddsRowsAsTheyAre) {
  EXPECT_EQ(CombineOne({0.5f, 0.5f}, {3, 4}, {kExpert, kExpert}, true, 0), 7.0f);
  EXPECT_EQ(CombineOne({0.5f, 0.5f}, {3, 0}, {kExpert, SlotAction::kIdentity}, true, 8.0f), 7.0f);
}

TEST(Combine, WithoutKeptChoicesTheSumIsZero) {
  EXPECT_EQ(CombineOne({0.5f}, {3}, {SlotAction::kNone}, false, 8.0f), 0.0f);
  EXPECT_EQ(CombineOne({}, {}, {}, false, 8.0f), 0.0f);
}

TEST(CombineDeathTest, ExpertOutOfRangeIsABug) {
  RoutingCase test;
  test.pattern = ChoicePattern::kAllKept;
  TestTokens tokens(test, 0, 2);
  tokens.expert[1] = 7;
  EXPECT_DEATH(CheckRouting(tokens.x(), tokens.routing, 7), "experts");
}

}  // namespace
}  // namespace folkmoot
