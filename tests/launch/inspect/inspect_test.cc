// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "launch/commands/inspect_command.h"
#include "layers/models/load_config.h"

namespace folkmoot {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
namespace fs = std::filesystem;

const std::string kGoldens = FOLKMOOT_TEST_DATA "/goldens/";

InspectReport Inspect(const std::string& directory, int ranks = 1,
                      const std::string& placement = "contiguous") {
  auto report = InspectModel(directory, ranks, placement);
  EXPECT_TRUE(report.ok()) << Message(report.status());
  return report.ok() ? std::move(*report) : InspectReport();
}

json ReadJson(const std::string& path) {
  std::ifstream file(path);
  return json::parse(file);
}

// Three ranks have unequal parts of two key-value heads; their sum is that of one rank, with the
// routers once more for each.
TEST(Inspect, TensorParallelRanksShareEveryMatrix) {
  const auto bytes_of = [](int ranks) {
    InspectReport report = Inspect(kGoldens + "mixtral-classic", ranks);
    report.tensor_parallel = true;
    const json out = json::parse(RenderInspectJson(report));
    EXPECT_EQ(out["parallelism"], "tensor");
    int64_t heads = 0;
    int64_t bytes = 0;
    for (const json& rank : out["ranks"]) {
      heads += rank["kv_heads"].get<int64_t>();
      bytes += rank["sliced_bytes"].get<int64_t>();
    }
    EXPECT_EQ(heads, report.config.kv_heads);
    EXPECT_THAT(RenderInspect(report, {}), HasSubstr("key/value heads"));
    return std::pair(bytes, report.config);
  };
  const auto [one, config] = bytes_of(1);
  const auto moe_layers = std::count_if(config.layers.begin(), config.layers.end(),
                                        [](const LayerConfig& layer) { return layer.moe; });
  const int64_t routers =
      moe_layers * config.moe.experts * config.hidden * DTypeBytes(config.dtype);
  EXPECT_EQ(bytes_of(3).first, one + 2 * routers);
}

// Transformers counted the parameters of the modules that it built from the same config.json.
TEST(Inventory, ParametersAgreeWithTransformers) {
  const json goldens = ReadJson(FOLKMOOT_TEST_DATA "/config/config_goldens.json");
  for (const json& golden : goldens["cases"]) {
    SCOPED_TRACE(golden["config"].dump());
    const auto config = ParseModelConfig(golden["config"].dump(), "config.json");
    ASSERT_TRUE(config.ok());
    const auto inventory = TakeInventory(*config, nullptr);
    ASSERT_TRUE(inventory.ok());
    EXPECT_EQ(inventory->parameters, golden["expected"]["parameters"]);
  }
}

TEST(Inventory, ActiveParametersOfPublishedModels) {
  const auto active = [](const char* config) {
    return TakeInventory(*ParseModelConfig(config, "config.json"), nullptr)->active_parameters;
  };
  // Mixtral 8x7B: 12.9 B of 46.7 B.
  EXPECT_NEAR(static_cast<double>(active(R"({"model_type":"mixtral"})")), 12.9e9, 0.05e9);
  // Qwen3-30B-A3B: 3.3 B.
  EXPECT_NEAR(static_cast<double>(active(R"({"model_type":"qwen3_moe","num_hidden_layers":48,
      "head_dim":128})")),
              3.3e9, 0.06e9);
}

// Of a table of 320 million rows a token has one for each of 16 hashes.
TEST(Inventory, TablesOfNgramsAreNotActive) {
  json keys = {{"model_type", "qwen4_exp_text"}, {"num_hidden_layers", 4},
               {"indexer_n_heads", 32},          {"indexer_kv_heads", 1},
               {"indexer_head_dim", 256},        {"indexer_budget", 2048},
               {"indexer_compress_ratio", 4},    {"eos_token_id", 248046}};
  const auto of = [&keys](const json& layers) {
    keys["ple_layer_ids"] = layers;
    const auto config = ParseModelConfig(keys.dump(), "config.json");
    EXPECT_TRUE(config.ok()) << config.status();
    return *TakeInventory(*config, nullptr);
  };
  const ModelInventory without = of(json::array()), with = of({1});
  constexpr int64_t kHidden = 2048, kStreams = 4 * kHidden;
  constexpr int64_t kOthers = (kStreams + kHidden) * kHidden + (3 + 4) * kStreams;
  EXPECT_EQ(with.active_parameters - without.active_parameters, kOthers + kHidden);
  const int64_t table = with.parameters - without.parameters - kOthers;
  EXPECT_EQ(table % (128 * 128), 0);  // 128 numbers a row, padded to 128 rows
  EXPECT_NEAR(static_cast<double>(table), 16 * 20e6 * 128, 1e6);
}

TEST(Inventory, EveryGoldenCheckpointIsComplete) {
  int count = 0;
  for (const auto& entry : fs::directory_iterator(kGoldens)) {
    if (!entry.is_directory()) continue;
    SCOPED_TRACE(entry.path().filename().string());
    const InspectReport report = Inspect(entry.path().string());
    const ModelInventory& inventory = report.inventory;
    EXPECT_THAT(inventory.missing, IsEmpty());
    EXPECT_THAT(inventory.unexpected, IsEmpty());
    EXPECT_THAT(inventory.wrong_shape, IsEmpty());
    const int64_t experts =
        std::accumulate(inventory.expert_bytes.begin(), inventory.expert_bytes.end(), int64_t{0});
    EXPECT_EQ(inventory.dense_bytes + experts + inventory.unused_bytes, inventory.bytes);
    const bool mtp = entry.path().string().ends_with("deepseek_v3-mtp");
    if (mtp) {
      EXPECT_GT(inventory.unused_bytes, 0);
    }
    ++count;
  }
  EXPECT_GE(count, 26);
}

// Released models, by config.json alone: none of their keys is refused, and they have the size that
// their authors state.
TEST(Published, ConfigurationsAreRead) {
  int count = 0;
  for (const auto& entry : fs::directory_iterator(FOLKMOOT_TEST_DATA "/published")) {
    if (entry.path().extension() != ".json") continue;
    SCOPED_TRACE(entry.path().filename().string());
    std::ifstream file(entry.path());
    const nlohmann::json published = nlohmann::json::parse(file);
    const auto config = ParseModelConfig(published["config"].dump(), "config.json");
    ASSERT_TRUE(config.ok()) << config.status();
    const auto inventory = TakeInventory(*config, nullptr);
    ASSERT_TRUE(inventory.ok()) << inventory.status();
    EXPECT_NEAR(static_cast<double>(inventory->parameters) / 1e9,
                published["billions"].get<double>(), 0.001);
    ++count;
  }
  EXPECT_GE(count, 20);
}

TEST(Inventory, GgufFilesAreComplete) {
  int count = 0;
  for (const auto& entry : fs::recursive_directory_iterator(FOLKMOOT_TEST_DATA "/gguf")) {
    if (entry.path().extension() != ".gguf") continue;
    if (entry.path().parent_path().filename() == "tokenizers") continue;
    SCOPED_TRACE(entry.path().string());
    const InspectReport report = Inspect(entry.path().string());
    EXPECT_TRUE(report.has_weights);
    EXPECT_THAT(report.inventory.missing, IsEmpty());
    EXPECT_THAT(report.inventory.unexpected, IsEmpty());
    EXPECT_THAT(report.inventory.wrong_shape, IsEmpty());
    ++count;
  }
  EXPECT_GE(count, 13);
  const InspectReport report = Inspect(FOLKMOOT_TEST_DATA "/gguf/llama-q4_k");
  EXPECT_EQ(report.inventory.dtypes.count("Q4_K"), 1u);
  EXPECT_EQ(report.inventory.dtypes.count("Q6_K"), 1u);
}

// Codes, scales, and what else is beside them, scales of a cache among it.
TEST(Inventory, QuantisedModelsAreComplete) {
  int count = 0;
  for (const auto& entry : fs::directory_iterator(FOLKMOOT_TEST_DATA "/quant/models")) {
    SCOPED_TRACE(entry.path().filename().string());
    const ModelInventory inventory = Inspect(entry.path().string()).inventory;
    EXPECT_THAT(inventory.missing, IsEmpty());
    EXPECT_THAT(inventory.unexpected, IsEmpty());
    EXPECT_THAT(inventory.wrong_shape, IsEmpty());
    ++count;
  }
  EXPECT_GE(count, 15);
}

TEST(Inventory, NamesWhatDoesNotFit) {
  const fs::path directory = fs::path(::testing::TempDir()) / "inspect_misfit";
  fs::remove_all(directory);
  fs::copy(kGoldens + "qwen2_moe-classic", directory);
  json config = ReadJson((directory / "config.json").string());
  config["num_experts"] = 9;   // expert 8 is missing, the router has the wrong shape
  config["qkv_bias"] = false;  // so the biases are not expected
  std::ofstream(directory / "config.json") << config;
  const ModelInventory inventory = Inspect(directory.string()).inventory;
  EXPECT_THAT(inventory.missing,
              ::testing::Contains("model.layers.0.mlp.experts.8.gate_proj.weight"));
  EXPECT_EQ(inventory.missing.size(), 6u);
  EXPECT_THAT(inventory.wrong_shape,
              ElementsAre("model.layers.0.mlp.gate.weight: [8, 32] instead of [9, 32]",
                          "model.layers.1.mlp.gate.weight: [8, 32] instead of [9, 32]"));
  EXPECT_THAT(inventory.unexpected, ::testing::Contains("model.layers.1.self_attn.q_proj.bias"));
  EXPECT_EQ(inventory.unexpected.size(), 6u);
  fs::remove_all(directory);
}

TEST(Inventory, AbsurdSizesDoNotOverflow) {
  const auto config = ParseModelConfig(
      R"({"model_type":"mixtral","hidden_size":16777216,"num_attention_heads":1,
          "num_key_value_heads":1,"head_dim":65536,"intermediate_size":16777216,
          "vocab_size":16777216,"num_local_experts":65536,"num_hidden_layers":1})",
      "config.json");
  ASSERT_TRUE(config.ok()) << Message(config.status());
  const auto inventory = TakeInventory(*config, nullptr);
  ASSERT_TRUE(inventory.ok());
  EXPECT_EQ(inventory->parameters, INT64_MAX);
  const auto too_many = ParseModelConfig(
      R"({"model_type":"mixtral","num_local_experts":65536,"num_hidden_layers":2})", "c");
  EXPECT_THAT(std::string(Message(TakeInventory(*too_many, nullptr).status())),
              HasSubstr("the limit is 100000"));
}

