// SPDX-License-Identifier: Apache-2.0
// What config.json of Flint means, and what of it is refused (RefusalTest:
// model_config_errors_test.cc).
#include <algorithm>

#include "tests/layers/config/parsed_config.h"
#include "tests/layers/config/refusal.h"

namespace folkmoot {
namespace {

using nlohmann::json;

constexpr const char* kSliding = "sliding_attention";
constexpr const char* kFull = "full_attention";

TEST(Flint, Defaults) {
  const ModelConfig config = Parsed(Of("flint", {{"num_hidden_layers", 8}}));
  EXPECT_EQ(Kinds(config), "- - SRM SRM SRM M SRM M");
  EXPECT_EQ(config.layers[2].sliding_window, 513);
  EXPECT_TRUE(std::all_of(config.layers.begin(), config.layers.end(),
                          [](const LayerConfig& layer) { return layer.sinks; }));
  EXPECT_FALSE(config.moe.selection_bias);
  EXPECT_EQ(config.moe.shared_intermediate, 1024);
  const GateConfig gate = GateOf(config);
  EXPECT_EQ(gate.score_fn, ScoreFn::kSigmoid);
  EXPECT_EQ(gate.normalize, Normalize::kBeforeDrop);
  EXPECT_EQ(gate.shared_gate, SharedGate::kNone);
}

TEST(Flint, DenseLayers) {
  const json three = {{"num_hidden_layers", 3}, {"layer_types", {kSliding, kFull, kSliding}}};
  json listed = three;
  listed["mlp_only_layers"] = json::array();
  EXPECT_EQ(Kinds(Parsed(Of("flint", listed))), "SRM M SRM");
  listed["mlp_only_layers"] = {2};
  EXPECT_EQ(Kinds(Parsed(Of("flint", listed))), "SRM M SR");
  listed["mlp_only_layers"] = nullptr;
  EXPECT_EQ(Kinds(Parsed(Of("flint", listed))), "SR - SRM");
  EXPECT_EQ(Kinds(Parsed(Of("flint", {{"num_hidden_layers", 1}}))), "-");
}

INSTANTIATE_TEST_SUITE_P(
    Flint, RefusalTest,
    ::testing::Values(Refusal{"NoWindow",
                              Of("flint", {{"sliding_window", nullptr}}),
                              {"'sliding_window' is null", "layer 2 slides"}},
                      Refusal{"DenseBehindTheLast",
                              Of("flint", {{"num_hidden_layers", 4}, {"mlp_only_layers", {4}}}),
                              {"'mlp_only_layers'", "0 to 3"}},
                      Refusal{"Length",
                              Of("flint", {{"num_hidden_layers", 2}, {"layer_types", {kFull}}}),
                              {"'layer_types' is a list of 1", "2 layers"}},
                      Refusal{"QkvBias", Of("flint", {{"qkv_bias", true}}), {"'qkv_bias' is true"}},
                      Refusal{"WindowOn",
                              Of("flint", {{"use_sliding_window", true}}),
                              {"'use_sliding_window' is true"}},
                      Refusal{"Scaling",
                              Of("flint", {{"routed_scaling_factor", 2.5}}),
                              {"'routed_scaling_factor' is 2.5", "no such key"}}),
    NameOf);

}  // namespace
}  // namespace folkmoot
