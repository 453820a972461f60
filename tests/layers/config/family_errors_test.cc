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

}  // namespace
}  // namespace folkmoot
