// SPDX-License-Identifier: Apache-2.0
// What families of 2026, most of which have layers with and without a window, read and refuse
// (RefusalTest: model_config_errors_test.cc).
#include "layers/models/load_config.h"
#include "tests/layers/config/refusal.h"

namespace folkmoot {
namespace {

using nlohmann::json;

json Of(const char* model_type, json keys) {
  keys["model_type"] = model_type;
  return keys;
}

json TextOf(const char* model_type, json text) {
  return {{"model_type", model_type}, {"text_config", std::move(text)}};
}

ModelConfig Parse(const json& keys) {
  const auto config = ParseModelConfig(keys.dump(), "config.json");
  EXPECT_TRUE(config.ok()) << config.status();
  return config.value_or(ModelConfig());
}

// The authors' config.json of MiMo-V2-Flash, of which Transformers reads other keys.
json AuthorsMimo(const json& changes = json::object()) {
  json keys = {{"architectures", {"MiMoV2FlashForCausalLM"}},
               {"model_type", "mimo_v2_flash"},
               {"num_hidden_layers", 3},
               {"hybrid_layer_pattern", {0, 1, 0}},
               {"moe_layer_freq", {0, 1, 1}},
               {"add_swa_attention_sink_bias", true},
               {"add_full_attention_sink_bias", false},
               {"sliding_window", 128},
               {"sliding_window_size", 128},
               {"attention_chunk_size", 128},
               {"swa_num_attention_heads", 64},
               {"swa_num_key_value_heads", 8},
               {"swa_head_dim", 192},
               {"swa_v_head_dim", 128},
               {"layernorm_epsilon", 1e-5},
               {"partial_rotary_factor", 0.334},
               {"rope_theta", 5000000},
               {"swa_rope_theta", 10000},
               {"routed_scaling_factor", nullptr},
               {"n_shared_experts", nullptr}};
  keys.merge_patch(changes);
  return keys;
}

TEST(MimoV2, ReadsTheAuthorsKeys) {
  const ModelConfig config = Parse(AuthorsMimo());
  ASSERT_EQ(config.layers.size(), 3u);
  EXPECT_EQ(config.layers[1].sliding_window, 129);
  EXPECT_EQ(config.kv_heads_of(config.layers[1]), 8);
  EXPECT_EQ(config.kv_heads_of(config.layers[2]), 4);
  EXPECT_EQ(config.cache_numbers(), 16 * (192 + 128));
  EXPECT_TRUE(config.layers[1].sinks && config.layers[1].local_rope);
  EXPECT_FALSE(config.layers[2].sinks || config.layers[2].local_rope || config.layers[0].moe);
  EXPECT_EQ(config.value_dim(config.layers[1]), 128);
  EXPECT_FLOAT_EQ(config.value_multiplier, 0.707f);
  EXPECT_EQ(config.rope.theta, 5e6);
  EXPECT_EQ(config.local_rope->theta, 1e4);
  EXPECT_EQ(config.local_rope->partial_rotary_factor, 0.334);
  const ModelConfig others =
      Parse(AuthorsMimo({{"swa_num_attention_heads", 32}, {"add_full_attention_sink_bias", true}}));
  EXPECT_EQ(others.heads_of(others.layers[1]), 32);
  EXPECT_EQ(others.widest_attention(), 64 * 128);
  EXPECT_TRUE(others.layers[0].sinks);
}

// sliding_window counts the token itself but in the authors' files.
TEST(MimoV2, SizesOfWindows) {
  const auto window = [](const json& changes) {
    return Parse(AuthorsMimo(changes)).layers[1].sliding_window;
  };
  EXPECT_EQ(window({{"sliding_window", nullptr}}), 129);
  EXPECT_EQ(window({{"sliding_window", 129}}), 129);  // as Transformers writes it
  const json alone = {{"sliding_window_size", nullptr}, {"attention_chunk_size", nullptr}};
  EXPECT_EQ(window(alone), 128);
  json none = alone;
  none["sliding_window"] = nullptr;
  EXPECT_EQ(window(none), 129);
}

INSTANTIATE_TEST_SUITE_P(
    MimoV2, RefusalTest,
    ::testing::Values(
        Refusal{"Window",
                AuthorsMimo({{"sliding_window_size", 64}}),
                {"'sliding_window_size' is 64", "sliding_window = 128"}},
        Refusal{"Chunk",
                AuthorsMimo({{"attention_chunk_size", 64}}),
                {"'attention_chunk_size' is 64", "a window of 129"}},
        Refusal{"Heads",
                AuthorsMimo({{"swa_num_key_value_heads", 7}}),
                {"64 query heads cannot share 7"}},
        Refusal{
            "HeadDim", AuthorsMimo({{"swa_head_dim", 128}}), {"'swa_head_dim' is 128", "have 192"}},
        Refusal{"Pattern",
                AuthorsMimo({{"layer_types", std::vector<std::string>(3, "full_attention")}}),
                {"'hybrid_layer_pattern'", "layer_types at layer 1"}},
        Refusal{"PatternOfWrongLength",
                AuthorsMimo({{"hybrid_layer_pattern", {0, 1}}}),
                {"'hybrid_layer_pattern' is a list of 2", "3 layers"}},
        Refusal{"Experts",
                AuthorsMimo({{"mlp_layer_types", {"sparse", "sparse", "sparse"}}}),
                {"'moe_layer_freq'", "mlp_layer_types at layer 0"}},
        Refusal{"Shared",
                AuthorsMimo({{"n_shared_experts", 1}}),
                {"'n_shared_experts' is 1", "0 only"}},
        Refusal{"Rotations",
                AuthorsMimo({{"rope_parameters", {{"full_attention", json::object()}}}}),
                {"'rope_theta'", "rope_parameters decides"}}),
    NameOf);

// As Transformers writes it since 5.24, in place of first_k_dense_replace.
TEST(Axk1, ListsItsDenseLayers) {
  const ModelConfig config = Parse({{"model_type", "axk1"},
                                    {"num_hidden_layers", 3},
                                    {"mlp_layer_types", {"dense", "sparse", "dense"}}});
  ASSERT_EQ(config.layers.size(), 3u);
  EXPECT_FALSE(config.layers[0].moe || config.layers[2].moe);
  EXPECT_TRUE(config.layers[1].moe);
}

json MistralRope(json rope) {
  rope["type"] = "yarn";
  rope["factor"] = 4;
  return {{"model_type", "mistral4"}, {"rope_parameters", std::move(rope)}};
}

INSTANTIATE_TEST_SUITE_P(
    Mistral4, RefusalTest,
    ::testing::Values(Refusal{"HeadDim",
                              Of("mistral4", {{"head_dim", 64}}),
                              {"'head_dim' is 64", "qk_nope_head_dim + qk_rope_head_dim = 128"}},
                      Refusal{"Part",
                              MistralRope({{"partial_rotary_factor", 0.7}}),
                              {"rope_parameters.partial_rotary_factor' is 0.7", "64 of 128"}},
                      Refusal{"ScaleWithoutContext",
                              MistralRope({{"llama_4_scaling_beta", 0.1}}),
                              {"original_max_position_embeddings' is missing",
                               "llama_4_scaling_beta needs it"}},
                      Refusal{"AnotherText",
                              TextOf("mistral3", {{"model_type", "mistral"}}),
                              {"'text_config.model_type' is \"mistral\"", "'mistral4'"}},
                      Refusal{"AxFields",
                              Of("axk1", {{"scoring_func", "softmax"}}),
                              {"'scoring_func' is \"softmax\""}}),
    NameOf);

INSTANTIATE_TEST_SUITE_P(
    Laguna, RefusalTest,
    ::testing::Values(
        Refusal{"Gate",
                Of("laguna", {{"gating", false}}),
                {"'gating' is false", "per-head, per-element"}},
        Refusal{"WeightOnInput",
                Of("laguna", {{"moe_apply_router_weight_on_input", true}}),
                {"'moe_apply_router_weight_on_input' is true", "false only"}},
        Refusal{"HeadsOfWrongLength",
                Of("laguna", {{"num_attention_heads_per_layer", {48}}}),
                {"'num_attention_heads_per_layer' is a list of 1", "40 layers"}},
        Refusal{"Heads",
                Of("laguna", {{"num_hidden_layers", 1}, {"num_attention_heads_per_layer", {12}}}),
                {"12 query heads cannot share 8"}},
        Refusal{"DenseLayers",
                Of("laguna", {{"num_hidden_layers", 2}, {"mlp_only_layers", {0, 1}}}),
                {"'mlp_only_layers'", "at layer 1"}},
        Refusal{"LayerType",
                Of("laguna", {{"num_hidden_layers", 1}, {"layer_types", {"chunked_attention"}}}),
                {"entry 0 is 'chunked_attention'"}},
        Refusal{"Theta",
                Of("laguna", {{"rope_theta", 1000}}),
                {"'rope_theta' is 1000", "rope_parameters.full_attention"}},
        Refusal{"MellumWindow",
                Of("mellum", {{"num_hidden_layers", 1},
                              {"layer_types", {"sliding_attention"}},
                              {"use_sliding_window", false}}),
                {"'use_sliding_window' is false", "layer 0 slides"}},
        Refusal{"MellumNoWindow",
                Of("mellum", {{"num_hidden_layers", 1},
                              {"layer_types", {"sliding_attention"}},
                              {"sliding_window", nullptr}}),
                {"'sliding_window' is null", "at least 1"}}),
    NameOf);

INSTANTIATE_TEST_SUITE_P(
    Cohere2Moe, RefusalTest,
    ::testing::Values(
        Refusal{"Strategy",
                Of("cohere2_moe", {{"shared_expert_combination_strategy", "max"}}),
                {"'shared_expert_combination_strategy' is \"max\"", "average, sum"}},
        Refusal{"Selection",
                Of("cohere2_moe", {{"expert_selection_fn", "relu"}}),
                {"'expert_selection_fn' is \"relu\"", "softmax, sigmoid"}},
        Refusal{"Scale", Of("cohere2_moe", {{"logit_scale", 0}}), {"'logit_scale' is 0"}},
        Refusal{"Norms", Of("cohere2_moe", {{"use_qk_norm", true}}), {"'use_qk_norm' is true"}},
        Refusal{"SwashThreeBases",
                Of("granitemoe_swa",
                   {{"num_hidden_layers", 3}, {"layer_rope_theta", {100.0, 200.0, 300.0}}}),
                {"'layer_rope_theta'", "third base", "two are supported"}},
        Refusal{"SwashThetas",
                Of("granitemoe_swa", {{"layer_rope_theta", {100.0}}}),
                {"'layer_rope_theta' is a list of 1", "32 layers"}},
        Refusal{"AriaActivation",
                TextOf("aria", {{"hidden_act", "gelu"}}),
                {"'text_config.hidden_act' is \"gelu\""}},
        Refusal{"AriaWidths",
                TextOf("aria", {{"moe_intermediate_size", 64}}),
                {"'text_config.moe_intermediate_size' is 64", "intermediate_size = 4096"}}),
    NameOf);

json OmniOf(json text) {
  return {{"model_type", "qwen3_omni_moe"}, {"thinker_config", {{"text_config", std::move(text)}}}};
}

INSTANTIATE_TEST_SUITE_P(
    Qwen3Omni, RefusalTest,
    ::testing::Values(Refusal{"NoThinker",
                              {{"model_type", "qwen3_omni_moe"}},
                              {"'thinker_config' is missing", "an object"}},
                      Refusal{
                          "NoText",
                          {{"model_type", "qwen3_omni_moe"}, {"thinker_config", json::object()}},
                          {"thinker_config.text_config' is missing"}},
                      Refusal{"KeyOfText",
                              OmniOf({{"head_dim", 128}, {"num_experts_per_tok", 0}}),
                              {"'thinker_config.text_config.num_experts_per_tok' is 0"}},
                      Refusal{"SharedExpert",
                              OmniOf({{"shared_expert_intermediate_size", 8}}),
                              {"shared_expert_intermediate_size' is 8", "0 only"}},
                      Refusal{"BesideThinker",
                              {{"model_type", "qwen3_omni_moe"},
                               {"thinker_config", json::object()},
                               {"hidden_size", 8}},
                              {"'hidden_size' is 8", "beside thinker_config"}}),
    NameOf);

json Step(const json& changes) {
  json keys = {{"model_type", "step3p5"},
               {"num_hidden_layers", 2},
               {"layer_types", {"full_attention", "sliding_attention"}},
               {"sliding_window", 512}};
  keys.merge_patch(changes);
  return keys;
}

TEST(Step3p5, ListsMayGoOnForLayersThatAreNotUsed) {
  const ModelConfig config = Parse(
      Step({{"num_nextn_predict_layers", 1},
            {"layer_types", {"full_attention", "sliding_attention", "sliding_attention"}},
            {"rope_theta", {5e6, 1e4, 1e4}},
            {"partial_rotary_factors", {0.5, 1.0, 1.0}},
            {"attention_other_setting", {{"num_attention_heads", 96}, {"num_attention_groups", 8}}},
            {"moe_layers_enum", "1,2"},
            {"swiglu_limits", {nullptr, 7.0, 7.0}}}));
  EXPECT_EQ(config.heads_of(config.layers[1]), 96);
  EXPECT_EQ(config.heads_of(config.layers[0]), 64);
  EXPECT_EQ(config.rope.theta, 5e6);
  EXPECT_EQ(config.rope.partial_rotary_factor, 0.5);
  EXPECT_EQ(config.local_rope->theta, 1e4);
  EXPECT_TRUE(config.layers[1].moe && !config.layers[0].moe);
  EXPECT_EQ(config.layers[1].expert_limit, 7.0f);
  EXPECT_EQ(config.layers[0].expert_limit, 0.0f);
}

json HeadsOfSecond(int heads) { return {{"1", {{"num_attention_heads", heads}}}}; }

TEST(Step3p5, ReadsWhatTransformersWrites) {
  const ModelConfig config = Parse(Step({{"num_sliding_attention_heads", 96},
                                         {"per_layer_config", HeadsOfSecond(96)},
                                         {"n_routed_experts", 16},
                                         {"num_key_value_heads", 8}}));
  EXPECT_EQ(config.heads_of(config.layers[1]), 96);
  EXPECT_EQ(config.moe.experts, 16);
}

INSTANTIATE_TEST_SUITE_P(
    Step3p5, RefusalTest,
    ::testing::Values(
        Refusal{"HeadsOfLayers",
                Step({{"per_layer_config", HeadsOfSecond(96)}}),
                {"'per_layer_config'", "64 query heads of layer 1"}},
        Refusal{"TwoExpertCounts",
                Step({{"moe_num_experts", 8}, {"n_routed_experts", 16}}),
                {"'n_routed_experts' is 16", "moe_num_experts = 8"}},
        Refusal{"Thetas", Step({{"rope_theta", {5e6}}}), {"'rope_theta' is a list of 1"}},
        Refusal{"ThetasOfOneKind",
                Step({{"layer_types", std::vector<std::string>(2, "full_attention")},
                      {"rope_theta", {5e6, 1e4}}}),
                {"'rope_theta'", "entry 1 differs", "without a window"}},
        Refusal{"Limits",
                Step({{"swiglu_limits", {1.0, -1.0}}}),
                {"'swiglu_limits'", "entry 1 must be a number"}},
        Refusal{"Layers", Step({{"moe_layers_enum", "1,x"}}), {"'moe_layers_enum'", "a list"}},
        Refusal{"OtherKeys",
                Step({{"attention_other_setting", {{"num_attention_groups", 4}}}}),
                {"attention_other_setting.num_attention_groups' is 4", "must have 8"}},
        Refusal{"TwoLists",
                Step({{"moe_layers_enum", "1"}, {"mlp_layer_types", {"dense", "sparse"}}}),
                {"'moe_layers_enum'", "mlp_layer_types decides"}},
        Refusal{"Window",
                Step({{"sliding_window", nullptr}}),
                {"'sliding_window' is missing", "layer 1 slides"}}),
    NameOf);

}  // namespace
}  // namespace folkmoot
