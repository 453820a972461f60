// SPDX-License-Identifier: Apache-2.0
// What config.json of Sarvam-30B and 105B means, and what of it is refused (RefusalTest:
// model_config_errors_test.cc).
#include "tests/layers/config/parsed_config.h"
#include "tests/layers/config/refusal.h"

namespace folkmoot {
namespace {

using nlohmann::json;

// The authors' config.json of Sarvam-30B, and what Transformers makes of it.
TEST(Sarvam, BothSpellings) {
  const ModelConfig authors = Parsed({{"architectures", {"SarvamMoEForCausalLM"}},
                                      {"model_type", "sarvam_moe"},
                                      {"num_experts", 64},
                                      {"num_shared_experts", 2},
                                      {"use_qkv_bias", true},
                                      {"use_bias", false},
                                      {"moe_router_enable_expert_bias", true},
                                      {"embedding_dropout", 0.0},
                                      {"output_dropout", 0.0},
                                      {"max_window_layers", 19}});
  const ModelConfig saved = Parsed({{"architectures", {"Glm4MoeForCausalLM"}},
                                    {"model_type", "sarvam_moe"},
                                    {"n_routed_experts", 64},
                                    {"n_shared_experts", 2},
                                    {"attention_bias", true},
                                    {"num_nextn_predict_layers", 0}});
  for (const ModelConfig& config : {authors, saved}) {
    EXPECT_EQ(config.architecture, "SarvamMoEForCausalLM");
    EXPECT_EQ(config.moe.experts, 64);
    EXPECT_EQ(config.moe.shared_intermediate, 2 * 1024);
    EXPECT_TRUE(config.qkv_bias && !config.output_bias);
    EXPECT_EQ(config.qk_norm, QkNormKind::kHeads);
    EXPECT_EQ(config.rope.theta, 8e6);
    EXPECT_EQ(config.rope.partial_rotary_factor, 1.0);
    EXPECT_EQ(config.moe.routed_scaling, 2.5);
    EXPECT_FALSE(config.layers[0].moe || !config.layers[1].moe);
  }
  // The class by itself is that of GLM-4.5.
  const ModelConfig glm = Parsed({{"architectures", {"Glm4MoeForCausalLM"}}, {"head_dim", 128}});
  EXPECT_EQ(glm.model_type, "glm4_moe");
}

TEST(Sarvam, AuthorsYarn) {
  json yarn = {{"type", "deepseek_yarn"},
               {"factor", 40},
               {"mscale", 1.0},
               {"mscale_all_dim", 1.0},
               {"original_max_position_embeddings", 4096}};
  const json keys = {{"num_experts", 128},    {"num_shared_experts", 1},
                     {"head_dim", 576},       {"q_head_dim", 192},
                     {"use_qk_norm", true},   {"default_theta", 10000.0},
                     {"rope_theta", 10000.0}, {"max_position_embeddings", 131072},
                     {"rope_scaling", yarn}};
  const ModelConfig config = Parsed(Of("sarvam_mla", keys));
  EXPECT_EQ(config.rope.type, RopeType::kYarn);
  EXPECT_EQ(config.head_dim, 192);
  EXPECT_EQ(config.latent.q_rank, 0);
  EXPECT_EQ(config.moe.groups, 1);
  EXPECT_EQ(config.qk_norm, QkNormKind::kNone);
  yarn["type"] = "yarn";
  const ModelConfig saved = Parsed({{"architectures", {"DeepseekV3ForCausalLM"}},
                                    {"model_type", "sarvam_mla"},
                                    {"max_position_embeddings", 131072},
                                    {"rope_parameters", yarn}});
  EXPECT_EQ(saved.architecture, "SarvamMLAForCausalLM");
  EXPECT_EQ(saved.attention_multiplier, config.attention_multiplier);
  EXPECT_EQ(saved.rope.factor, config.rope.factor);
}

INSTANTIATE_TEST_SUITE_P(
    Sarvam, RefusalTest,
    ::testing::Values(
        Refusal{"TwoCounts",
                Of("sarvam_moe", {{"num_experts", 8}, {"n_routed_experts", 16}}),
                {"'n_routed_experts' is 16", "contradicts num_experts"}},
        Refusal{"TwoBiases",
                Of("sarvam_moe", {{"attention_bias", true}, {"use_qkv_bias", false}}),
                {"'use_qkv_bias' is false", "contradicts attention_bias"}},
        Refusal{"NoBias",
                Of("sarvam_moe", {{"moe_router_enable_expert_bias", false}}),
                {"'moe_router_enable_expert_bias' is false", "true only"}},
        Refusal{"AllBiases", Of("sarvam_moe", {{"use_bias", true}}), {"'use_bias' is true"}},
        Refusal{"Scores",
                Of("sarvam_moe", {{"score_function", "softmax"}}),
                {"'score_function' is \"softmax\"", "\"sigmoid\" only"}},
        Refusal{"Theta",
                Of("sarvam_mla", {{"default_theta", 500.0}}),
                {"'default_theta' is 500.0", "10000.0 only"}},
        Refusal{"QueryHead",
                Of("sarvam_mla", {{"q_head_dim", 128}}),
                {"'q_head_dim' is 128", "must be 192"}},
        Refusal{"OddRotation",
                Of("sarvam_mla", {{"qk_rope_head_dim", 63}}),
                {"'qk_rope_head_dim' is 63", "even"}},
        Refusal{"AnotherYarn",
                Of("sarvam_mla", {{"rope_scaling", {{"type", "my_yarn"}, {"factor", 4}}}}),
                {"rope_scaling.type' is \"my_yarn\"", "known types"}},
        Refusal{"TypeOfNoFamily",
                {{"architectures", {"Glm4MoeForCausalLM"}}, {"model_type", "sarvam_mla"}},
                {"'model_type' is \"sarvam_mla\"", "Glm4MoeForCausalLM is 'glm4_moe'"}}),
    NameOf);

}  // namespace
}  // namespace folkmoot
