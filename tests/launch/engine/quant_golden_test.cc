// SPDX-License-Identifier: Apache-2.0
// Quantised checkpoints against Transformers, which ran the numbers that their codes stand for in
// float32. Products with codes round activations to 16 bits (docs/kernels.md): log-probabilities
// are within 1e-3 (5e-4 was seen), and every choice is the same.
#include <gmock/gmock.h>

#include "tests/support/golden_case.h"

namespace folkmoot {
namespace {

constexpr double kTolerance = 1e-3;
constexpr char kFolder[] = "quant/models";

class QuantGolden : public testing::TestWithParam<std::string> {
 protected:
  GoldenCase case_{GetParam(), kFolder};
};

TEST_P(QuantGolden, EqualsTransformers) {
  const auto outcomes = RunRequests(case_.setup, case_.requests);
  ASSERT_TRUE(outcomes.ok()) << outcomes.status();
  const double worst = case_.ExpectLogprobs(*outcomes, kTolerance);
  case_.ExpectRouting(*outcomes, kTolerance);
  EXPECT_EQ(outcomes->back().tokens, case_.continuation);
  RecordProperty("worst_logprob_error", fmt::format("{:.2e}", worst));
  fmt::print("{}: worst log-probability error {:.1e}\n", GetParam(), worst);
}

TEST_P(QuantGolden, SameBitsAtThreeRanks) {
  const auto alone = RunRequests(case_.setup, case_.requests);
  ASSERT_TRUE(alone.ok()) << alone.status();
  case_.setup.ranks = 3;
  const auto three = RunRequests(case_.setup, case_.requests);
  ASSERT_TRUE(three.ok()) << three.status();
  for (size_t p = 0; p < case_.requests.size(); ++p) {
    EXPECT_TRUE((*alone)[p] == (*three)[p]) << "prompt " << p;
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, QuantGolden, testing::ValuesIn(GoldenVariants(kFolder)),
                         GoldenTestName);

}  // namespace
}  // namespace folkmoot
