// SPDX-License-Identifier: Apache-2.0
// Quantised checkpoints against Transformers, which ran the numbers that their codes stand for in
// float32. Products with codes round activations to 16 bits (docs/kernels.md): log-probabilities
// are within 1e-3 (6e-4 was seen), and every choice is the same.
#include <gmock/gmock.h>

#include <filesystem>

#include "runtime/checkpoint/checkpoint.h"
#include "runtime/checkpoint/safetensors_writer.h"
#include "tests/support/golden_case.h"

namespace folkmoot {
namespace {

constexpr double kTolerance = 1e-3;
constexpr char kFolder[] = "quant/models";

class QuantGolden : public testing::TestWithParam<std::string> {
 protected:
  GoldenCase case_{GetParam(), kFolder};
};

TEST_P(QuantGolden, EqualsTransformers) { case_.ExpectTransformers(kTolerance, kTolerance); }

TEST_P(QuantGolden, SameBitsAtThreeRanks) { case_.ExpectSameBitsAt(3); }

// Activations of 8 bits: the same answer to about two digits, and the same bits at three ranks.
TEST_P(QuantGolden, ReducedActivations) {
  case_.setup.options.activation_precision = "reduced";
  const auto outcomes = RunRequests(case_.setup, case_.requests);
  ASSERT_TRUE(outcomes.ok()) << outcomes.status();
  double compared = 0;
  const double worst = case_.ExpectLogprobsWhereRoutedAlike(*outcomes, 0.2, &compared);
  fmt::print("{}: worst log-probability error {:.1e}; {:.2f} compared\n", case_.variant, worst,
             compared);
  EXPECT_GT(compared, 0.3);
  case_.ExpectSameBitsAt(3);
}

INSTANTIATE_TEST_SUITE_P(Formats, QuantGolden, testing::ValuesIn(GoldenVariants(kFolder)),
                         GoldenTestName);

// The tensors of `from`, but those of `expert` as zeros in BF16.
void WriteMixed(const Checkpoint& from, const std::string& expert, int64_t inner, int64_t hidden,
                const std::string& path) {
  std::vector<NewTensor> tensors;
  for (const std::string_view name : from.Names()) {
    if (name.starts_with(expert)) continue;
    tensors.push_back({std::string(name), from.Find(name)->dtype, from.Find(name)->shape});
  }
  const size_t copied = tensors.size();
  tensors.push_back({expert + "gate_proj.weight", DType::kBF16, {inner, hidden}});
  tensors.push_back({expert + "up_proj.weight", DType::kBF16, {inner, hidden}});
  tensors.push_back({expert + "down_proj.weight", DType::kBF16, {hidden, inner}});
  const auto writer = SafetensorsWriter::Create(path, tensors);
  ASSERT_TRUE(writer.ok()) << writer.status();
  for (size_t i = 0; i < copied; ++i) {
    const TensorInfo& info = *from.Find(tensors[i].name);
    const std::span data(info.data, static_cast<size_t>(info.bytes));
    ASSERT_TRUE((*writer)->Write(tensors[i].name, 0, data).ok());
  }
  ASSERT_TRUE((*writer)->Finish().ok());
}

// Expert 1 of layer 0 has plain BF16 weights beside those of `model`, relative to the test data.
class MixedExperts : public testing::Test {
 protected:
  void Make(const std::string& model, int64_t inner, int64_t hidden) {
    namespace fs = std::filesystem;
    const fs::path from = fs::path(FOLKMOOT_TEST_DATA) / model;
    fs::create_directories(to_);
    fs::copy_file(from / "config.json", to_ / "config.json");
    const auto checkpoint = Checkpoint::Open(from.string());
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    const std::string expert = "model.layers.0.mlp.experts.1.";
    WriteMixed(**checkpoint, expert, inner, hidden, to_ / "model.safetensors");
    setup_.options.model = to_.string();
  }
  void TearDown() override { std::filesystem::remove_all(to_); }

  std::filesystem::path to_ =
      std::filesystem::path(testing::TempDir()) / ("mixed-" + std::to_string(getpid()));
  RunSetup setup_;
};

TEST_F(MixedExperts, ExpertsOfOneLayerAreQuantisedAlike) {
  Make("quant/models/qwen3_moe-ct-int4", 32, 64);
  const auto outcomes = RunRequests(setup_, {});
  EXPECT_THAT(std::string(outcomes.status().message()),
              testing::HasSubstr("expert 1 is quantised differently from expert 0"));
  setup_.options.dtype = "bfloat16";
  EXPECT_TRUE(RunRequests(setup_, {}).ok());
}

TEST_F(MixedExperts, ReducedActivationsAreRoundedForOneTypeOfWeights) {
  Make("goldens/qwen3_moe-classic", 8, 32);
  EXPECT_TRUE(RunRequests(setup_, {}).ok());
  setup_.options.activation_precision = "reduced";
  const auto outcomes = RunRequests(setup_, {});
  EXPECT_THAT(std::string(outcomes.status().message()),
              testing::HasSubstr("expert 1 has weights of another type than expert 0"));
  setup_.options.dtype = "bfloat16";
  EXPECT_TRUE(RunRequests(setup_, {}).ok());
}

}  // namespace
}  // namespace folkmoot
