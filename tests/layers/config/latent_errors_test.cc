// SPDX-License-Identifier: Apache-2.0
// What DeepSeek's families and their relatives refuse (RefusalTest: model_config_errors_test.cc).
#include "tests/layers/config/refusal.h"

namespace folkmoot {
namespace {

using nlohmann::json;

json Of(const char* model_type, json keys) {
  keys["model_type"] = model_type;
  return keys;
}

INSTANTIATE_TEST_SUITE_P(
    Deepseek, RefusalTest,
    ::testing::Values(
        Refusal{"KvHeads",
                Of("deepseek_v3", {{"num_key_value_heads", 8}}),
                {"'num_key_value_heads' is 8", "num_attention_heads = 128"}},
        Refusal{"HeadDim",
                Of("deepseek_v3", {{"head_dim", 128}}),
                {"'head_dim' is 128", "qk_rope_head_dim = 64"}},
        Refusal{"OddRotation",
                Of("deepseek_v3", {{"qk_rope_head_dim", 63}}),
                {"'qk_rope_head_dim' is 63", "even"}},
        Refusal{"Groups", Of("deepseek_v3", {{"n_group", 7}}), {"'n_group' is 7", "256 experts"}},
        Refusal{"ChosenGroups",
                Of("deepseek_v3", {{"n_group", 64}, {"topk_group", 1}}),
                {"'topk_group' is 1", "hold the 8"}},
        Refusal{"Method",
                Of("deepseek_v3", {{"topk_method", "greedy"}}),
                {"'topk_method' is \"greedy\"", "\"noaux_tc\" only"}},
        Refusal{"ExpertsByTheirOwnName",
                Of("deepseek_v3", {{"n_routed_experts", 0}}),
                {"'n_routed_experts' is 0"}},
        Refusal{"SparseAttention",
                Of("deepseek_v3", {{"index_topk", 2048}}),
                {"'index_topk' is 2048", "no such key"}},
        Refusal{"TopKIsNeeded",
                Of("deepseek_v2", {{"hidden_size", 64}}),
                {"'num_experts_per_tok' is missing"}},
        Refusal{"UnknownMethod",
                Of("deepseek_v2", {{"num_experts_per_tok", 6}, {"topk_method", "noaux_tc"}}),
                {"'topk_method' is \"noaux_tc\"", "group_limited_greedy"}},
        Refusal{"MethodWithoutGroups",
                Of("deepseek_v2",
                   {{"num_experts_per_tok", 6}, {"topk_method", "group_limited_greedy"}}),
                {"'topk_method'", "n_group"}},
        Refusal{"DenseLayersDisagree",
                Of("glm4_moe_lite", {{"first_k_dense_replace", 3}}),
                {"'first_k_dense_replace' is 3", "layer 1"}},
        Refusal{"UnknownLayerType",
                Of("glm4_moe_lite", {{"num_hidden_layers", 1}, {"mlp_layer_types", {"moe"}}}),
                {"'mlp_layer_types'", "entry 0 is 'moe'"}},
        Refusal{"PartOfAHead",
                Of("glm4_moe", {{"head_dim", 128}, {"partial_rotary_factor", 0.01}}),
                {"'partial_rotary_factor' is 0.01", "even number of the 128"}},
        Refusal{"DotsNeedsExperts",
                Of("dots1", {{"num_experts_per_tok", 6}, {"n_shared_experts", 2}}),
                {"'n_routed_experts' is missing"}},
        Refusal{"LongcatLayers",
                Of("longcat_flash", {{"num_layers", 28}, {"num_hidden_layers", 29}}),
                {"'num_hidden_layers' is 29", "num_layers = 28"}},
        Refusal{"LongcatZeroExperts",
                Of("longcat_flash", {{"zero_expert_type", "copy"}}),
                {"'zero_expert_type' is \"copy\"", "\"identity\" only"}},
        Refusal{"RotaryDim",
                Of("minimax_m2", {{"rotary_dim", 64}, {"partial_rotary_factor", 0.25}}),
                {"'rotary_dim' is 64", "partial_rotary_factor"}},
        Refusal{"LinearAttention",
                Of("minimax_m2", {{"attn_type_list", {1, 0}}}),
                {"'attn_type_list'", "softmax attention"}},
        Refusal{"ErnieInterval",
                Of("ernie4_5_moe", {{"moe_layer_interval", 0}}),
                {"'moe_layer_interval' is 0"}},
        Refusal{"FlatRope",
                Of("gemma3_text", {{"rope_parameters", {{"rope_type", "default"}}}}),
                {"'rope_parameters'", "sliding_attention"}},
        Refusal{"Bidirectional",
                Of("gemma3_text", {{"use_bidirectional_attention", true}}),
                {"'use_bidirectional_attention' is true", "false only"}}),
    NameOf);

}  // namespace
}  // namespace folkmoot