TEST(Inspect, RanksShareTheExperts) {
  const InspectReport one = Inspect(kGoldens + "mixtral-classic", 1);
  const InspectReport three = Inspect(kGoldens + "mixtral-classic", 3, "round_robin");
  ASSERT_TRUE(three.placement.has_value());
  int64_t bytes = 0;
  for (int rank = 0; rank < 3; ++rank) {
    bytes += ExpertBytesOfRank(three.inventory, *three.placement, rank);
  }
  EXPECT_EQ(bytes, ExpertBytesOfRank(one.inventory, *one.placement, 0));
  EXPECT_GT(ExpertBytesOfRank(three.inventory, *three.placement, 0),
            ExpertBytesOfRank(three.inventory, *three.placement, 2));
}

TEST(Inspect, Text) {
  const std::string text = RenderInspect(Inspect(kGoldens + "qwen2_moe-window", 2), Terminal());
  EXPECT_THAT(text, HasSubstr("Qwen2MoeForCausalLM"));
  EXPECT_THAT(text, HasSubstr("4 (3 MoE, 1 dense; 2 with a sliding window of 16)"));
  EXPECT_THAT(text, HasSubstr("4, top 2 chosen, intermediate 8, weights renormalised"));
  EXPECT_THAT(text,
              HasSubstr("512 B per token (float32)"));  // 4 layers * 2 * 2 heads * 8 * 4 bytes
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  EXPECT_THAT(text, Not(HasSubstr("Missing")));
}

