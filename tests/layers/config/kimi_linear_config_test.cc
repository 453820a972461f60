// SPDX-License-Identifier: Apache-2.0
// What config.json of Kimi Linear means, in the authors' keys and those of Transformers, and what
// of it is refused (RefusalTest: model_config_errors_test.cc).
#include "layers/models/load_config.h"
#include "tests/layers/config/refusal.h"

namespace folkmoot {
namespace {

using nlohmann::json;

json KimiLinear(const json& changes = json::object()) {
  json keys = {{"model_type", "kimi_linear"},
               {"num_hidden_layers", 3},
               {"num_nextn_predict_layers", 0},
               {"head_dim", 72},
               {"mla_use_nope", true},
               {"linear_attn_config",
                {{"full_attn_layers", {3}},
                 {"kda_layers", {1, 2}},
                 {"num_heads", 8},
                 {"head_dim", 64},
                 {"short_conv_kernel_size", 3}}}};
  keys.merge_patch(changes);
  return keys;
}

TEST(KimiLinear, ReadsTheAuthorsKeys) {
  const auto parsed =
      ParseModelConfig(KimiLinear({{"num_experts_per_token", 4}}).dump(), "config.json");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  const ModelConfig& config = *parsed;
  EXPECT_EQ(config.recurrent_layers(), 2);
  EXPECT_EQ(config.layers[2].mixer, Mixer::kAttention);
  EXPECT_FALSE(config.layers[2].rope || config.layers[0].moe);
  EXPECT_TRUE(config.layers[1].moe);
  EXPECT_EQ(config.recurrent.key_heads, 8);
  EXPECT_EQ(config.recurrent.value_dim, 64);
  EXPECT_EQ(config.recurrent.kernel, 3);
  EXPECT_EQ(config.moe.top_k, 4);
  EXPECT_EQ(config.latent.q_rank, 0);
  EXPECT_EQ(config.cache_numbers(), 512 + 64 + 512);
}

TEST(KimiLinear, EveryFourthLayerAttendsByDefault) {
  const auto config = ParseModelConfig(json({{"model_type", "kimi_linear"}}).dump(), "config.json");
  ASSERT_TRUE(config.ok()) << config.status();
  for (size_t i = 0; i < config->layers.size(); ++i) {
    EXPECT_EQ(config->layers[i].mixer == Mixer::kAttention, i > 0 && i % 4 == 0) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(
    KimiLinear, RefusalTest,
    ::testing::Values(
        Refusal{"Rotation", KimiLinear({{"mla_use_nope", false}}), {"'mla_use_nope' is false"}},
        Refusal{"Stretching",
                KimiLinear({{"rope_scaling", {{"type", "yarn"}}}}),
                {"'rope_scaling'", "null only"}},
        Refusal{"Scores",
                KimiLinear({{"moe_router_activation_func", "softmax"}}),
                {"'moe_router_activation_func'", "\"sigmoid\" only"}},
        Refusal{"Gap",
                KimiLinear({{"linear_attn_config", {{"kda_layers", {1}}}}}),
                {"linear_attn_config.kda_layers", "layer 2 is in neither list"}},
        Refusal{"Twice",
                KimiLinear({{"linear_attn_config", {{"kda_layers", {1, 2, 3}}}}}),
                {"linear_attn_config.kda_layers", "layer 3 is listed twice"}},
        Refusal{"Types",
                KimiLinear({{"layer_types",
                             {"full_attention", "linear_attention", "linear_attention"}}}),
                {"'layer_types'", "contradicts the lists"}},
        Refusal{"NoAttention",
                KimiLinear({{"linear_attn_config",
                             {{"full_attn_layers", json::array()}, {"kda_layers", {1, 2, 3}}}}}),
                {"at least one layer must have full attention"}},
        Refusal{"Heads",
                KimiLinear({{"linear_num_heads", 4}}),
                {"linear_attn_config.num_heads' is 8", "linear_num_heads = 4"}},
        Refusal{"Aliases",
                KimiLinear({{"num_experts_per_tok", 2}, {"num_experts_per_token", 4}}),
                {"num_experts_per_token", "contradicts"}}),
    NameOf);

}  // namespace
}  // namespace folkmoot
