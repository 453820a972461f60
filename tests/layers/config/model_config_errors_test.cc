// SPDX-License-Identifier: Apache-2.0
// Every refusal of ParseModelConfig and what its message must name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "layers/models/load_config.h"
#include "tests/layers/config/refusal.h"

namespace folkmoot {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::string ErrorOf(const std::string& text) {
  const auto parsed = ParseModelConfig(text, "dir/config.json");
  EXPECT_FALSE(parsed.ok());
  return parsed.ok() ? "" : std::string(Message(parsed.status()));
}

TEST_P(RefusalTest, NamesTheCulprit) {
  json config = GetParam().keys;
  if (!config.contains("model_type") && !config.contains("architectures")) {
    config["model_type"] = "qwen3_moe";
  }
  const std::string message = ErrorOf(config.dump());
  EXPECT_THAT(message, HasSubstr("dir/config.json"));
  for (const std::string& part : GetParam().wanted) EXPECT_THAT(message, HasSubstr(part));
}

json Rope(json object) { return {{"rope_parameters", std::move(object)}}; }

INSTANTIATE_TEST_SUITE_P(
    Encoders, RefusalTest,
    ::testing::Values(
        Refusal{"SwitchWithoutEncoder",
                {{"model_type", "switch_transformers"}, {"is_encoder_decoder", false}},
                {"'is_encoder_decoder' is false", "it must be true"}},
        Refusal{"SwitchSparseStep",
                {{"model_type", "switch_transformers"},
                 {"num_layers", 4},
                 {"num_sparse_encoder_layers", 2},
                 {"encoder_sparse_step", 3}},
                {"'encoder_sparse_step' is 3", "make it 2"}},
        Refusal{"SwitchRouterType",
                {{"model_type", "switch_transformers"}, {"router_dtype", "bfloat16"}},
                {"'router_dtype'", "float32"}},
        Refusal{"SwitchTopK",
                {{"model_type", "switch_transformers"}, {"num_experts_per_tok", 2}},
                {"'num_experts_per_tok'", "has no such key"}},
        Refusal{"SwitchGatedGelu",
                {{"model_type", "switch_transformers"}, {"dense_act_fn", "gated-gelu"}},
                {"'dense_act_fn' is \"gated-gelu\""}},
        Refusal{"SwitchRope",
                {{"model_type", "switch_transformers"}, {"rope_theta", 100}},
                {"'rope_theta'", "has no such key"}},
        Refusal{"NllbPolicy",
                {{"model_type", "nllb-moe"}, {"second_expert_policy", "best"}},
                {"'second_expert_policy' is \"best\"", "all, random, sampling"}},
        Refusal{"NllbHeads",
                {{"model_type", "nllb-moe"}, {"encoder_attention_heads", 3}},
                {"'encoder_attention_heads' is 3", "d_model = 1024"}},
        Refusal{"NllbDropout",
                {{"model_type", "nllb-moe"}, {"moe_token_dropout", 1.0}},
                {"'moe_token_dropout'", "less than 1"}},
        Refusal{"NllbStart",
                {{"model_type", "nllb-moe"}, {"decoder_start_token_id", 128112}},
                {"'decoder_start_token_id' is 128112"}},
        Refusal{"AnEncoderElsewhere",
                {{"model_type", "mixtral"}, {"is_encoder_decoder", true}},
                {"'is_encoder_decoder' is true", "has no encoder"}}),
    NameOf);

INSTANTIATE_TEST_SUITE_P(
    Sizes, RefusalTest,
    ::testing::Values(
        Refusal{
            "ZeroHeads", {{"num_attention_heads", 0}}, {"'num_attention_heads' is 0", "from 1"}},
        Refusal{"NegativeHidden", {{"hidden_size", -4}}, {"'hidden_size' is -4"}},
        Refusal{"StringForNumber", {{"hidden_size", "64"}}, {"'hidden_size' is \"64\"", "integer"}},
        Refusal{"FractionForInteger", {{"vocab_size", 10.5}}, {"'vocab_size' is 10.5"}},
        Refusal{"FloatForInteger", {{"vocab_size", 10.0}}, {"'vocab_size' is 10.0"}},
        Refusal{"BoolForInteger", {{"vocab_size", true}}, {"'vocab_size' is true"}},
        Refusal{"NullForInteger", {{"vocab_size", nullptr}}, {"'vocab_size' is null"}},
        Refusal{"HugeInteger",
                {{"intermediate_size", 18446744073709551615ull}},
                {"'intermediate_size' is 18446744073709551615"}},
        Refusal{"TooManyLayers", {{"num_hidden_layers", 1000000000}}, {"'num_hidden_layers'"}},
        Refusal{"ZeroLayers", {{"num_hidden_layers", 0}}, {"'num_hidden_layers' is 0"}},
        Refusal{"ZeroExperts", {{"num_experts", 0}}, {"'num_experts' is 0"}},
        Refusal{"ZeroPositions", {{"max_position_embeddings", 0}}, {"'max_position_embeddings'"}},
        Refusal{"ZeroMoeSize", {{"moe_intermediate_size", 0}}, {"'moe_intermediate_size' is 0"}},
        Refusal{"ZeroSharedSize",
                {{"model_type", "qwen2_moe"}, {"shared_expert_intermediate_size", 0}},
                {"'shared_expert_intermediate_size' is 0"}},
        Refusal{"ListForInteger", {{"hidden_size", {1, 2}}}, {"'hidden_size' is a list of 2"}},
        Refusal{"ZeroEpsilon", {{"rms_norm_eps", 0}}, {"'rms_norm_eps' is 0", "greater than 0"}},
        Refusal{"StringEpsilon", {{"rms_norm_eps", "1e-6"}}, {"'rms_norm_eps' is \"1e-6\""}},
        Refusal{
            "NumberForBool", {{"norm_topk_prob", 1}}, {"'norm_topk_prob' is 1", "true or false"}},
        Refusal{"StringForTied", {{"tie_word_embeddings", "no"}}, {"'tie_word_embeddings'"}}),
    NameOf);

INSTANTIATE_TEST_SUITE_P(
    Heads, RefusalTest,
    ::testing::Values(
        Refusal{"KvHeadsDoNotDivide",
                {{"num_attention_heads", 6}, {"num_key_value_heads", 4}, {"head_dim", 8}},
                {"'num_key_value_heads' is 4", "num_attention_heads = 6"}},
        Refusal{"MoreKvHeadsThanHeads",
                {{"num_attention_heads", 2}, {"num_key_value_heads", 4}, {"head_dim", 8}},
                {"'num_key_value_heads' is 4"}},
        Refusal{
            "NullKvHeads", {{"num_key_value_heads", nullptr}}, {"'num_key_value_heads' is null"}},
        Refusal{"NullHeadDim", {{"head_dim", nullptr}}, {"'head_dim' is null"}},
        Refusal{"OddHeadDim", {{"head_dim", 15}}, {"'head_dim' is 15", "even"}},
        Refusal{"OddDerivedHeadDim",
                {{"hidden_size", 12}, {"num_attention_heads", 4}},
                {"even head_dim (it is 3)"}},
        Refusal{"HiddenDoesNotDivide",
                {{"hidden_size", 50}, {"num_attention_heads", 4}},
                {"'hidden_size' is 50", "num_attention_heads = 4"}}),
    NameOf);

INSTANTIATE_TEST_SUITE_P(
    Experts, RefusalTest,
    ::testing::Values(
        Refusal{"MoreTopKThanExperts",
                {{"num_experts", 4}, {"num_experts_per_tok", 5}},
                {"'num_experts_per_tok' is 5", "5 of 4 experts"}},
        Refusal{"ZeroTopK", {{"num_experts_per_tok", 0}}, {"'num_experts_per_tok' is 0"}},
        Refusal{"TwoExpertCounts",
                {{"num_experts", 8}, {"num_local_experts", 16}},
                {"'num_local_experts' is 16", "num_experts = 8"}},
        Refusal{"AliasOfAnotherFamily",
                {{"model_type", "qwen2_moe"}, {"num_local_experts", 8}},
                {"'num_local_experts'", "Qwen2MoeForCausalLM has no such key"}},
        Refusal{"ZeroSparseStep", {{"decoder_sparse_step", 0}}, {"'decoder_sparse_step' is 0"}},
        Refusal{
            "DenseLayerOutOfRange", {{"mlp_only_layers", {0, 24}}}, {"'mlp_only_layers'", "24"}},
        Refusal{"DenseLayersNotAList", {{"mlp_only_layers", 3}}, {"'mlp_only_layers' is 3"}}),
    NameOf);

INSTANTIATE_TEST_SUITE_P(
    Windows, RefusalTest,
    ::testing::Values(
        Refusal{"LayerTypesOfWrongLength",
                {{"model_type", "qwen2"},
                 {"num_hidden_layers", 3},
                 {"layer_types", {"full_attention"}}},
                {"'layer_types' is a list of 1", "3 layers"}},
        Refusal{"UnknownLayerType",
                {{"model_type", "qwen2"}, {"num_hidden_layers", 1}, {"layer_types", {"linear"}}},
                {"'layer_types'", "'linear'", "full_attention"}},
        Refusal{"SlidingWithoutUse",
                {{"model_type", "qwen2"},
                 {"num_hidden_layers", 1},
                 {"layer_types", {"sliding_attention"}}},
                {"'layer_types'", "use_sliding_window"}},
        Refusal{"SlidingWithoutWindow",
                {{"model_type", "qwen2"},
                 {"num_hidden_layers", 1},
                 {"use_sliding_window", true},
                 {"sliding_window", nullptr},
                 {"layer_types", {"sliding_attention"}}},
                {"'sliding_window' is null", "at least 1"}},
        Refusal{"WindowOfZero",
                {{"use_sliding_window", true}, {"sliding_window", 0}},
                {"'sliding_window' is 0"}},
        Refusal{"NegativeWindow", {{"sliding_window", -1}}, {"'sliding_window' is -1"}},
        Refusal{"WindowForLlama",
                {{"model_type", "llama"}, {"sliding_window", 8}},
                {"'sliding_window' is 8", "no sliding window"}},
        Refusal{"LayerTypesAgainstTheRule",
                {{"num_hidden_layers", 1}, {"layer_types", {"sliding_attention"}}},
                {"'layer_types'", "Qwen3MoeForCausalLM decides"}}),
    NameOf);

INSTANTIATE_TEST_SUITE_P(
    Names, RefusalTest,
    ::testing::Values(
        Refusal{"UnknownArchitecture",
                {{"architectures", {"GptFiveForCausalLM"}}},
                {"'GptFiveForCausalLM'", "known: AXK1ForCausalLM", "Qwen3MoeForCausalLM"}},
        Refusal{
            "UnknownModelType", {{"model_type", "bert"}}, {"'model_type' is \"bert\"", "known:"}},
        Refusal{"TypeOfAnotherArchitecture",
                {{"architectures", {"LlamaForCausalLM"}}, {"model_type", "qwen2"}},
                {"'model_type' is \"qwen2\"", "LlamaForCausalLM is 'llama'"}},
        Refusal{"ArchitecturesNotAList",
                {{"architectures", "LlamaForCausalLM"}},
                {"'architectures'", "list of strings"}},
        Refusal{"UnknownKey",
                {{"attention_chunk_size", 8192}},
                {"'attention_chunk_size' is 8192", "Qwen3MoeForCausalLM", "remove it"}},
        Refusal{
            "KeyOfAnotherFamily", {{"mlp_bias", true}}, {"'mlp_bias' is true", "no such biases"}},
        Refusal{"ExpertsByAnotherName",
                {{"model_type", "granitemoe"}, {"num_experts", 4}},
                {"'num_experts' is 4", "GraniteMoeForCausalLM has no such key"}},
        Refusal{"GraniteMultiplierOfZero",
                {{"model_type", "granitemoe"}, {"residual_multiplier", 0}},
                {"'residual_multiplier' is 0"}},
        Refusal{
            "ClipBelowZero", {{"model_type", "olmoe"}, {"clip_qkv", -1.0}}, {"'clip_qkv' is -1.0"}},
        Refusal{"ClipOfAnotherFamily",
                {{"clip_qkv", 8.0}},
                {"'clip_qkv' is 8.0", "clipping of q, k and v"}},
        Refusal{"AttentionBiasWhereAlwaysOn",
                {{"model_type", "qwen2"}, {"attention_bias", false}},
                {"'attention_bias'", "Qwen2ForCausalLM"}},
        Refusal{"Quantized",
                {{"quantization_config", {{"quant_method", "bitsandbytes"}}}},
                {"'quantization_config.quant_method' is \"bitsandbytes\"", "known: awq"}},
        Refusal{"QuantizedAsAString",
                {{"quantization_config", "fp8"}},
                {"'quantization_config' is \"fp8\"", "must be an object"}},
        Refusal{"LogitsScaling", {{"logits_scaling", 2}}, {"'logits_scaling' is 2"}},
        Refusal{
            "PartialRotary", {{"partial_rotary_factor", 0.5}}, {"'partial_rotary_factor' is 0.5"}},
        Refusal{"Mrope", {{"use_mrope", true}}, {"'use_mrope' is true"}},
        Refusal{
            "UnknownActivation", {{"hidden_act", "mish"}}, {"'hidden_act' is \"mish\"", "silu"}},
        Refusal{"NullActivation", {{"hidden_act", nullptr}}, {"'hidden_act' is null"}},
        Refusal{"UnknownDType", {{"dtype", "int4"}}, {"'dtype' is \"int4\"", "bfloat16"}},
        Refusal{"NegativeEos", {{"eos_token_id", -1}}, {"'eos_token_id' is -1"}},
        Refusal{"StringEos", {{"eos_token_id", {1, "two"}}}, {"'eos_token_id'", "two"}}),
    NameOf);

INSTANTIATE_TEST_SUITE_P(
    Rotary, RefusalTest,
    ::testing::Values(
        Refusal{
            "UnknownType", Rope({{"rope_type", "mrope"}}), {"rope_parameters.rope_type", "yarn"}},
        Refusal{"UnknownOldType",
                {{"rope_scaling", {{"type", "su"}}}},
                {"rope_scaling.type' is \"su\"", "longrope"}},
        Refusal{"TwoTypes",
                Rope({{"rope_type", "linear"}, {"type", "dynamic"}, {"factor", 2}}),
                {"rope_parameters.type", "contradicts"}},
        Refusal{"TwoObjects",
                {{"rope_parameters", {{"rope_type", "default"}}},
                 {"rope_scaling", {{"rope_type", "linear"}, {"factor", 2}}}},
                {"'rope_scaling'", "contradicts 'rope_parameters'"}},
        Refusal{"TwoThetas",
                {{"rope_theta", 10}, {"rope_parameters", {{"rope_theta", 20}}}},
                {"rope_parameters.rope_theta' is 20", "10"}},
        Refusal{"NotAnObject", {{"rope_scaling", 4}}, {"'rope_scaling' is 4", "object"}},
        Refusal{"NestedByLayerType",
                Rope({{"full_attention", {{"rope_type", "default"}}}}),
                {"rope_parameters.full_attention"}},
        Refusal{"UnknownRopeKey",
                Rope({{"rope_type", "default"}, {"mrope_section", {1, 2}}}),
                {"rope_parameters.mrope_section", "'default'"}},
        Refusal{"KeyOfAnotherType",
                Rope({{"rope_type", "linear"}, {"factor", 2}, {"beta_fast", 1}}),
                {"rope_parameters.beta_fast", "'linear'"}},
        Refusal{"ThetaOfOne", {{"rope_theta", 1}}, {"'rope_theta' is 1", "greater than 1"}},
        Refusal{"StringTheta", {{"rope_theta", "1e6"}}, {"'rope_theta' is \"1e6\""}},
        Refusal{"LinearWithoutFactor",
                Rope({{"rope_type", "linear"}}),
                {"rope_parameters.factor", "missing"}},
        Refusal{"DynamicFactorZero",
                Rope({{"rope_type", "dynamic"}, {"factor", 0}}),
                {"rope_parameters.factor' is 0"}},
        Refusal{"YarnWithoutFactor",
                Rope({{"rope_type", "yarn"}}),
                {"rope_parameters.factor", "missing"}},
        Refusal{"NegativeBeta",
                Rope({{"rope_type", "yarn"}, {"factor", 2}, {"beta_slow", -1}}),
                {"rope_parameters.beta_slow' is -1"}},
        Refusal{"Llama3WithoutLow",
                Rope({{"rope_type", "llama3"}, {"factor", 2}, {"high_freq_factor", 4}}),
                {"rope_parameters.low_freq_factor", "missing"}},
        Refusal{"Llama3LowAboveHigh",
                Rope({{"rope_type", "llama3"},
                      {"factor", 2},
                      {"high_freq_factor", 1},
                      {"low_freq_factor", 4}}),
                {"rope_parameters.high_freq_factor' is 1"}},
        Refusal{"LongropeWithoutLists",
                Rope({{"rope_type", "longrope"}}),
                {"rope_parameters.short_factor", "missing"}},
        Refusal{
            "LongropeOfWrongLength",
            Rope({{"rope_type", "longrope"}, {"short_factor", {1, 2}}, {"long_factor", {1, 2}}}),
            {"rope_parameters.short_factor' is a list of 2", "32 entries"}},
        Refusal{"PartialFactor",
                Rope({{"rope_type", "default"}, {"partial_rotary_factor", 0.25}}),
                {"rope_parameters.partial_rotary_factor' is 0.25"}}),
    NameOf);

TEST(ModelConfigErrors, NotJson) {
  EXPECT_THAT(ErrorOf("{\"model_type\": "), AllOf(HasSubstr("not JSON"), HasSubstr("line 1")));
  EXPECT_THAT(ErrorOf(""), HasSubstr("not JSON"));
  EXPECT_THAT(ErrorOf("[1]"), HasSubstr("must be a JSON object"));
  EXPECT_THAT(ErrorOf("{\"model_type\": \"\xff\"}"), HasSubstr("not JSON"));
  EXPECT_THAT(ErrorOf("{\"rope_theta\": 1e999}"), HasSubstr("not JSON"));
}

TEST(ModelConfigErrors, DeepNesting) {
  const std::string text =
      "{\"model_type\": " + std::string(200000, '[') + std::string(200000, ']') + "}";
  EXPECT_THAT(ErrorOf(text), HasSubstr("'model_type' is a list of 1"));
}

TEST(ModelConfigErrors, KeyTwice) {
  EXPECT_THAT(ErrorOf(R"({"model_type": "llama", "vocab_size": 1, "vocab_size": 2})"),
              HasSubstr("'vocab_size' stands twice"));
}

TEST(ModelConfigErrors, NeitherArchitectureNorType) {
  EXPECT_THAT(ErrorOf("{}"), AllOf(HasSubstr("'architectures'"), HasSubstr("'model_type'"),
                                   HasSubstr("MixtralForCausalLM")));
}

TEST(ModelConfigErrors, Files) {
  namespace fs = std::filesystem;
  const auto error = [](const fs::path& directory) {
    return std::string(Message(LoadModelConfig(directory.string()).status()));
  };
  const fs::path directory = fs::path(::testing::TempDir()) / "config_files_test";
  fs::remove_all(directory);
  EXPECT_THAT(error(directory), HasSubstr("no such file or directory"));
  fs::create_directories(directory);
  EXPECT_THAT(error(directory), HasSubstr("config.json: cannot be read"));
  std::ofstream(directory / "config.json") << R"({"model_type": "llama"})";
  std::ofstream(directory / "generation_config.json") << R"({"eos_token_id": "x"})";
  EXPECT_THAT(error(directory), HasSubstr("generation_config.json: key 'eos_token_id' is \"x\""));
  fs::remove_all(directory);
}

}  // namespace
}  // namespace folkmoot
