// SPDX-License-Identifier: Apache-2.0
// What config.json of MiniMax-Text-01 and M1 means, in the keys of Transformers and in the
// authors', and what of it is refused (RefusalTest: model_config_errors_test.cc); how fast its
// heads forget.
#include <cmath>

#include "layers/lightning_attention.h"
#include "layers/models/load_config.h"
#include "layers/models/model.h"
#include "tests/layers/config/refusal.h"

namespace folkmoot {
namespace {

using nlohmann::json;

constexpr double kAlpha = 3.5565588200778455;

json With(json keys, const json& changes) {
  keys.merge_patch(changes);
  return keys;
}

// The released model with four layers.
json Minimax(const json& changes = json::object()) {
  return With({{"model_type", "minimax"},
               {"hidden_size", 6144},
               {"intermediate_size", 9216},
               {"num_hidden_layers", 4},
               {"num_attention_heads", 64},
               {"head_dim", 128},
               {"num_local_experts", 32},
               {"layer_types",
                {"linear_attention", "linear_attention", "linear_attention", "full_attention"}},
               {"full_attn_alpha_factor", kAlpha},
               {"linear_attn_alpha_factor", 3},
               {"mlp_alpha_factor", 2},
               {"mlp_beta_factor", 0.5},
               {"rotary_dim", 64},
               {"postnorm", true},
               {"shared_intermediate_size", 0},
               {"shared_moe_mode", "sigmoid"},
               {"rope_theta", 10000000},
               {"vocab_size", 200064}},
              changes);
}

json Authors(const std::string& model_type, const json& changes = json::object()) {
  json keys = Minimax({{"model_type", model_type},
                       {"attn_type_list", {0, 0, 0, 1}},
                       {"layernorm_full_attention_alpha", kAlpha},
                       {"layernorm_full_attention_beta", 1.0},
                       {"layernorm_linear_attention_alpha", 3},
                       {"layernorm_linear_attention_beta", 1.0},
                       {"layernorm_mlp_alpha", 2},
                       {"layernorm_mlp_beta", 0.5}});
  if (model_type == "minimax_m1") keys["architectures"] = {"MiniMaxM1ForCausalLM"};
  for (const char* key : {"layer_types", "full_attn_alpha_factor", "linear_attn_alpha_factor",
                          "mlp_alpha_factor", "mlp_beta_factor"}) {
    keys.erase(key);
  }
  return With(keys, changes);
}

json Text01(const json& changes) { return Authors("minimax_text_01", changes); }

class MinimaxKeys : public testing::TestWithParam<json> {};

TEST_P(MinimaxKeys, MeanTheSame) {
  const auto parsed = ParseModelConfig(GetParam().dump(), "config.json");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  const ModelConfig& config = *parsed;
  EXPECT_EQ(config.recurrent_layers(), 3);
  EXPECT_EQ(config.layers[3].mixer, Mixer::kAttention);
  EXPECT_EQ(config.recurrent.kind, Recurrence::kLightning);
  EXPECT_EQ(config.recurrent.value_heads, 64);
  EXPECT_EQ(config.recurrent.value_dim, 128);
  EXPECT_TRUE(config.residual.of_norm);
  EXPECT_EQ(config.residual.attention.kept, static_cast<float>(kAlpha));
  EXPECT_EQ(config.residual.recurrent.kept, 3.0f);
  EXPECT_EQ(config.residual.recurrent.added, 1.0f);
  EXPECT_EQ(config.residual.ffn.kept, 2.0f);
  EXPECT_EQ(config.residual.ffn.added, 0.5f);
  EXPECT_EQ(config.rope.dim, 64);
  EXPECT_EQ(config.rms_norm_eps, 1e-5f);
  EXPECT_TRUE(config.moe.norm_topk_prob);
  EXPECT_EQ(WhyCpuOnly(config), "lightning attention");
  EXPECT_NE(WhyNotTensorParallel(config), "");
  EXPECT_NE(WhyNotSpeculative(config), "");
  EXPECT_EQ(StateBytesPerSequence(config), 3 * 64 * 128 * 128 * 4);
}

INSTANTIATE_TEST_SUITE_P(Both, MinimaxKeys,
                         testing::Values(Minimax(), Authors("minimax_text_01"),
                                         Authors("minimax_m1")));

TEST(Minimax, IsThatOfTransformersByDefault) {
  const auto config = ParseModelConfig(R"({"model_type": "minimax"})", "config.json");
  ASSERT_TRUE(config.ok()) << config.status();
  for (size_t i = 0; i < config->layers.size(); ++i) {
    EXPECT_EQ(config->layers[i].mixer == Mixer::kAttention, i % 2 == 0) << i;
    EXPECT_TRUE(config->layers[i].moe);
  }
  EXPECT_EQ(config->moe.experts, 8);
  EXPECT_EQ(config->rope.theta, 1e6);
  EXPECT_EQ(config->residual.ffn.kept, 1.0f);
  EXPECT_EQ(config->eos_ids, std::vector<int32_t>{2});
}

TEST(Minimax, WindowsAreOfFullLayers) {
  const auto config = ParseModelConfig(Minimax({{"sliding_window", 9}}).dump(), "config.json");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->layers[3].sliding_window, 9);
  EXPECT_EQ(config->layers[0].sliding_window, 0);
}

// Full attention alone may be divided, and is still no matter for GPUs.
TEST(Minimax, MayHaveNoLightningAttention) {
  const auto config = ParseModelConfig(
      Text01({{"attn_type_list", {1, 1, 1, 1}}, {"num_attention_heads", 56}}).dump(),
      "config.json");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(WhyNotTensorParallel(*config), "");
  EXPECT_EQ(WhyCpuOnly(*config), "residuals of normalised rows");
}

TEST(Minimax, LaterHeadsAndLayersForgetLess) {
  for (const int64_t layer : {0, 3, 78}) {
    const std::vector<float> decays = LightningMixer::DecaysOf(64, layer, 80);
    const double less = 1.0 - static_cast<double>(layer) / 79.00001 + 1e-5;
    for (const int64_t h : {0, 7, 63}) {
      const double slope = std::pow(2.0, -static_cast<double>(h + 1) / 8) * less;
      EXPECT_NEAR(decays[static_cast<size_t>(h)], std::exp(-slope), 1e-7) << layer << " " << h;
    }
  }
  EXPECT_EQ(LightningMixer::DecaysOf(1, 0, 1).size(), 1u);
}

INSTANTIATE_TEST_SUITE_P(
    Minimax, RefusalTest,
    ::testing::Values(
        Refusal{"Kind",
                Minimax({{"num_hidden_layers", 1}, {"layer_types", {"sliding_attention"}}}),
                {"'layer_types'", "'sliding_attention'", "linear_attention"}},
        Refusal{"Kinds", Minimax({{"num_hidden_layers", 3}}), {"'layer_types'", "3 layers"}},
        Refusal{"NoAttention",
                Minimax({{"num_hidden_layers", 1}, {"layer_types", {"linear_attention"}}}),
                {"'layer_types'", "full attention"}},
        Refusal{
            "OfTheStream", Minimax({{"postnorm", false}}), {"'postnorm' is false", "true only"}},
        Refusal{"SharedExpert",
                Minimax({{"shared_intermediate_size", 64}}),
                {"'shared_intermediate_size' is 64", "0 only"}},
        Refusal{"Factor", Minimax({{"mlp_beta_factor", -1}}), {"'mlp_beta_factor' is -1"}},
        Refusal{"Turning", Minimax({{"rotary_dim", 130}}), {"'rotary_dim' is 130"}},
        Refusal{"AuthorsKeyForTransformers",
                Minimax({{"attn_type_list", {0, 0, 0, 1}}}),
                {"'attn_type_list'", "no such key"}},
        Refusal{"AuthorsFactorForTransformers",
                Minimax({{"layernorm_mlp_alpha", 1}}),
                {"'layernorm_mlp_alpha'", "no such key"}},
        Refusal{"AuthorsOfTheStream",
                Text01({{"postnorm", nullptr}}),
                {"'postnorm' is missing", "true only"}},
        Refusal{"AuthorsKinds",
                Text01({{"attn_type_list", nullptr}}),
                {"'attn_type_list' is missing", "4 layers"}},
        Refusal{
            "AuthorsOtherKind", Text01({{"attn_type_list", {0, 0, 2, 1}}}), {"'attn_type_list'"}},
        Refusal{"AuthorsHeads",
                Text01({{"num_attention_heads", 56}}),
                {"'num_attention_heads' is 56", "power of two"}},
        Refusal{"AuthorsFactor",
                Text01({{"layernorm_mlp_alpha", "much"}}),
                {"'layernorm_mlp_alpha' is \"much\""}},
        Refusal{"AuthorsWindow", Text01({{"sliding_window", 9}}), {"'sliding_window' is 9"}},
        Refusal{"TransformersKeyForAuthors",
                Text01({{"mlp_alpha_factor", 1}}),
                {"'mlp_alpha_factor'", "no such key"}},
        Refusal{"TransformersKindsForAuthors",
                Text01({{"layer_types", json::array()}}),
                {"'layer_types'", "no such key"}}),
    NameOf);

}  // namespace
}  // namespace folkmoot
