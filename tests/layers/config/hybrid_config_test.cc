// SPDX-License-Identifier: Apache-2.0
// What config.json of LFM2, Granite 4 and Nemotron-H means.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "layers/models/load_config.h"

namespace folkmoot {
namespace {

ModelConfig Parse(const nlohmann::json& keys) {
  const auto config = ParseModelConfig(keys.dump(), "config.json");
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? *config : ModelConfig{};
}

// R: a recurrence, A: attention, d: a dense network, e: experts.
std::string Kinds(const ModelConfig& config) {
  std::string text;
  for (const LayerConfig& layer : config.layers) {
    if (layer.mixer != Mixer::kNone) text += layer.mixer == Mixer::kRecurrent ? 'R' : 'A';
    if (layer.ffn) text += layer.moe ? 'e' : 'd';
    text += ' ';
  }
  return text;
}

TEST(HybridConfig, NemotronH) {
  ModelConfig config = Parse({{"model_type", "nemotron_h"},
                              {"hybrid_override_pattern", "ME*-M"},
                              {"mamba_num_heads", 6},
                              {"n_groups", 3},
                              {"n_routed_experts", 16},
                              {"moe_latent_size", 24}});
  EXPECT_EQ(Kinds(config), "R e A d R ");
  EXPECT_EQ(config.recurrent_layers(), 2);
  EXPECT_EQ(config.cache_layers(), 1);
  EXPECT_EQ(config.place_in_kind(4), 1);
  EXPECT_EQ(config.moe.experts, 16);
  EXPECT_EQ(config.expert_width(), 24);
  EXPECT_EQ(config.activation, Activation::kReluSquared);
  EXPECT_EQ(config.recurrent.activation, Activation::kSilu);
  EXPECT_FALSE(config.layers[2].rope);
  // Without experts it is a dense model, whatever the keys of experts say.
  config = Parse({{"model_type", "nemotron_h"}, {"hybrid_override_pattern", "M-*-"}});
  EXPECT_EQ(Kinds(config), "R d A d ");
  EXPECT_EQ(config.moe.experts, 0);
  EXPECT_EQ(config.expert_width(), config.hidden);
}

TEST(HybridConfig, Granite) {
  const ModelConfig config = Parse({{"model_type", "granitemoehybrid"},
                                    {"num_hidden_layers", 3},
                                    {"hidden_size", 64},
                                    {"mamba_n_heads", 4},
                                    {"num_local_experts", 0},
                                    {"shared_intermediate_size", 48},
                                    {"layer_types", {"mamba", "attention", "linear_attention"}}});
  EXPECT_EQ(Kinds(config), "Rd Ad Rd ");
  EXPECT_EQ(config.intermediate, 48);
  EXPECT_EQ(config.recurrent.value_dim, 32);  // twice the hidden width over 4 heads
  EXPECT_FALSE(config.layers[1].rope);
}

// As Transformers 5 writes it.
TEST(HybridConfig, StepsWithoutLimit) {
  const nlohmann::json infinity = {{"__float__", "Infinity"}};
  Parse({{"model_type", "granitemoehybrid"},
         {"num_hidden_layers", 1},
         {"hidden_size", 64},
         {"num_local_experts", 0},
         {"shared_intermediate_size", 48},
         {"layer_types", {"attention"}},
         {"time_step_limit", nlohmann::json::array({0.0, infinity})}});
}

TEST(HybridConfig, Lfm2) {
  ModelConfig config = Parse({{"model_type", "lfm2_moe"},
                              {"num_hidden_layers", 3},
                              {"layer_types", {"conv", "conv", "full_attention"}}});
  EXPECT_EQ(Kinds(config), "Rd Rd Ae ");
  EXPECT_EQ(config.recurrent.kernel, 3);
  EXPECT_EQ(config.rms_norm_eps, 1e-5f);
  config = Parse({{"model_type", "lfm2"},
                  {"num_hidden_layers", 3},
                  {"full_attn_idxs", {1}},
                  {"block_ff_dim", 100},
                  {"block_multiple_of", 16},
                  {"block_ffn_dim_multiplier", 1.5}});
  EXPECT_EQ(Kinds(config), "Rd Ad Rd ");
  EXPECT_EQ(config.intermediate, 112);  // 66 of 100, 99 of those, rounded up
}

}  // namespace
}  // namespace folkmoot
