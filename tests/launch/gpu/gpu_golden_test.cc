// SPDX-License-Identifier: Apache-2.0
// Every golden checkpoint through the GPU decoder, against what Hugging Face Transformers computed
// with it. In float32: log-probabilities within 1e-4, every router choice and every greedy token
// equal. With 16-bit weights, inputs of products, keys and values are rounded too, as Transformers
// does in bfloat16: the error against float32 is at most twice its own, as far as the same experts
// were chosen.
#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "launch/gpu/gpu.h"
#include "layers/models/load_config.h"
#include "layers/models/model.h"
#include "runtime/checkpoint/checkpoint.h"
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

// Experts of FP8 run from their codes, which are not rounded.
class GpuFp8 : public testing::Test {
 protected:
  void SetUp() override {
    if (!ListGpus().ok()) GTEST_SKIP() << "SKIPPED: no GPU";
    golden_.setup.options.device = "cuda";
    golden_.setup.options.allow_shared_gpu = true;
    golden_.setup.options.kv_cache_blocks = 64;
  }
  GoldenCase golden_{"qwen2_moe-fp8", "quant/models"};
};

// The error is that of activations of 16 bits: about the same with plain weights.
TEST_F(GpuFp8, ExpertsRunFromTheirCodes) {
  double worst[2] = {};
  for (const bool plain : {false, true}) {
    if (plain) golden_.setup.options.dtype = "bfloat16";
    const auto outcomes = RunRequests(golden_.setup, golden_.requests);
    ASSERT_TRUE(outcomes.ok()) << outcomes.status();
    double compared = 0;
    worst[plain] = golden_.ExpectLogprobsWhereRoutedAlike(*outcomes, 0.06, &compared);
    EXPECT_GE(compared, 0.5) << "router choices differ too often";
  }
  EXPECT_NE(worst[0], worst[1]) << "codes were not run";
  fmt::print("worst log-probability error {:.1e} from codes, {:.1e} from BF16\n", worst[0],
             worst[1]);
}

TEST_F(GpuFp8, CodesThatAreNoNumbersAreRefusedByName) {
  namespace fs = std::filesystem;
  const std::string name = "model.layers.1.mlp.experts.2.down_proj.weight";
  const fs::path from = golden_.setup.options.model;
  const fs::path to = fs::path(testing::TempDir()) / fmt::format("nan-codes-{}", getpid());
  fs::create_directories(to);
  fs::copy_file(from / "config.json", to / "config.json");
  fs::copy_file(from / "model.safetensors", to / "model.safetensors");
  const auto checkpoint = Checkpoint::Open(to.string());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const std::byte* codes = (*checkpoint)->Find(name)->data;
  const std::byte* first = nullptr;
  for (const std::string_view other : (*checkpoint)->Names()) {
    const std::byte* data = (*checkpoint)->Find(other)->data;
    if (first == nullptr || data < first) first = data;
  }
  int64_t bytes = 0;
  for (const std::string_view other : (*checkpoint)->Names()) {
    bytes += (*checkpoint)->Find(other)->bytes;
  }
  const auto file_bytes = static_cast<int64_t>(fs::file_size(to / "model.safetensors"));
  std::fstream file(to / "model.safetensors", std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(file_bytes - bytes + (codes - first) + 5);  // data follows the header without gaps
  file.put(static_cast<char>(0xff));
  file.close();
  golden_.setup.options.model = to.string();
  const auto outcomes = RunRequests(golden_.setup, golden_.requests);
  EXPECT_THAT(std::string(outcomes.status().message()),
              testing::HasSubstr("tensor '" + name + "': it has codes that are not numbers"));
  fs::remove_all(to);
}

}  // namespace
}  // namespace folkmoot
