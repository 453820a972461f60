// SPDX-License-Identifier: Apache-2.0
// What config.json of Gemma 4 means, and what of it is refused (RefusalTest:
// model_config_errors_test.cc).
#include "layers/models/load_config.h"
#include "tests/layers/config/parsed_config.h"
#include "tests/layers/config/refusal.h"

namespace folkmoot {
namespace {

using nlohmann::json;

constexpr const char* kSliding = "sliding_attention";
constexpr const char* kFull = "full_attention";

json Gemma4(json keys) {
  keys["model_type"] = "gemma4_text";
  return keys;
}

// Four layers of which the second and the last see everything.
json FourLayers(const json& changes = json::object()) {
  json keys = {{"num_hidden_layers", 4}, {"layer_types", {kSliding, kFull, kSliding, kFull}}};
  keys.merge_patch(changes);
  return Gemma4(keys);
}

TEST(Gemma4, HasTheDefaultsOfTransformers) {
  const ModelConfig config = Parsed(Gemma4({}));
  ASSERT_EQ(config.layers.size(), 30u);
  for (size_t i = 0; i < config.layers.size(); ++i) {
    const LayerConfig& layer = config.layers[i];
    const bool full = (i + 1) % 6 == 0;
    EXPECT_EQ(layer.sliding_window, full ? 0 : 512) << i;
    EXPECT_EQ(config.head_dim_of(layer), full ? 512 : 256) << i;
    EXPECT_EQ(config.value_dim(layer), full ? 512 : 256) << i;
    EXPECT_EQ(layer.local_rope, !full) << i;
    EXPECT_FALSE(layer.moe || layer.keys_are_values) << i;
  }
  EXPECT_EQ(config.rope.type, RopeType::kProportional);
  EXPECT_EQ(config.rope.partial_rotary_factor, 0.25);
  EXPECT_EQ(config.rope.dim, 512);
  EXPECT_EQ(config.local_rope->theta, 1e4);
  EXPECT_EQ(config.layer_inputs, 256);
  EXPECT_EQ(config.attention_multiplier, 1.0f);
  EXPECT_EQ(config.moe.experts, 0);
}

// The last layer sees everything, whatever layer_types says.
TEST(Gemma4, TheLastLayerNeverSlides) {
  const ModelConfig config =
      Parsed(Gemma4({{"num_hidden_layers", 2}, {"layer_types", {kSliding, kSliding}}}));
  EXPECT_EQ(config.layers[0].sliding_window, 512);
  EXPECT_EQ(config.layers[1].sliding_window, 0);
  EXPECT_EQ(config.head_dim_of(config.layers[1]), 512);
}

TEST(Gemma4, CountsKeysAndValuesOfEachLayerOnce) {
  const json two_of_four = {{"global_head_dim", 64},       {"head_dim", 16},
                            {"num_key_value_heads", 4},    {"num_kv_shared_layers", 2},
                            {"use_double_wide_mlp", true}, {"intermediate_size", 100},
                            {"attention_k_eq_v", true},    {"num_global_key_value_heads", 2}};
  const ModelConfig config = Parsed(FourLayers(two_of_four));
  EXPECT_EQ(config.cache_layers(), 2);
  EXPECT_EQ(config.cache_numbers(), 4 * (16 + 16) + 2 * (64 + 64));
  EXPECT_EQ(config.layers[2].kv_layer, 0);
  EXPECT_EQ(config.layers[3].kv_layer, 1);
  EXPECT_EQ(config.place_in_kind(3), 1);
  EXPECT_EQ(config.place_in_kind(2), 0);
  EXPECT_EQ(config.intermediate_of(config.layers[1]), 100);
  EXPECT_EQ(config.intermediate_of(config.layers[2]), 200);
  EXPECT_EQ(config.widest_intermediate(), 200);
  EXPECT_EQ(config.widest_attention(), 8 * 64);
  EXPECT_TRUE(config.layers[1].keys_are_values);
  EXPECT_FALSE(config.layers[0].keys_are_values);
}

// As in Transformers: other numbers of heads need keys that are values; per_layer_config decides
// where it is there, and null means that all layers are alike.
TEST(Gemma4, FindsTheHeadsOfAKind) {
  const ModelConfig apart = Parsed(FourLayers({{"num_global_key_value_heads", 2}}));
  EXPECT_EQ(apart.kv_heads_of(apart.layers[1]), 4);
  json keys = FourLayers();
  keys["per_layer_config"] = nullptr;
  EXPECT_TRUE(Parsed(keys).uniform_heads());
  keys["per_layer_config"] = {{"1", {{"num_key_value_heads", 1}}},
                              {"3", {{"num_key_value_heads", 1}}}};
  const ModelConfig listed = Parsed(keys);
  EXPECT_EQ(listed.kv_heads_of(listed.layers[3]), 1);
  EXPECT_EQ(listed.head_dim_of(listed.layers[3]), 256);
}

constexpr const char* kRopes = "rope_parameters";

INSTANTIATE_TEST_SUITE_P(
    Gemma4, RefusalTest,
    ::testing::Values(
        Refusal{"Experts",
                Gemma4({{"enable_moe_block", true}, {"num_experts", 8}}),
                {"'top_k_experts'", "enable_moe_block needs it"}},
        Refusal{"Choices",
                Gemma4({{"enable_moe_block", true},
                        {"num_experts", 2},
                        {"top_k_experts", 3},
                        {"moe_intermediate_size", 8}}),
                {"'top_k_experts' is 3", "3 of 2 experts"}},
        Refusal{"Sharing",
                FourLayers({{"num_kv_shared_layers", 4}}),
                {"'num_kv_shared_layers' is 4", "some of the 4 layers"}},
        Refusal{"NobodyToShareWith",
                FourLayers({{"num_kv_shared_layers", 3}}),
                {"'num_kv_shared_layers' is 3", "layer 1 finds none of its kind"}},
        Refusal{"Bidirectional",
                Gemma4({{"use_bidirectional_attention", "all"}}),
                {"'use_bidirectional_attention' is \"all\"", "\"vision\" only"}},
        Refusal{"Theta", Gemma4({{"rope_theta", 1e6}}), {"'rope_theta'", "has no such key"}},
        Refusal{"OneRope",
                Gemma4({{kRopes, {{"rope_type", "default"}, {"rope_theta", 1e4}}}}),
                {"entries full_attention and sliding_attention only"}},
        Refusal{"NoTheta",
                Gemma4({{kRopes, {{kFull, {{"rope_type", "proportional"}}}}}}),
                {"entry full_attention with a rope_theta"}},
        Refusal{"SlidingRope",
                FourLayers({{kRopes, {{kFull, {{"rope_theta", 1e6}}}}}}),
                {"entry sliding_attention with a rope_theta"}},
        Refusal{
            "PartOfADefault",
            Gemma4({{kRopes, {{kFull, {{"rope_theta", 1e6}, {"partial_rotary_factor", 0.5}}}}}}),
            {"full_attention.rope_parameters.partial_rotary_factor' is 0.5"}},
        Refusal{"MoreThanAllPairs",
                Gemma4({{kRopes,
                         {{kFull,
                           {{"rope_type", "proportional"},
                            {"rope_theta", 1e6},
                            {"partial_rotary_factor", 1.5}}}}}}),
                {"partial_rotary_factor", "at most 1"}},
        Refusal{
            "OddHeads", FourLayers({{"global_head_dim", 7}}), {"'global_head_dim' is 7", "even"}},
        Refusal{"GlobalHeads",
                FourLayers({{"attention_k_eq_v", true}, {"num_global_key_value_heads", 3}}),
                {"'num_global_key_value_heads' is 3", "multiple"}},
        Refusal{"UnlikeLayers",
                FourLayers({{"per_layer_config", {{"1", {{"head_dim", 8}}}}}}),
                {"per_layer_config", "layer 3 has other heads"}},
        Refusal{"OtherKeysOfLayers",
                FourLayers({{"per_layer_config", {{"1", {{"intermediate_size", 8}}}}}}),
                {"per_layer_config.1.intermediate_size", "head_dim and num_key_value_heads only"}},
        Refusal{"NoSuchLayer",
                FourLayers({{"per_layer_config", {{"4", {{"head_dim", 8}}}}}}),
                {"'4' must be the number of a layer"}},
        Refusal{"SmallVocabulary",
                Gemma4({{"vocab_size_per_layer_input", 1000}}),
                {"'vocab_size_per_layer_input' is 1000", "262144 tokens"}},
        Refusal{"ProportionalElsewhere",
                {{"model_type", "qwen3_moe"},
                 {kRopes, {{"rope_type", "proportional"}, {"rope_theta", 1e6}}}},
                {"rope_type", "\"proportional\"", "llama3, longrope"}}),
    NameOf);

}  // namespace
}  // namespace folkmoot
