// SPDX-License-Identifier: Apache-2.0
// What config.json of Beam means, and what of it is refused (RefusalTest:
// model_config_errors_test.cc).
#include "layers/models/load_config.h"
#include "layers/models/model.h"
#include "tests/layers/config/parsed_config.h"
#include "tests/layers/config/refusal.h"

namespace folkmoot {
namespace {

using nlohmann::json;

constexpr const char* kFull = "full_attention";
constexpr const char* kSliding = "sliding_attention";

json Beam(const json& changes = json::object()) {
  json keys = {{"model_type", "beam"},
               {"num_hidden_layers", 4},
               {"layer_types", {kSliding, kFull, kSliding, kFull}},
               {"mlp_layer_types", {"dense", "sparse", "sparse", "sparse"}},
               {"rope_parameters",
                {{kSliding, {{"rope_type", "default"}, {"rope_theta", 500.0}}}, {kFull, nullptr}}}};
  keys.update(changes);
  return keys;
}

TEST(Beam, ReadsWhatLayersAre) {
  const ModelConfig config = Parsed(Beam());
  EXPECT_EQ(config.architecture, "BeamForCausalLM");
  EXPECT_EQ(config.layers[0].sliding_window, 512);
  EXPECT_EQ(config.layers[1].sliding_window, 0);
  EXPECT_TRUE(config.layers[0].rope);
  EXPECT_FALSE(config.layers[1].rope || config.layers[0].moe);
  EXPECT_EQ(config.rope.theta, 500.0);
  EXPECT_FALSE(config.local_rope.has_value() || config.layers[0].local_rope);
  EXPECT_EQ(config.temperature.rule, TemperatureRule::kPower);
  EXPECT_EQ(config.temperature.floor, 2048.0f);
  EXPECT_TRUE(config.gate_bias && config.post_norms && config.residual.by_depth);
  EXPECT_FALSE(config.gate_per_head);
  EXPECT_EQ(config.logits_softcap, 30.0f);
  EXPECT_EQ(config.moe.groups, 8);
  EXPECT_EQ(config.moe.chosen_groups, 4);
  EXPECT_EQ(config.moe.routed_scaling, 1.0);
  EXPECT_EQ(config.moe.output_scale, 2.5f);
  EXPECT_EQ(config.moe.shared_intermediate, 0);
  EXPECT_TRUE(config.eos_ids.empty());
  EXPECT_EQ(WhyCpuOnly(config), "residuals scaled by depth");
  EXPECT_EQ(WhyNotTensorParallel(config), "");
}

TEST(Beam, HasTheDefaultsOfTransformers) {
  const ModelConfig config = Parsed({{"model_type", "beam"}});
  ASSERT_EQ(config.layers.size(), 52u);
  int64_t full = 0;
  for (const LayerConfig& layer : config.layers) full += layer.sliding_window == 0 ? 1 : 0;
  EXPECT_EQ(full, 9);  // the sixth, .., and the last
  EXPECT_EQ(config.layers[5].sliding_window, 0);
  EXPECT_EQ(config.layers[51].sliding_window, 0);
  EXPECT_FALSE(config.layers[51].rope || config.layers[2].moe);
  EXPECT_TRUE(config.layers[50].rope && config.layers[3].moe);
  EXPECT_EQ(config.rope.theta, 1e4);
  EXPECT_EQ(config.heads, 48);
  EXPECT_EQ(config.kv_heads, 8);
}

TEST(Beam, EachKindOfLayerMayTurnOrNot) {
  const json yarn = {{"rope_type", "yarn"},
                     {"rope_theta", 100.0},
                     {"factor", 4.0},
                     {"original_max_position_embeddings", 32}};
  const ModelConfig full =
      Parsed(Beam({{"rope_parameters", {{kSliding, nullptr}, {kFull, yarn}}}}));
  EXPECT_FALSE(full.layers[0].rope || full.local_rope.has_value());
  EXPECT_TRUE(full.layers[1].rope);
  EXPECT_EQ(full.rope.type, RopeType::kYarn);
  const json plain = {{"rope_type", "default"}, {"rope_theta", 500.0}};
  const ModelConfig both = Parsed(Beam({{"rope_parameters", {{kSliding, plain}, {kFull, yarn}}}}));
  EXPECT_TRUE(both.layers[0].local_rope && both.layers[1].rope);
  EXPECT_EQ(both.rope.factor, 4.0);
  EXPECT_EQ(both.local_rope->theta, 500.0);
}

TEST(Beam, LogitsMayHaveNoCap) {
  EXPECT_EQ(Parsed(Beam({{"final_logit_softcapping", nullptr}})).logits_softcap, 0.0f);
}

INSTANTIATE_TEST_SUITE_P(
    Beam, RefusalTest,
    ::testing::Values(
        Refusal{"FlatRope",
                Beam({{"rope_parameters", {{"rope_type", "default"}, {"rope_theta", 1e4}}}}),
                {"rope_parameters'", "full_attention and sliding_attention only"}},
        Refusal{"NoEntry",
                Beam({{"rope_parameters", {{kFull, nullptr}}}}),
                {"rope_parameters'", "without an entry sliding_attention"}},
        Refusal{"OuterTheta", Beam({{"rope_theta", 1e4}}), {"rope_theta'", "no such key"}},
        Refusal{"PartOfAHead",
                Beam({{"rope_parameters",
                       {{kSliding, {{"partial_rotary_factor", 0.5}}}, {kFull, nullptr}}}}),
                {"partial_rotary_factor' is 0.5", "only 1"}},
        Refusal{"NoWindow", Beam({{"sliding_window", nullptr}}), {"sliding_window' is null"}},
        Refusal{"LayerType",
                Beam({{"layer_types", {kSliding, kFull, "linear_attention", kFull}}}),
                {"layer_types'", "entry 2 is 'linear_attention'"}},
        Refusal{"NoGroups", Beam({{"n_group", nullptr}}), {"n_group' is null", "integer"}},
        Refusal{"GroupsOfOne",
                Beam({{"num_experts", 8}, {"num_experts_per_tok", 2}}),
                {"n_group'", "groups of at least 2"}},
        Refusal{"NoScale",
                Beam({{"routed_scaling_factor", 0}}),
                {"routed_scaling_factor' is 0", "greater than 0"}},
        Refusal{"CapOfZero",
                Beam({{"final_logit_softcapping", 0}}),
                {"final_logit_softcapping' is 0", "greater than 0"}},
        Refusal{"DenseByCount", Beam({{"first_k_dense_replace", 1}}), {"first_k_dense_replace'"}},
        Refusal{"SharedExpert", Beam({{"n_shared_experts", 1}}), {"n_shared_experts'", "no such"}}),
    NameOf);

}  // namespace
}  // namespace folkmoot
