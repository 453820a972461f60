// SPDX-License-Identifier: Apache-2.0
// Quantised checkpoints against Transformers, which ran the numbers that their codes stand for in
// float32. Products with codes round activations to 16 bits (docs/kernels.md): log-probabilities
// are within 1e-3 (5e-4 was seen), and every choice is the same.
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

// The tensors of `from`, but those of `expert` as plain zeros.
void WriteMixed(const Checkpoint& from, const std::string& expert, const std::string& path) {
  std::vector<NewTensor> tensors;
  for (const std::string_view name : from.Names()) {
    if (name.starts_with(expert)) continue;
    tensors.push_back({std::string(name), from.Find(name)->dtype, from.Find(name)->shape});
  }
  const size_t copied = tensors.size();
  tensors.push_back({expert + "gate_proj.weight", DType::kBF16, {32, 64}});
  tensors.push_back({expert + "up_proj.weight", DType::kBF16, {32, 64}});
  tensors.push_back({expert + "down_proj.weight", DType::kBF16, {64, 32}});
  const auto writer = SafetensorsWriter::Create(path, tensors);
  ASSERT_TRUE(writer.ok()) << writer.status();
  for (size_t i = 0; i < copied; ++i) {
    const TensorInfo& info = *from.Find(tensors[i].name);
    const std::span data(info.data, static_cast<size_t>(info.bytes));
    ASSERT_TRUE((*writer)->Write(tensors[i].name, 0, data).ok());
  }
  ASSERT_TRUE((*writer)->Finish().ok());
}

// One expert whose weights are stored plain, beside quantised ones.
TEST(QuantModel, ExpertsOfOneLayerAreQuantisedAlike) {
  namespace fs = std::filesystem;
  const fs::path from = fs::path(FOLKMOOT_TEST_DATA) / kFolder / "qwen3_moe-ct-int4";
  const fs::path to = fs::path(testing::TempDir()) / ("mixed-" + std::to_string(getpid()));
  fs::create_directories(to);
  fs::copy_file(from / "config.json", to / "config.json");
  const auto checkpoint = Checkpoint::Open(from.string());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const std::string module = "model.layers.0.mlp.experts.1.";
  WriteMixed(**checkpoint, module, to / "model.safetensors");
  RunSetup setup;
  setup.options.model = to.string();
  const auto outcomes = RunRequests(setup, {});
  EXPECT_THAT(std::string(outcomes.status().message()),
              testing::HasSubstr("expert 1 is quantised differently from expert 0"));
  setup.options.dtype = "bfloat16";
  EXPECT_TRUE(RunRequests(setup, {}).ok());
  fs::remove_all(to);
}

}  // namespace
}  // namespace folkmoot
