// SPDX-License-Identifier: Apache-2.0
// A packed model answers with the bits of the model that it was made from.
#include "launch/pack_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <ostream>

#include "runtime/checkpoint/panel_file.h"
#include "tests/support/engine_run.h"

namespace folkmoot {
namespace {

namespace fs = std::filesystem;

struct Case {
  const char* name;
  const char* model;  // under the source directory
  const char* dtype = "auto";
  const char* quantization = "none";
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

class PackTest : public testing::TestWithParam<Case> {
 protected:
  PackTest()
      : directory_(fs::path(testing::TempDir()) /
                   (std::string("packed-") + GetParam().name + std::to_string(getpid()))) {
    setup_.options.model = std::string(FOLKMOOT_SOURCE_DIR) + "/" + GetParam().model;
    fs::create_directories(directory_);
    fs::copy_file(setup_.options.model + "/config.json", directory_ / "config.json");
    Request request;
    for (int i = 0; i < 30; ++i) request.prompt.push_back(i * 7 % 90);
    request.max_tokens = 5;
    request.sampling.temperature = 0;
    request.prompt_logprobs = true;
    request.layer_digests = true;
    requests_ = {request};
  }
  ~PackTest() override { fs::remove_all(directory_); }

  std::string Packed() const { return (directory_ / PanelFile::kName).string(); }

  RunSetup setup_;
  fs::path directory_;
  std::vector<Request> requests_;
};

TEST_P(PackTest, HasTheBitsOfItsModel) {
  setup_.options.dtype = GetParam().dtype;
  setup_.options.quantization = GetParam().quantization;
  const auto wanted = RunRequests(setup_, requests_);
  ASSERT_TRUE(wanted.ok()) << wanted.status();
  ThreadPool pool(2);
  int64_t read = 0;
  const auto bytes =
      PackModel(setup_.options, Packed(), pool, [&](int64_t done, int64_t) { read = done; });
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_EQ(*bytes, static_cast<int64_t>(fs::file_size(Packed())));
  EXPECT_GT(read, 0);
  RunSetup packed;
  packed.options.model = directory_.string();
  for (const int ranks : {1, 3}) {
    packed.ranks = ranks;
    const auto outcomes = RunRequests(packed, requests_);
    ASSERT_TRUE(outcomes.ok()) << outcomes.status();
    EXPECT_TRUE((*outcomes)[0] == (*wanted)[0]) << ranks << " ranks";
  }
  // Its heads are as wide as a panel: tensor-parallel ranks read their panels from the same file.
  if (setup_.options.model.find("demo-kjv") == std::string::npos) return;
  packed.ranks = 2;
  packed.options.parallelism = "tensor";
  const auto outcomes = RunRequests(packed, requests_);
  ASSERT_TRUE(outcomes.ok()) << outcomes.status();
  EXPECT_TRUE((*outcomes)[0] == (*wanted)[0]) << "2 tensor-parallel ranks";
}

INSTANTIATE_TEST_SUITE_P(
    Models, PackTest,
    testing::Values(Case{"Demo", "models/demo-kjv"},
                    Case{"DemoQ4", "models/demo-kjv", "auto", "q4_0"},
                    Case{"DemoBF16", "models/demo-kjv", "bfloat16"},
                    Case{"Dbrx", "tests/data/goldens/dbrx-classic"},
                    Case{"Glm5NextOdd", "tests/data/goldens/glm5_next-odd"},
                    Case{"GlmMoeDsaPattern", "tests/data/goldens/glm_moe_dsa-pattern"},
                    Case{"GptOss", "tests/data/goldens/gpt_oss-classic"},
                    Case{"GptOssMxfp4AsBF16", "tests/data/goldens/gpt_oss-mxfp4", "bfloat16"},
                    Case{"GptOssMxfp4", "tests/data/goldens/gpt_oss-mxfp4"},
                    Case{"GraniteHybrid", "tests/data/goldens/granitemoehybrid-turning"},
                    Case{"HunyuanLayers", "tests/data/goldens/hunyuan_v1_moe-topk-list"},
                    Case{"HyV4Saved", "tests/data/goldens/hy_v4-saved"},
                    Case{"Lfm2Biases", "tests/data/goldens/lfm2_moe-biases"},
                    Case{"Llama4Multimodal", "tests/data/goldens/llama4-multimodal"},
                    Case{"Mixtral", "tests/data/goldens/mixtral-classic"},
                    Case{"NemotronLatent", "tests/data/goldens/nemotron_h-super"},
                    Case{"Phimoe", "tests/data/goldens/phimoe-classic"},
                    Case{"Qwen2MoeDenseLayers", "tests/data/goldens/qwen2_moe-sparse-step"},
                    Case{"Qwen4ExpTableInParts", "tests/data/goldens/qwen4_exp_text-odd"},
                    Case{"DenseQwen3Tied", "tests/data/goldens/qwen3-classic"}),
    [](const auto& param) { return std::string(param.param.name); });

TEST(PackedModel, SaysWhatItCannotChange) {
  const fs::path directory = fs::path(testing::TempDir()) / ("packed-" + std::to_string(getpid()));
  fs::create_directories(directory);
  RunSetup setup;
  setup.options.model = std::string(FOLKMOOT_SOURCE_DIR) + "/tests/data/goldens/mixtral-classic";
  fs::copy_file(setup.options.model + "/config.json", directory / "config.json");
  ThreadPool pool(1);
  const std::string path = (directory / PanelFile::kName).string();
  ASSERT_TRUE(PackModel(setup.options, path, pool, [](int64_t, int64_t) {}).ok());
  setup.options.model = directory.string();
  setup.options.dtype = "float32";
  const auto outcome = RunRequests(setup, {});
  EXPECT_THAT(std::string(outcome.status().message()),
              testing::HasSubstr("packed weights stay as they are"));
  fs::remove_all(directory);
}

}  // namespace
}  // namespace folkmoot
