// SPDX-License-Identifier: Apache-2.0
// What JetMoE, Grok-1, OLMo, Phi-3, the families with sigmoid routers since Trinity and text models
// inside of others refuse (RefusalTest: model_config_errors_test.cc).
#include "tests/layers/config/refusal.h"

namespace folkmoot {
namespace {

using nlohmann::json;

json Of(const char* model_type, json keys) {
  keys["model_type"] = model_type;
  keys["num_hidden_layers"] = 2;
  return keys;
}

const json kBothFull = {"full_attention", "full_attention"};

INSTANTIATE_TEST_SUITE_P(
    Mixtures, RefusalTest,
    ::testing::Values(
        Refusal{"JetMoeHeads",
                Of("jetmoe", {{"num_attention_heads", 16}}),
                {"'num_attention_heads' is 16", "num_experts_per_tok", "is 32"}},
        Refusal{"JetMoeWithoutBias", Of("jetmoe", {{"bias", false}}), {"'bias' is false"}},
        Refusal{"JetMoeWithoutGates", Of("jetmoe", {{"glu", false}}), {"'glu' is false"}},
        Refusal{"JetMoeActivation",
                Of("jetmoe", {{"activation_function", "mish"}}),
                {"'activation_function' is \"mish\""}},
        Refusal{"JetMoeActivationByAnotherName",
                Of("jetmoe", {{"hidden_act", "gelu"}}),
                {"'hidden_act' is \"gelu\"", "no such key"}},
        Refusal{"JetMoeExpertsByAnotherName",
                Of("jetmoe", {{"num_experts", 4}}),
                {"'num_experts' is 4"}},
        Refusal{"FlexOlmoClip", Of("flex_olmo", {{"clip_qkv", 8}}), {"'clip_qkv' is 8"}},
        Refusal{
            "FlexOlmoWindow", Of("flex_olmo", {{"sliding_window", 8}}), {"'sliding_window' is 8"}},
        Refusal{"GrokCap", Of("grok-1", {{"max_attn_value", 20.0}}), {"'max_attn_value' is 20.0"}},
        Refusal{"GrokActivation",
                Of("grok-1", {{"hidden_act", "silu"}}),
                {"'hidden_act' is \"silu\"", "gelu"}},
        Refusal{"GrokScores",
                Of("grok-1", {{"attn_output_multiplier", 0}}),
                {"'attn_output_multiplier' is 0"}},
        Refusal{"GrokLogits",
                Of("grok-1", {{"output_multiplier_scale", 0}}),
                {"'output_multiplier_scale' is 0"}},
        Refusal{"GrokUnknown", Of("grok-1", {{"router_z_loss", 1}}), {"'router_z_loss' is 1"}}),
    NameOf);

INSTANTIATE_TEST_SUITE_P(
    SigmoidRouters, RefusalTest,
    ::testing::Values(
        Refusal{"TrinityWeights", Of("afmoe", {{"route_norm", false}}), {"'route_norm' is false"}},
        Refusal{"TrinityScores",
                Of("afmoe", {{"score_func", "softmax"}}),
                {"'score_func' is \"softmax\"", "sigmoid"}},
        Refusal{"TrinityHeadDim", Of("afmoe", {{"head_dim", nullptr}}), {"'head_dim' is null"}},
        Refusal{"TrinityWindow",
                Of("afmoe", {{"sliding_window", nullptr}}),
                {"'sliding_window' is null", "layer 0 slides"}},
        Refusal{"TrinityPattern",
                Of("afmoe", {{"global_attn_every_n_layers", 0}}),
                {"'global_attn_every_n_layers' is 0"}},
        Refusal{"ExaonePattern",
                Of("exaone_moe", {{"sliding_window_pattern", "LLLG"}}),
                {"'sliding_window_pattern' is \"LLLG\""}},
        Refusal{"ExaoneWindow",
                Of("exaone_moe", {{"sliding_window", nullptr}}),
                {"'sliding_window' is null", "layer 0 slides"}},
        Refusal{"ExaoneNoWindow",
                Of("exaone_moe", {{"sliding_window", nullptr}, {"layer_types", kBothFull}}),
                {"'sliding_window' is null", "number"}},
        Refusal{"ExaoneLayers",
                Of("exaone_moe", {{"mlp_layer_types", {"dense"}}}),
                {"'mlp_layer_types'", "2 layers"}},
        Refusal{"SolarDense",
                Of("solar_open", {{"first_k_dense_replace", 1}}),
                {"'first_k_dense_replace' is 1"}},
        Refusal{"SolarPartialRotation",
                Of("solar_open", {{"partial_rotary_factor", 0.5}}),
                {"'partial_rotary_factor' is 0.5"}},
        Refusal{"SolarNorms", Of("solar_open", {{"use_qk_norm", true}}), {"'use_qk_norm' is true"}},
        Refusal{"Hunyuan3Layers",
                Of("hy_v3", {{"mlp_layer_types", {"sparse", "odd"}}}),
                {"'mlp_layer_types'", "'odd'"}},
        Refusal{"Hunyuan3KvHeads",
                Of("hy_v3", {{"num_key_value_heads", nullptr}}),
                {"'num_key_value_heads' is null"}}),
    NameOf);

json TextOf(const char* model_type, json text) {
  return {{"model_type", model_type}, {"text_config", std::move(text)}};
}

INSTANTIATE_TEST_SUITE_P(
    TextModels, RefusalTest,
    ::testing::Values(
        Refusal{"KimiOfAnotherFamily",
                TextOf("kimi_k25", {{"model_type", "qwen3_moe"}}),
                {"'text_config.model_type' is \"qwen3_moe\"", "deepseek_v3"}},
        Refusal{"KimiGroups", TextOf("kimi_k25", {{"n_group", 3}}), {"'text_config.n_group' is 3"}},
        Refusal{"GlmNorms",
                TextOf("glm4v_moe", {{"use_qk_norm", true}}),
                {"'text_config.use_qk_norm' is true"}},
        Refusal{"GlmPartOfAHead",
                TextOf("glm4v_moe", {{"head_dim", 8}, {"partial_rotary_factor", 0.4}}),
                {"'text_config.partial_rotary_factor' is 0.4", "even"}},
        Refusal{"GlmBesideTheText",
                {{"model_type", "glm4v_moe"}, {"rope_theta", 1e4}, {"text_config", json::object()}},
                {"'rope_theta'", "beside text_config"}},
        Refusal{"ErnieWidth",
                TextOf("ernie4_5_vl_moe", {{"moe_intermediate_size", 1536}}),
                {"'text_config.moe_intermediate_size' is 1536", "list"}},
        Refusal{"ErnieWidths",
                TextOf("ernie4_5_vl_moe", {{"moe_intermediate_size", {1536}}}),
                {"'text_config.moe_intermediate_size'", "for text and for pictures"}},
        Refusal{"ErnieSections",
                TextOf("ernie4_5_vl_moe", {{"rope_parameters",
                                            {{"rope_type", "default"},
                                             {"rope_theta", 1e4},
                                             {"mrope_section", {20, 24, 20}}}}}),
                {"'text_config.rope_parameters'", "[20, 24, 20]", "64 in all"}},
        Refusal{"ErnieSectionsOfOtherHeads",
                TextOf("ernie4_5_vl_moe", {{"head_dim", 64}}),
                {"mrope_section [22, 22, 20]", "32 in all"}},
        Refusal{"ErnieYarn",
                TextOf("ernie4_5_vl_moe",
                       {{"rope_parameters",
                         {{"rope_type", "linear"}, {"rope_theta", 1e4}, {"factor", 2.0}}}}),
                {"'text_config.rope_parameters'", "only default"}},
        Refusal{"ErnieTwoCounts",
                TextOf("ernie4_5_vl_moe", {{"moe_num_experts", {64, 64}}}),
                {"'text_config.moe_num_experts' is a list of 2"}},
        Refusal{"QwenWeights",
                TextOf("qwen3_vl_moe", {{"norm_topk_prob", false}}),
                {"'text_config.norm_topk_prob' is false"}},
        Refusal{"QwenWindow",
                TextOf("qwen3_vl_moe", {{"sliding_window", 8}}),
                {"'text_config.sliding_window' is 8"}},
        Refusal{"QwenTied",
                {{"model_type", "qwen3_vl_moe"},
                 {"tie_word_embeddings", true},
                 {"text_config", {{"tie_word_embeddings", false}}}},
                {"'tie_word_embeddings' is true", "text_config"}},
        Refusal{"Qwen35Gate",
                TextOf("qwen3_5_moe", {{"attn_output_gate", false}}),
                {"'text_config.attn_output_gate' is false"}},
        Refusal{"Qwen35State",
                TextOf("qwen3_5_moe", {{"mamba_ssm_dtype", "bfloat16"}}),
                {"'text_config.mamba_ssm_dtype' is \"bfloat16\"", "float32"}},
        Refusal{"Qwen35DenseLayers",
                TextOf("qwen3_5_moe", {{"mlp_only_layers", {1}}}),
                {"'text_config.mlp_only_layers'"}},
        Refusal{"Qwen35Layers",
                TextOf("qwen3_5", {{"num_hidden_layers", 1}, {"layer_types", {"conv"}}}),
                {"'text_config.layer_types'", "'conv'"}},
        Refusal{"Qwen35OfAnotherFamily",
                TextOf("qwen3_5", {{"model_type", "qwen3_5_moe_text"}}),
                {"'text_config.model_type' is \"qwen3_5_moe_text\"", "qwen3_5_text"}},
        Refusal{"Qwen35Experts",
                TextOf("qwen3_5", {{"num_experts", 4}}),
                {"'text_config.num_experts' is 4"}},
        Refusal{"Phi3Yarn",
                Of("phi3", {{"rope_scaling", {{"type", "yarn"}, {"factor", 2}}}}),
                {"'rope_scaling'", "default and longrope"}},
        Refusal{"Phi3Context",
                Of("phi3", {{"rope_scaling",
                             {{"type", "longrope"},
                              {"short_factor", std::vector<double>(48, 1.0)},
                              {"long_factor", std::vector<double>(48, 2.0)}}}}),
                {"'original_max_position_embeddings' is missing"}},
        Refusal{"Phi3PartOfAHead",
                Of("phi3", {{"partial_rotary_factor", 0.01}}),
                {"'partial_rotary_factor' is 0.01"}},
        Refusal{"Olmo3Ropes",
                Of("olmo3", {{"rope_theta", 1e4}, {"rope_parameters", {{"full_attention", {}}}}}),
                {"'rope_theta'", "rope_parameters decides"}},
        Refusal{"Olmo3Window",
                Of("olmo3", {{"sliding_window", nullptr}}),
                {"'sliding_window' is null", "layer 0 slides"}},
        Refusal{"SeedHeadDim", Of("seed_oss", {{"head_dim", nullptr}}), {"'head_dim' is null"}}),
    NameOf);

}  // namespace
}  // namespace folkmoot