TEST(Inspect, Json) {
  const InspectReport report = Inspect(kGoldens + "llama-llama3", 2);
  const json parsed = json::parse(RenderInspectJson(report));
  EXPECT_EQ(parsed["architecture"], "LlamaForCausalLM");
  EXPECT_EQ(parsed["rope"]["type"], "llama3");
  EXPECT_EQ(parsed["parameters"], report.inventory.parameters);
  EXPECT_EQ(parsed["dtypes"]["F16"]["bytes"], report.inventory.bytes);
  ASSERT_EQ(parsed["ranks"].size(), 2u);
  EXPECT_EQ(parsed["ranks"][1]["expert_bytes"], 0);
  EXPECT_EQ(parsed["ranks"][1]["bytes"], report.inventory.dense_bytes);
}

TEST(Inspect, ConfigAlone) {
  const fs::path directory = fs::path(::testing::TempDir()) / "inspect_config_alone";
  fs::create_directories(directory);
  std::ofstream(directory / "config.json") << R"({"model_type":"mixtral","dtype":"bfloat16"})";
  const InspectReport report = Inspect(directory.string(), 4);
  EXPECT_FALSE(report.has_weights);
  EXPECT_EQ(report.inventory.bytes, 2 * report.inventory.parameters);
  EXPECT_THAT(RenderInspect(report, Terminal()), HasSubstr("46,702,792,704 (46.7 B)"));
  fs::remove_all(directory);
}

TEST(Inspect, BadPlacementIsRefused) {
  EXPECT_FALSE(InspectModel(kGoldens + "mixtral-classic", 2, "/no/such/file.json").ok());
}

}  // namespace
}  // namespace folkmoot
