// SPDX-License-Identifier: Apache-2.0
// What config.json of Jamba means, and what of it is refused (RefusalTest:
// model_config_errors_test.cc).
#include "layers/models/load_config.h"
#include "layers/models/model.h"
#include "tests/layers/config/refusal.h"

namespace folkmoot {
namespace {

using nlohmann::json;

json JambaKeys(json keys = json::object()) {
  keys["model_type"] = "jamba";
  return keys;
}

ModelConfig ParseJamba(const json& keys) {
  const auto config = ParseModelConfig(JambaKeys(keys).dump(), "config.json");
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? *config : ModelConfig{};
}

TEST(Jamba, IsJambaByDefault) {
  const ModelConfig config = ParseJamba(json::object());
  std::string mixers, networks;
  for (const LayerConfig& layer : config.layers) {
    mixers += layer.mixer == Mixer::kAttention ? 'a' : 's';
    networks += layer.moe ? 'e' : 'd';
    EXPECT_FALSE(layer.rope);
  }
  EXPECT_EQ(mixers, "ssssasssssssasssssssasssssssasss");
  EXPECT_EQ(networks, "dededededededededededededededede");
  EXPECT_EQ(config.recurrent.kind, Recurrence::kSelectiveScan);
  EXPECT_EQ(config.recurrent.values(), 8192);
  EXPECT_EQ(config.recurrent.key_dim, 16);
  EXPECT_EQ(config.recurrent.step_rank, 256);
  EXPECT_EQ(config.recurrent.kernel, 4);
  EXPECT_TRUE(config.recurrent.kernel_bias);
  EXPECT_FALSE(config.recurrent.bias || config.moe.norm_topk_prob);
  EXPECT_EQ(config.moe.experts, 16);
  EXPECT_EQ(config.moe.top_k, 2);
  EXPECT_EQ(config.cache_layers(), 4);
  EXPECT_EQ(WhyCpuOnly(config), "selective scans");
  EXPECT_NE(WhyNotTensorParallel(config), "");
  EXPECT_NE(WhyNotSpeculative(config), "");
  // Of each scan three rows of inputs, and 16 numbers for each channel.
  EXPECT_EQ(StateBytesPerSequence(config), 28 * 8192 * (3 + 16) * 4);
}

TEST(Jamba, OneExpertIsADenseNetwork) {
  for (const json& keys :
       {json({{"num_experts", 1}}), json({{"num_experts", 1}, {"num_experts_per_tok", 1}}),
        json({{"num_hidden_layers", 5}, {"expert_layer_period", 9}, {"expert_layer_offset", 8}})}) {
    const ModelConfig config = ParseJamba(keys);
    EXPECT_EQ(config.moe.experts, 0) << keys;
    for (const LayerConfig& layer : config.layers) EXPECT_FALSE(layer.moe);
  }
}

TEST(Jamba, RankOfSteps) {
  EXPECT_EQ(ParseJamba({{"mamba_dt_rank", "auto"}, {"hidden_size", 2560}}).recurrent.step_rank,
            160);
  EXPECT_EQ(ParseJamba({{"mamba_dt_rank", 7}}).recurrent.step_rank, 7);
}

INSTANTIATE_TEST_SUITE_P(
    Jamba, RefusalTest,
    ::testing::Values(
        Refusal{"Offset",
                JambaKeys({{"attn_layer_offset", 8}}),
                {"'attn_layer_offset' is 8", "below attn_layer_period = 8"}},
        Refusal{"ExpertOffset",
                JambaKeys({{"expert_layer_offset", 3}}),
                {"'expert_layer_offset' is 3", "below expert_layer_period = 2"}},
        Refusal{"NoPeriod", JambaKeys({{"attn_layer_period", 0}}), {"'attn_layer_period' is 0"}},
        Refusal{"NoAttention", JambaKeys({{"num_hidden_layers", 4}}), {"'attn_layer_offset'"}},
        Refusal{"TooManyChosen",
                JambaKeys({{"num_experts", 4}, {"num_experts_per_tok", 5}}),
                {"'num_experts_per_tok' is 5", "5 of 4 experts"}},
        Refusal{"OtherCount",
                JambaKeys({{"num_experts", 4}, {"num_local_experts", 8}}),
                {"'num_local_experts' is 8", "contradicts num_experts"}},
        Refusal{"Rank", JambaKeys({{"mamba_dt_rank", "full"}}), {"'mamba_dt_rank'", "auto"}},
        Refusal{"Kernel", JambaKeys({{"mamba_d_conv", 17}}), {"'mamba_d_conv' is 17"}},
        Refusal{"InnerNorms",
                JambaKeys({{"mamba_inner_layernorms", false}}),
                {"'mamba_inner_layernorms' is false", "true only"}},
        Refusal{"Rotation",
                JambaKeys({{"rope_theta", 10000}}),
                {"'rope_theta' is 10000", "no such key"}}),
    NameOf);

}  // namespace
}  // namespace folkmoot
