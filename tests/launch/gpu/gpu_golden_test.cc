// SPDX-License-Identifier: Apache-2.0
// Every golden checkpoint through the GPU decoder, against what Hugging Face Transformers computed
// with it. In float32: log-probabilities within 1e-4, every router choice and every greedy token
// equal. With 16-bit weights, inputs of products, keys and values are rounded too, as Transformers
// does in bfloat16: the error against float32 is at most twice its own, as far as the same experts
// were chosen.
#include <gmock/gmock.h>

#include "launch/gpu/gpu.h"
#include "layers/models/load_config.h"
#include "layers/models/model.h"
#include "tests/support/golden_case.h"

namespace folkmoot {
namespace {

class GpuGolden : public testing::TestWithParam<std::string> {
 protected:
  GpuGolden() {
    case_.setup.options.device = "cuda";
    case_.setup.options.allow_shared_gpu = true;
    case_.setup.options.kv_cache_blocks = 64;
  }
  void SetUp() override {
    if (!ListGpus().ok()) GTEST_SKIP() << "SKIPPED: no GPU";
  }
  // Families without GPU kernels are refused with that reason, which this checks.
  bool IsRefused() {
    const ModelConfig config = LoadModelConfig(case_.setup.options.model).value();
    const std::string why(WhyCpuOnly(config));
    if (why.empty()) return false;
    const auto outcomes = RunRequests(case_.setup, case_.requests);
    EXPECT_THAT(std::string(outcomes.status().message()), testing::HasSubstr(why));
    return true;
  }
  GoldenCase case_{GetParam()};
};

TEST_P(GpuGolden, EqualsTransformers) {
  if (IsRefused()) return;
  case_.setup.options.dtype = "float32";
  case_.ExpectTransformers(1e-4);
}

TEST_P(GpuGolden, SixteenBitsAreWithinTransformersOwnError) {
  if (IsRefused()) return;
  case_.setup.options.dtype = "bfloat16";
  const auto outcomes = RunRequests(case_.setup, case_.requests);
  ASSERT_TRUE(outcomes.ok()) << outcomes.status();
  const double own = case_.golden["bf16_reference_error"].get<double>();
  double compared = 0;
  const double worst = case_.ExpectLogprobsWhereRoutedAlike(*outcomes, 2 * own, &compared);
  EXPECT_GE(compared, 0.5) << "router choices differ too often";
  fmt::print("{}: worst log-probability error {:.1e}, Transformers {:.1e}, {:.0f} % compared\n",
             GetParam(), worst, own, 100 * compared);
}

INSTANTIATE_TEST_SUITE_P(Families, GpuGolden, testing::ValuesIn(GoldenVariants()), GoldenTestName);

}  // namespace
}  // namespace folkmoot
