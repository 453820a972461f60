// SPDX-License-Identifier: Apache-2.0
// What config.json of DeepSeek-V4 means, in the authors' keys and those of Transformers, and what
// of it is refused (RefusalTest: model_config_errors_test.cc).
#include <fmt/ranges.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "layers/models/load_config.h"
#include "layers/models/model.h"
#include "tests/layers/config/refusal.h"
#include "tests/runtime/checkpoint/safetensors_bytes.h"

namespace folkmoot {
namespace {

using nlohmann::json;

// Five layers as the authors describe theirs.
json DeepseekV4(const json& changes = json::object()) {
  json keys = {{"model_type", "deepseek_v4"},
               {"num_hidden_layers", 5},
               {"compress_ratios", {0, 4, 128, 4, 128, 0, 0}},
               {"num_hash_layers", 2},
               {"qk_rope_head_dim", 64},
               {"topk_method", "noaux_tc"},
               {"scoring_func", "sqrtsoftplus"},
               {"expert_dtype", "fp8"},
               {"rope_theta", 10000},
               {"compress_rope_theta", 160000},
               {"rope_scaling",
                {{"type", "yarn"},
                 {"factor", 16},
                 {"beta_fast", 32},
                 {"beta_slow", 1},
                 {"original_max_position_embeddings", 65536}}}};
  keys.merge_patch(changes);
  return keys;
}

json Nested(const json& compress) {
  json keys = DeepseekV4({{"rope_scaling", nullptr}, {"qk_rope_head_dim", nullptr}});
  keys["rope_parameters"] = {{"main", {{"rope_type", "default"}, {"rope_theta", 10000}}},
                             {"compress", compress}};
  return keys;
}

TEST(DeepseekV4, ReadsTheAuthorsKeys) {
  const auto parsed = ParseModelConfig(DeepseekV4().dump(), "config.json");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  const ModelConfig& config = *parsed;
  EXPECT_EQ(config.compressed_layers(), 5);
  EXPECT_EQ(config.cache_layers(), 0);
  EXPECT_EQ(config.layers[0].compression, 0);
  EXPECT_TRUE(config.layers[0].local_rope && config.layers[0].hashed);
  EXPECT_EQ(config.layers[1].compression, 4);
  EXPECT_TRUE(config.layers[1].overlapping && !config.layers[1].local_rope);
  EXPECT_EQ(config.layers[2].compression, 128);
  EXPECT_FALSE(config.layers[2].overlapping || config.layers[2].hashed);
  EXPECT_EQ(config.layers[2].sliding_window, 128);
  EXPECT_EQ(config.rope.type, RopeType::kYarn);
  EXPECT_EQ(config.rope.theta, 160000);
  EXPECT_EQ(config.rope.attention_factor, 1.0);
  EXPECT_EQ(config.rope.dim, 64);
  EXPECT_EQ(config.local_rope->type, RopeType::kDefault);
  EXPECT_EQ(config.local_rope->theta, 10000);
  EXPECT_EQ(config.hyper.streams, 4);
  EXPECT_EQ(config.moe.shared_intermediate, config.moe.intermediate);
  // A row per token, and of entries and their index keys the share.
  EXPECT_EQ(config.cache_numbers(), 5 * 512 + 2 * (512 + 128) / 4 + 2 * 512 / 128);
  EXPECT_EQ(WhyCpuOnly(config), "compressed attention");
  EXPECT_FALSE(WhyNotSpeculative(config).empty());
}

TEST(DeepseekV4, LayersByDefault) {
  const auto config = ParseModelConfig(json({{"model_type", "deepseek_v4"}}).dump(), "config.json");
  ASSERT_TRUE(config.ok()) << config.status();
  for (size_t i = 0; i < config->layers.size(); ++i) {
    EXPECT_EQ(config->layers[i].overlapping, i >= 2 && i % 2 == 1) << i;
    EXPECT_EQ(config->layers[i].hashed, i < 3) << i;
  }
  EXPECT_EQ(config->rope.type, RopeType::kDefault);
}

TEST(DeepseekV4, RotationsOfTheirOwn) {
  const auto config = ParseModelConfig(Nested({{"rope_type", "linear"},
                                               {"factor", 2},
                                               {"rope_theta", 160000},
                                               {"partial_rotary_factor", 0.125}})
                                           .dump(),
                                       "config.json");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->rope.type, RopeType::kLinear);
  EXPECT_EQ(config->rope.dim, 64);
  EXPECT_EQ(config->local_rope->dim, 512);  // all of a head, as Transformers has it
}

// What a table of two tokens with two of four experts each is read as, or why not.
std::string TableOf(const std::vector<int64_t>& ids, const std::string& dtype = "I64") {
  const std::filesystem::path directory =
      std::filesystem::path(testing::TempDir()) / "deepseek_v4_table";
  std::filesystem::create_directories(directory);
  std::string data(ids.size() * sizeof(int64_t), '\0');
  std::memcpy(data.data(), ids.data(), data.size());
  std::ofstream(directory / "model.safetensors", std::ios::binary) << SafetensorsBytes(
      fmt::format(R"({{"t":{{"dtype":"{}","shape":[2,2],"data_offsets":[0,32]}}}})", dtype), data);
  const auto checkpoint = Checkpoint::Open(directory.string());
  if (!checkpoint.ok()) return std::string(checkpoint.status().message());
  const auto table = MakeCheckpointLoader(**checkpoint, nullptr)->DistinctIds("t", 2, 2, 4);
  if (!table.ok()) return std::string(table.status().message());
  return fmt::format("{}", fmt::join(*table, " "));
}

TEST(DeepseekV4, TablesOfTokensAreChecked) {
  EXPECT_EQ(TableOf({1, 0, 3, 2}), "1 0 3 2");
  EXPECT_EQ(TableOf({1, 0, 3, 4}), "tensor 't': row 1 has 4, but must have numbers of 0 to 3");
  EXPECT_EQ(TableOf({1, -1, 3, 2}), "tensor 't': row 0 has -1, but must have numbers of 0 to 3");
  EXPECT_EQ(TableOf({1, 0, int64_t{1} << 40, 2}),
            "tensor 't': row 1 has 2147483647, but must have numbers of 0 to 3");
  EXPECT_EQ(TableOf({1, 1, 3, 2}), "tensor 't': row 0 has 1 twice");
  EXPECT_TRUE(TableOf({1, 0, 3, 2}, "F64").ends_with("is stored as F64; it must be I64 or I32"));
}

INSTANTIATE_TEST_SUITE_P(
    DeepseekV4, RefusalTest,
    ::testing::Values(
        Refusal{"ExpertType",
                DeepseekV4({{"expert_dtype", "int4"}}),
                {"'expert_dtype' is \"int4\"", "fp4, fp8 and bf16"}},
        Refusal{"Ratio",
                DeepseekV4({{"compress_ratios", {0, 4, 8, 4, 128}}}),
                {"'compress_ratios'", "0, 4 and 128"}},
        Refusal{"FewRatios", DeepseekV4({{"compress_ratios", {0, 4}}}), {"'compress_ratios'", "5"}},
        Refusal{"OtherRate",
                DeepseekV4({{"compress_rate_csa", 8}}),
                {"'compress_ratios'", "made of 8 tokens"}},
        Refusal{"TwoRates",
                DeepseekV4({{"compress_ratios", nullptr},
                            {"compress_rate_hca", 64},
                            {"compress_rates", {{"heavily_compressed_attention", 32}}}}),
                {"'compress_rate_hca' is 64", "heavily_compressed_attention = 32"}},
        Refusal{"Types",
                DeepseekV4({{"layer_types",
                             {"sliding_attention", "sliding_attention", "sliding_attention",
                              "sliding_attention", "sliding_attention"}}}),
                {"'compress_ratios'", "contradicts layer_types"}},
        Refusal{"Kind",
                DeepseekV4({{"compress_ratios", nullptr},
                            {"layer_types",
                             {"full_attention", "sliding_attention", "sliding_attention",
                              "sliding_attention", "sliding_attention"}}}),
                {"'layer_types'", "full_attention"}},
        Refusal{"HashLayers",
                DeepseekV4({{"mlp_layer_types", {"moe", "moe", "moe", "moe", "moe"}}}),
                {"'num_hash_layers' is 2", "contradicts mlp_layer_types"}},
        Refusal{"KeyHeads",
                DeepseekV4({{"num_key_value_heads", 8}}),
                {"'num_key_value_heads' is 8", "must be 1"}},
        Refusal{"Groups", DeepseekV4({{"o_groups", 7}}), {"'o_groups' is 7", "64"}},
        Refusal{"Streams", DeepseekV4({{"hc_mult", 17}}), {"'hc_mult' is 17"}},
        Refusal{"Scores",
                DeepseekV4({{"scoring_func", "softmax"}}),
                {"'scoring_func'", "sqrtsoftplus, sigmoid"}},
        Refusal{"Weights", DeepseekV4({{"norm_topk_prob", false}}), {"'norm_topk_prob'", "true"}},
        Refusal{"SharedExperts", DeepseekV4({{"n_shared_experts", 2}}), {"'n_shared_experts'"}},
        Refusal{"NoLimit", DeepseekV4({{"swiglu_limit", 0}}), {"'swiglu_limit' is 0"}},
        Refusal{"Activation", DeepseekV4({{"hidden_act", "gelu"}}), {"'hidden_act'", "silu only"}},
        Refusal{"IndexHeads",
                DeepseekV4({{"index_head_dim", 32}}),
                {"'index_head_dim' is 32", "last 64 numbers"}},
        Refusal{"RopeDims",
                DeepseekV4({{"partial_rotary_factor", 0.5}}),
                {"'qk_rope_head_dim' is 64", "partial_rotary_factor = 0.5"}},
        Refusal{"ByLength",
                DeepseekV4({{"rope_scaling", nullptr},
                            {"rope_parameters", {{"rope_type", "dynamic"}, {"factor", 2}}}}),
                {"'rope_parameters'", "length"}},
        Refusal{
            "HalfNested", Nested({{"rope_type", "default"}}), {"'rope_parameters'", "rope_theta"}},
        Refusal{"ScaledYarn",
                Nested({{"rope_type", "yarn"},
                        {"rope_theta", 160000},
                        {"factor", 16},
                        {"original_max_position_embeddings", 64}}),
                {"rope_parameters.compress.attention_factor", "1.0"}},
        Refusal{"OtherParts",
                DeepseekV4({{"rope_scaling", nullptr},
                            {"rope_parameters",
                             {{"main", {{"rope_theta", 10000}}},
                              {"compress", {{"rope_theta", 160000}}}}}}),
                {"'qk_rope_head_dim' is 64", "partial_rotary_factor of an entry"}}),
    NameOf);

}  // namespace
}  // namespace folkmoot
