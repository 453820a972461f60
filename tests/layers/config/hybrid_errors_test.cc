// SPDX-License-Identifier: Apache-2.0
// What LFM2, Granite 4 and Nemotron-H refuse (RefusalTest: model_config_errors_test.cc).
#include "tests/layers/config/refusal.h"

namespace folkmoot {
namespace {

using nlohmann::json;

json Of(const char* model_type, const json& usual, const json& changes) {
  json keys = usual;
  keys["model_type"] = model_type;
  keys.merge_patch(changes);
  return keys;
}

json Lfm2(const json& changes) {
  return Of("lfm2_moe", {{"num_hidden_layers", 2}, {"layer_types", {"conv", "full_attention"}}},
            changes);
}

json DenseLfm2(const json& changes) { return Of("lfm2", {{"num_hidden_layers", 3}}, changes); }

json Granite(const json& changes) {
  return Of(
      "granitemoehybrid",
      {{"num_hidden_layers", 2}, {"hidden_size", 64}, {"layer_types", {"mamba", "attention"}}},
      changes);
}

json Nemotron(const json& changes) {
  return Of("nemotron_h", {{"hybrid_override_pattern", "ME*-"}}, changes);
}

INSTANTIATE_TEST_SUITE_P(
    Lfm2, RefusalTest,
    ::testing::Values(
        Refusal{"NoLayerTypes",
                Of("lfm2_moe", json::object(), json::object()),
                {"'layer_types' is missing", "32 layers"}},
        Refusal{"UnknownLayer",
                Lfm2({{"layer_types", {"mamba", "full_attention"}}}),
                {"entry 0 is 'mamba'", "conv, full_attention"}},
        Refusal{"NothingAttends",
                Lfm2({{"layer_types", {"conv", "conv"}}}),
                {"'layer_types' is a list of 2", "full attention"}},
        Refusal{"OneRow", Lfm2({{"conv_L_cache", 1}}), {"'conv_L_cache' is 1", "from 2 to 16"}},
        Refusal{"Activation", Lfm2({{"hidden_act", "gelu"}}), {"'hidden_act' is \"gelu\""}},
        Refusal{"TwoHeads",
                Lfm2({{"tie_embedding", true}, {"tie_word_embeddings", false}}),
                {"'tie_embedding' is true", "contradicts"}},
        Refusal{"OtherWidth", DenseLfm2({{"conv_dim", 64}}), {"'conv_dim' is 64", "2560"}},
        Refusal{"OtherEps",
                DenseLfm2({{"block_norm_eps", 0.1}}),
                {"'block_norm_eps' is 0.1", "norm_eps"}},
        Refusal{"NothingLeft",
                DenseLfm2({{"intermediate_size", 1}, {"block_ffn_dim_multiplier", nullptr}}),
                {"'intermediate_size' is 1", "two thirds"}},
        Refusal{"FarTooWide",
                DenseLfm2({{"block_ffn_dim_multiplier", 1e300}}),
                {"'block_ffn_dim_multiplier' is 1e+300", "at most"}},
        Refusal{"BeyondTheLast",
                DenseLfm2({{"full_attn_idxs", {3}}}),
                {"'full_attn_idxs' is a list of 1"}}),
    NameOf);

INSTANTIATE_TEST_SUITE_P(
    GraniteHybrid, RefusalTest,
    ::testing::Values(Refusal{"NoLayerTypes",
                              Of("granitemoehybrid", json::object(), json::object()),
                              {"'layer_types' is missing", "32 layers"}},
                      Refusal{"NothingAttends",
                              Granite({{"layer_types", {"mamba", "linear_attention"}}}),
                              {"'layer_types' is a list of 2", "full attention"}},
                      Refusal{"HeadsThatDoNotFit",
                              Granite({{"mamba_n_heads", 3}}),
                              {"'mamba_n_heads' is 3", "mamba_expand * hidden_size = 128"}},
                      Refusal{"HeadsOfAnotherWidth",
                              Granite({{"mamba_n_heads", 8}, {"mamba_d_head", 8}}),
                              {"'mamba_d_head' is 8", "16"}},
                      Refusal{"Groups",
                              Granite({{"mamba_n_heads", 8}, {"mamba_n_groups", 3}}),
                              {"'mamba_n_groups' is 3", "mamba_n_heads = 8"}},
                      Refusal{"Positions",
                              Granite({{"position_embedding_type", "alibi"}}),
                              {"'position_embedding_type' is \"alibi\"", "rope, nope"}},
                      Refusal{"Steps",
                              Granite({{"time_step_limit", {0.0, 0.1}}}),
                              {"'time_step_limit' is a list of 2", "only"}},
                      Refusal{"NoSharedNetwork",
                              Granite({{"shared_intermediate_size", 0}}),
                              {"'shared_intermediate_size' is 0"}}),
    NameOf);

INSTANTIATE_TEST_SUITE_P(
    NemotronH, RefusalTest,
    ::testing::Values(
        Refusal{"UnknownLetter",
                Nemotron({{"hybrid_override_pattern", "MXE*"}}),
                {"'hybrid_override_pattern' is \"MXE*\"", "M (Mamba-2)"}},
        Refusal{"NothingAttends",
                Nemotron({{"hybrid_override_pattern", "MEME"}}),
                {"'hybrid_override_pattern' is \"MEME\"", "full attention"}},
        Refusal{"AnotherNumberOfLayers",
                Nemotron({{"num_hidden_layers", 5}}),
                {"'num_hidden_layers' is 5", "has 4"}},
        Refusal{"TwoPatterns",
                Nemotron({{"layers_block_type", {"mamba", "moe", "attention", "moe"}}}),
                {"'layers_block_type' is a list of 4", "hybrid_override_pattern"}},
        Refusal{
            "Groups", Nemotron({{"n_groups", 3}}), {"'n_groups' is 3", "mamba_num_heads = 128"}},
        Refusal{"ExpertGroups", Nemotron({{"n_group", 3}}), {"'n_group' is 3", "8 experts"}},
        Refusal{"TwoEps", Nemotron({{"norm_eps", 0.1}}), {"'norm_eps' is 0.1"}},
        Refusal{
            "Tied", Nemotron({{"tie_word_embeddings", true}}), {"'tie_word_embeddings' is true"}},
        Refusal{"Biases", Nemotron({{"attention_bias", true}}), {"'attention_bias' is true"}},
        Refusal{"Steps",
                Nemotron({{"time_step_limit", {0.001, 0.1}}}),
                {"'time_step_limit' is a list of 2", "only"}}),
    NameOf);

}  // namespace
}  // namespace folkmoot
