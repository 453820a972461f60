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
        Refusal{"Limit", Gpt({{"swiglu_limit", 5.0}}), {"'swiglu_limit' is 5.0", "7.0 only"}},
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

}  // namespace
}  // namespace folkmoot
