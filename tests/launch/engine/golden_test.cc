// SPDX-License-Identifier: Apache-2.0
// Every golden checkpoint against what Hugging Face Transformers computed with it:
// log-probabilities within 1e-4 (1e-3 from codes), every router choice and every greedy token
// equal, at 1 and at 3 ranks with the same bits.
#include <gmock/gmock.h>

#include "runtime/machine_probe.h"
#include "tests/support/golden_case.h"

namespace folkmoot {
namespace {

constexpr double kTolerance = 1e-4;

class Golden : public testing::TestWithParam<std::string> {
 protected:
  GoldenCase case_{GetParam()};
};

// Products with codes round activations to 16 bits (quant_golden_test.cc), but what codes stand for
// is exact.
TEST_P(Golden, EqualsTransformers) {
  if (case_.quantised) {
    case_.ExpectTransformers(1e-3, 1e-3);
    case_.setup.options.dtype = "float32";
  }
  case_.ExpectTransformers(kTolerance);
}

TEST_P(Golden, SameBitsAtThreeRanks) { case_.ExpectSameBitsAt(3); }

// Weights stored in 16 bits are computed with in float32: against Transformers in float32 the error
// stays far below its own bfloat16 error.
TEST_P(Golden, SixteenBitStorageIsWithinTransformersOwnError) {
  case_.setup.options.dtype = "bfloat16";
  for (const char* order : {"portable", "native"}) {
    if (order == NativeSumOrder()) continue;  // there is none but that
    case_.setup.options.sum_order = order;
    const auto outcomes = RunRequests(case_.setup, case_.requests);
    ASSERT_TRUE(outcomes.ok()) << outcomes.status();
    case_.ExpectLogprobs(*outcomes, 2 * case_.golden["bf16_reference_error"].get<double>());
  }
}

// With activations in bfloat16 as well, the error is that of Transformers in bfloat16 at most,
// although it rounds more than products: the mean. The worst of few positions is a matter of luck.
// Near ties experts may differ.
TEST_P(Golden, ReducedActivationsAreWithinTransformersOwnError) {
  case_.setup.options.dtype = "bfloat16";
  case_.setup.options.activation_precision = "reduced";
  const auto outcomes = RunRequests(case_.setup, case_.requests);
  ASSERT_TRUE(outcomes.ok()) << outcomes.status();
  const double own = case_.golden["bf16_reference_error"].get<double>();
  const double own_mean = case_.golden["bf16_reference_mean_error"].get<double>();
  double compared = 0;
  double mean = 0;
  const double worst = case_.ExpectLogprobsWhereRoutedAlike(*outcomes, 2 * own, &compared, &mean);
  EXPECT_LE(mean, own_mean);
  fmt::print(
      "{}: worst log-probability error {:.1e}, that of Transformers {:.1e}; {:.2f} compared; "
      "mean {:.1e}, that of Transformers {:.1e}\n",
      case_.variant, worst, own, compared, mean, own_mean);
  EXPECT_GT(compared, 0.1);
}

INSTANTIATE_TEST_SUITE_P(Families, Golden, testing::ValuesIn(GoldenVariants()), GoldenTestName);

}  // namespace
}  // namespace folkmoot
