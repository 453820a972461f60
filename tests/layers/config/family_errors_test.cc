// SPDX-License-Identifier: Apache-2.0
// What families with keys and rules of their own refuse (RefusalTest: model_config_errors_test.cc).
#include "tests/layers/config/refusal.h"

namespace folkmoot {
namespace {

using nlohmann::json;

json Gpt(json keys) {
  keys["model_type"] = "gpt_oss";
  return keys;
}

INSTANTIATE_TEST_SUITE_P(
    GptOss, RefusalTest,
    ::testing::Values(
        Refusal{"NullKvHeads",
                Gpt({{"num_key_value_heads", nullptr}}),
                {"'num_key_value_heads' is null"}},
        Refusal{"NullHeadDim", Gpt({{"head_dim", nullptr}}), {"'head_dim' is null"}},
        Refusal{"TwoExpertCounts",
                Gpt({{"num_experts", 8}, {"num_local_experts", 16}}),
                {"'num_local_experts' is 16", "num_experts = 8"}},
        Refusal{"TwoTopK",
                Gpt({{"num_experts_per_tok", 4}, {"experts_per_token", 2}}),
                {"'experts_per_token' is 2", "num_experts_per_tok = 4"}},
        Refusal{"SlidingWithoutWindow",
                Gpt({{"sliding_window", nullptr}}),
                {"'sliding_window' is null", "layer 0 slides"}},
        Refusal{"LayerTypesOfWrongLength",
                Gpt({{"layer_types", {"full_attention"}}}),
                {"'layer_types' is a list of 1", "36 layers"}},
        Refusal{"Activation", Gpt({{"hidden_act", "gelu"}}), {"'hidden_act' is \"gelu\"", "silu"}},
        Refusal{"NoLimit", Gpt({{"swiglu_limit", 0}}), {"'swiglu_limit' is 0"}},
        Refusal{"Slope", Gpt({{"swiglu_alpha", 1.5}}), {"'swiglu_alpha' is 1.5", "1.702 only"}},
        Refusal{"PartialRotary",
                Gpt({{"partial_rotary_factor", 0.5}}),
                {"'partial_rotary_factor' is 0.5"}},
        Refusal{"EmptyRope",
                Gpt({{"rope_scaling", json::object()}}),
                {"'rope_scaling' is an object", "rope_type"}},
        Refusal{"TwoContexts",
                Gpt({{"original_max_position_embeddings", 64}}),
                {"'original_max_position_embeddings' is 64", "the same"}}),
    NameOf);

json Phi(json keys) {
  keys["model_type"] = "phimoe";
  return keys;
}

// Changes of a longrope that would do.
json Longrope(const json& changes) {
  json rope = {{"type", "longrope"},
               {"short_factor", std::vector<double>(64, 1.0)},
               {"long_factor", std::vector<double>(64, 2.0)},
               {"short_mscale", 1.2},
               {"long_mscale", 1.4},
               {"original_max_position_embeddings", 4096}};
  rope.merge_patch(changes);
  return {{"rope_scaling", rope}};
}

INSTANTIATE_TEST_SUITE_P(
    Phimoe, RefusalTest,
    ::testing::Values(
        Refusal{"NullKvHeads",
                Phi({{"num_key_value_heads", nullptr}}),
                {"'num_key_value_heads' is null"}},
        Refusal{"NullHeadDim", Phi({{"head_dim", nullptr}}), {"'head_dim' is null"}},
        Refusal{"OneExpert",
                Phi({{"num_local_experts", 1}, {"num_experts_per_tok", 1}}),
                {"'num_local_experts' is 1", "two experts"}},
        Refusal{"OtherExpertCount", Phi({{"num_experts", 4}}), {"'num_experts' is 4"}},
        Refusal{"ThreeExpertsPerToken",
                Phi({{"num_experts_per_tok", 3}}),
                {"'num_experts_per_tok' is 3", "chooses 2"}},
        Refusal{"NegativeNoise",
                Phi({{"router_jitter_noise", -0.1}}),
                {"'router_jitter_noise' is -0.1"}},
        Refusal{"WindowOfZero", Phi({{"sliding_window", 0}}), {"'sliding_window' is 0"}},
        Refusal{"LayerTypesAgainstTheRule",
                Phi({{"num_hidden_layers", 1}, {"layer_types", {"sliding_attention"}}}),
                {"'layer_types'", "PhiMoEForCausalLM decides"}},
        Refusal{"HeadBiasAsNumber", Phi({{"lm_head_bias", 1}}), {"'lm_head_bias' is 1"}},
        Refusal{"OtherRopeType",
                Phi({{"rope_scaling", {{"type", "linear"}, {"factor", 2}}}}),
                {"'rope_scaling' is an object", "default and longrope"}},
        Refusal{"NoMscale",
                Phi(Longrope({{"long_mscale", nullptr}})),
                {"rope_scaling.long_mscale' is missing"}},
        Refusal{"NoContext",
                Phi(Longrope({{"original_max_position_embeddings", nullptr}})),
                {"rope_scaling.original_max_position_embeddings' is missing"}},
        Refusal{"Factor", Phi(Longrope({{"factor", 32}})), {"rope_scaling.factor' is 32"}},
        Refusal{"AttentionFactor",
                Phi(Longrope({{"attention_factor", 1.1}})),
                {"rope_scaling.attention_factor' is 1.1"}},
        Refusal{"MscaleOfAnotherFamily",
                Longrope(json::object()),
                {"mscale", "rope type 'longrope' has no such key"}}),
    NameOf);

json Llama4(json keys) {
  keys["model_type"] = "llama4_text";
  keys["num_hidden_layers"] = 2;
  return keys;
}

json Llama4Text(json text) { return {{"model_type", "llama4"}, {"text_config", std::move(text)}}; }

INSTANTIATE_TEST_SUITE_P(
    Llama4, RefusalTest,
    ::testing::Values(
        Refusal{"NullHeadDim", Llama4({{"head_dim", nullptr}}), {"'head_dim' is null"}},
        Refusal{"ExpertsByAnotherName", Llama4({{"num_experts", 4}}), {"'num_experts' is 4"}},
        Refusal{"StepOfZero",
                Llama4({{"interleave_moe_layer_step", 0}}),
                {"'interleave_moe_layer_step' is 0"}},
        Refusal{"MoeLayerBehindTheLast", Llama4({{"moe_layers", {2}}}), {"'moe_layers'", "to 1"}},
        Refusal{"RotationsOfThreeLayers",
                Llama4({{"no_rope_layers", {1, 0, 1}}}),
                {"'no_rope_layers'", "2 layers"}},
        Refusal{"RotationsAsBools",
                Llama4({{"no_rope_layers", {true, false}}}),
                {"'no_rope_layers'", "not true"}},
        Refusal{"IntervalOfZero",
                Llama4({{"no_rope_layer_interval", 0}}),
                {"'no_rope_layer_interval' is 0"}},
        Refusal{
            "ChunkOfZero", Llama4({{"attention_chunk_size", 0}}), {"'attention_chunk_size' is 0"}},
        Refusal{"SlidingLayer",
                Llama4({{"layer_types", {"full_attention", "sliding_attention"}}}),
                {"'layer_types'", "entry 1", "chunked_attention"}},
        Refusal{"TooFewLayerTypes",
                Llama4({{"layer_types", {"full_attention"}}}),
                {"'layer_types'", "2 layers"}},
        Refusal{"SlidingWindow", Llama4({{"sliding_window", 8}}), {"'sliding_window' is 8"}},
        Refusal{"FloorOfZero", Llama4({{"floor_scale", 0}}), {"'floor_scale' is 0"}},
        Refusal{"NegativeScale", Llama4({{"attn_scale", -1}}), {"'attn_scale' is -1"}},
        Refusal{"TuningAsAString",
                Llama4({{"attn_temperature_tuning", "yes"}}),
                {"'attn_temperature_tuning'", "true or false"}},
        Refusal{"Compressed",
                Llama4({{"for_llm_compressor", true}}),
                {"'for_llm_compressor' is true", "with false only"}},
        Refusal{"NoText", {{"model_type", "llama4"}}, {"'text_config' is missing", "an object"}},
        Refusal{"TextOfAnotherType",
                Llama4Text({{"model_type", "llama"}}),
                {"'text_config.model_type' is \"llama\"", "'llama4_text'"}},
        Refusal{"KeyOfText", Llama4Text({{"head_dim", 0}}), {"'text_config.head_dim' is 0"}},
        Refusal{"UnknownKeyOfText", Llama4Text({{"mup", 1}}), {"'text_config.mup' is 1"}},
        Refusal{"KeyOutsideOfText",
                {{"model_type", "llama4"}, {"text_config", json::object()}, {"hidden_size", 8}},
                {"'hidden_size' is 8", "beside text_config"}},
        Refusal{"TiedOutsideOfText",
                {{"model_type", "llama4"},
                 {"text_config", json::object()},
                 {"tie_word_embeddings", true}},
                {"'tie_word_embeddings' is true", "contradicts that of text_config"}},
        Refusal{"RopeOfText",
                Llama4Text({{"rope_scaling", {{"rope_type", "linear"}}}}),
                {"'text_config.rope_scaling.factor'"}}),
    NameOf);

json Hunyuan(json keys) {
  keys["model_type"] = "hunyuan_v1_moe";
  keys["num_hidden_layers"] = 2;
  if (!keys.contains("num_experts")) keys["num_experts"] = 4;
  return keys;
}

json HunyuanRope(json rope) { return Hunyuan({{"rope_scaling", std::move(rope)}}); }

INSTANTIATE_TEST_SUITE_P(
    Hunyuan, RefusalTest,
    ::testing::Values(
        Refusal{"OneExpert", Hunyuan({{"num_experts", 1}}), {"'num_experts' is 1", "at least"}},
        Refusal{"ExpertsPerLayer", Hunyuan({{"num_experts", {4, 4}}}), {"'num_experts'"}},
        Refusal{"ChoicesOfThreeLayers",
                Hunyuan({{"moe_topk", {1, 2, 3}}}),
                {"'moe_topk' is a list of 3", "2 layers"}},
        Refusal{"TooManyChoices", Hunyuan({{"moe_topk", {1, 5}}}), {"'moe_topk'", "to 4"}},
        Refusal{"ChoicesTwice",
                Hunyuan({{"moe_topk", 2}, {"num_experts_per_tok", 3}}),
                {"'num_experts_per_tok' is 3", "contradicts moe_topk"}},
        Refusal{"NarrowExperts",
                Hunyuan({{"intermediate_size", 8}, {"moe_intermediate_size", {8, 4}}}),
                {"'moe_intermediate_size'", "must be 8"}},
        Refusal{"TwoSharedExperts",
                Hunyuan({{"num_shared_expert", 2}}),
                {"'num_shared_expert' is 2", "must be 1"}},
        Refusal{"HeadDims",
                Hunyuan({{"head_dim", 64}, {"attention_head_dim", 128}}),
                {"'attention_head_dim' is 128", "contradicts head_dim"}},
        Refusal{"NoMixture", Hunyuan({{"use_mixed_mlp_moe", false}}), {"'use_mixed_mlp_moe'"}},
        Refusal{"NoNorms", Hunyuan({{"use_qk_norm", false}}), {"'use_qk_norm'", "true only"}},
        Refusal{"RawWeights", Hunyuan({{"norm_topk_prob", false}}), {"'norm_topk_prob'"}},
        Refusal{"SharedKeys", Hunyuan({{"use_cla", true}}), {"'use_cla' is true"}},
        Refusal{"SkippedLayers",
                Hunyuan({{"moe_layer_num_skipped", 1}}),
                {"'moe_layer_num_skipped' is 1"}},
        Refusal{"LayerNorm", Hunyuan({{"norm_type", "layer"}}), {"'norm_type'", "hf_rms"}},
        Refusal{"Scaled", Hunyuan({{"routed_scaling_factor", 2.5}}), {"'routed_scaling_factor'"}},
        Refusal{"Groups", Hunyuan({{"n_group", 8}}), {"'n_group' is 8"}},
        Refusal{"NoRotation", Hunyuan({{"use_rotary_pos_emb", false}}), {"'use_rotary_pos_emb'"}},
        Refusal{"Drops", Hunyuan({{"moe_drop_tokens", true}}), {"'moe_drop_tokens' is true"}},
        Refusal{"Latent", Hunyuan({{"kv_lora_rank", 64}}), {"'kv_lora_rank' is 64"}},
        Refusal{"MlpBias", Hunyuan({{"mlp_bias", true}}), {"'mlp_bias' is true"}},
        Refusal{"DynamicWithoutFactor",
                HunyuanRope({{"type", "dynamic"}, {"alpha", 4.0}}),
                {"'rope_scaling.factor' is missing"}},
        Refusal{"NegativeAlpha",
                HunyuanRope({{"type", "dynamic"}, {"factor", 1.0}, {"alpha", -4.0}}),
                {"'rope_scaling.alpha' is -4.0"}},
        Refusal{"AlphaOfYarn",
                HunyuanRope({{"type", "yarn"}, {"factor", 2.0}, {"alpha", 4.0}}),
                {"'rope_scaling.alpha'", "'yarn'"}}),
    NameOf);

json Dbrx(json keys) {
  keys["model_type"] = "dbrx";
  return keys;
}

json DbrxAttention(json keys) { return Dbrx({{"attn_config", std::move(keys)}}); }

json DbrxFfn(json keys) { return Dbrx({{"ffn_config", std::move(keys)}}); }

INSTANTIATE_TEST_SUITE_P(
    Dbrx, RefusalTest,
    ::testing::Values(
        Refusal{"AttentionAsANumber", Dbrx({{"attn_config", 4}}), {"'attn_config' is 4"}},
        Refusal{"KeyOutsideOfItsObject",
                Dbrx({{"kv_n_heads", 4}}),
                {"'kv_n_heads' is 4", "no such key"}},
        Refusal{"OuterHeadsAlone",
                Dbrx({{"num_key_value_heads", 4}}),
                {"'num_key_value_heads' is 4", "attn_config.kv_n_heads is what counts"}},
        Refusal{"KvHeads",
                DbrxAttention({{"kv_n_heads", 3}}),
                {"'attn_config.kv_n_heads' is 3", "multiple"}},
        Refusal{"UnknownAttentionKey",
                DbrxAttention({{"qk_ln", true}}),
                {"'attn_config.qk_ln' is true"}},
        Refusal{"ClipOfZero", DbrxAttention({{"clip_qkv", 0}}), {"'attn_config.clip_qkv' is 0"}},
        Refusal{"OuterTheta",
                Dbrx({{"rope_theta", 1e4}, {"attn_config", {{"rope_theta", 5e5}}}}),
                {"'rope_theta' is 10000.0", "attn_config.rope_theta"}},
        Refusal{"OuterThetaAlone", Dbrx({{"rope_theta", 5e5}}), {"'rope_theta' is 500000.0"}},
        Refusal{"TwoWidths",
                Dbrx({{"d_model", 64}, {"hidden_size", 32}}),
                {"'d_model' is 64", "contradicts hidden_size"}},
        Refusal{"HeadDim", Dbrx({{"head_dim", 64}}), {"'head_dim' is 64", "d_model / n_heads"}},
        Refusal{"Tied", Dbrx({{"tie_word_embeddings", true}}), {"'tie_word_embeddings'"}},
        Refusal{"WidthOfExperts",
                DbrxFfn({{"hidden_size", 64}}),
                {"'ffn_config.hidden_size' is 64", "d_model"}},
        Refusal{"TooManyChoices",
                DbrxFfn({{"moe_top_k", 5}}),
                {"'ffn_config.moe_top_k' is 5", "5 of 4"}},
        Refusal{"OtherNormOfWeights",
                DbrxFfn({{"moe_normalize_expert_weights", 2.0}}),
                {"'ffn_config.moe_normalize_expert_weights' is 2.0", "by their sum"}},
        Refusal{"Uniform",
                DbrxFfn({{"uniform_expert_assignment", true}}),
                {"'ffn_config.uniform_expert_assignment' is true"}},
        Refusal{"Activation",
                DbrxFfn({{"ffn_act_fn", {{"name", "mish"}}}}),
                {"'ffn_config.ffn_act_fn.name' is \"mish\""}},
        Refusal{"PartOfAnActivation",
                DbrxFfn({{"ffn_act_fn", {{"name", "gelu"}, {"approximate", "tanh"}}}}),
                {"'ffn_config.ffn_act_fn.approximate'"}}),
    NameOf);

}  // namespace
}  // namespace folkmoot
