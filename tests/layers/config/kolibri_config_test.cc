// SPDX-License-Identifier: Apache-2.0
// What config.json of Kolibri-1 means, and what of it is refused (RefusalTest:
// model_config_errors_test.cc).
#include "tests/layers/config/parsed_config.h"
#include "tests/layers/config/refusal.h"

namespace folkmoot {
namespace {

using nlohmann::json;

constexpr const char* kFull = "full_attention";
constexpr const char* kLinear = "linear_attention";

TEST(Kolibri, Defaults) {
  const ModelConfig config = Parsed(Of("kolibri1", {{"num_hidden_layers", 6}}));
  EXPECT_EQ(Kinds(config), "SRM SRM SRM SRM M SRM");
  EXPECT_EQ(config.layers[0].sliding_window, 513);
  EXPECT_EQ(config.heads * config.head_dim, 48 * 128);
  EXPECT_TRUE(config.post_norms && config.input_norms);
  EXPECT_EQ(config.qk_norm, QkNormKind::kHeads);
  EXPECT_TRUE(config.eos_ids.empty());
  EXPECT_EQ(config.moe.shared_intermediate, 512);
  const GateConfig gate = GateOf(config);
  EXPECT_EQ(gate.score_fn, ScoreFn::kSigmoid);
  EXPECT_EQ(gate.select_on, SelectOn::kLogit);
  EXPECT_EQ(gate.normalize, Normalize::kNone);
  EXPECT_TRUE(gate.shared);
  EXPECT_EQ(WhyNotTensorParallel(config), "");
}

// A window that no layer has: nothing rotates.
TEST(Kolibri, RotatesWithWindows) {
  const json full = {{"num_hidden_layers", 2}, {"layer_types", {kFull, kFull}}};
  EXPECT_EQ(Kinds(Parsed(Of("kolibri1", full))), "M M");
}

INSTANTIATE_TEST_SUITE_P(
    Kolibri, RefusalTest,
    ::testing::Values(Refusal{"NoWindow",
                              Of("kolibri1", {{"sliding_window", nullptr}}),
                              {"'sliding_window' is null", "layer 0 slides"}},
                      Refusal{"NoWindowInUse",
                              Of("kolibri1", {{"num_hidden_layers", 1},
                                              {"layer_types", {kFull}},
                                              {"sliding_window", nullptr}}),
                              {"'sliding_window' is null", "no layer uses"}},
                      Refusal{"WindowOff",
                              Of("kolibri1", {{"use_sliding_window", false}}),
                              {"'use_sliding_window' is false", "true only"}},
                      Refusal{"Pattern",
                              Of("kolibri1", {{"sliding_window_pattern", 5}}),
                              {"'sliding_window_pattern' is 5", "no such key"}},
                      Refusal{"Head",
                              Of("kolibri1", {{"head_dtype", "bfloat16"}}),
                              {"'head_dtype' is \"bfloat16\"", "\"float32\" only"}},
                      Refusal{"Dense",
                              Of("kolibri1", {{"intermediate_size", 2048}}),
                              {"'intermediate_size' is 2048", "no such key"}},
                      Refusal{"Biases",
                              Of("kolibri1", {{"attention_bias", true}}),
                              {"'attention_bias' is true", "no such biases"}},
                      Refusal{"TwoCounts",
                              Of("kolibri1", {{"num_experts", 8}, {"num_local_experts", 16}}),
                              {"'num_local_experts' is 16", "num_experts = 8"}},
                      Refusal{
                          "Kind",
                          Of("kolibri1", {{"num_hidden_layers", 1}, {"layer_types", {kLinear}}}),
                          {"'layer_types'", "entry 0 is 'linear_attention'"}}),
    NameOf);

}  // namespace
}  // namespace folkmoot
