// SPDX-License-Identifier: Apache-2.0
// What config.json of MiniMax-M3 means, in the authors' keys and those of Transformers, and what of
// it is refused (RefusalTest: model_config_errors_test.cc).
#include "layers/models/load_config.h"
#include "layers/models/model.h"
#include "tests/layers/config/refusal.h"

namespace folkmoot {
namespace {

using nlohmann::json;

// Of two layers, in Transformers' keys.
json MinimaxM3(const json& changes = json::object()) {
  json keys = {{"model_type", "minimax_m3_vl_text"},
               {"num_hidden_layers", 2},
               {"rotary_dim", 64},
               {"layer_types", {"full_attention", "minimax_m3_sparse"}},
               {"mlp_layer_types", {"dense", "sparse"}},
               {"index_topk_blocks", 8}};
  keys.merge_patch(changes);
  return keys;
}

// The same in the authors' keys; changes of text_config.
json Published(const json& changes = json::object()) {
  json text = {{"num_hidden_layers", 2},
               {"rotary_dim", 64},
               {"partial_rotary_factor", 0.5},
               {"hidden_act", "swigluoai"},
               {"moe_layer_freq", {0, 1}},
               {"sparse_attention_config",
                {{"use_sparse_attention", true},
                 {"sparse_index_dim", 128},
                 {"sparse_num_index_heads", 4},
                 {"sparse_topk_blocks", 8},
                 {"sparse_block_size", 128},
                 {"sparse_score_type", "max"},
                 {"sparse_init_block", 0},
                 {"sparse_local_block", 1},
                 {"sparse_disable_index_value", {0, 1}},
                 {"sparse_attention_freq", {0, 1}}}}};
  text.merge_patch(changes);
  return {{"model_type", "minimax_m3_vl"}, {"text_config", text}, {"image_token_index", 200025}};
}

json Sparse(const json& changes) { return Published({{"sparse_attention_config", changes}}); }

class MinimaxM3Keys : public testing::TestWithParam<json> {};

TEST_P(MinimaxM3Keys, MeanTheSame) {
  const auto parsed = ParseModelConfig(GetParam().dump(), "config.json");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  const ModelConfig& config = *parsed;
  EXPECT_FALSE(config.layers[0].indexer || config.layers[0].moe);
  EXPECT_TRUE(config.layers[1].indexer && config.layers[1].moe);
  EXPECT_EQ(config.indexer.top_k, 8 * 128);
  EXPECT_EQ(config.indexer.block, 128);
  EXPECT_EQ(config.indexer.local_blocks, 1);
  EXPECT_EQ(config.indexer.heads, 4);
  EXPECT_EQ(config.indexer.head_dim, 128);
  EXPECT_EQ(config.intermediate, 12288);
  EXPECT_EQ(config.moe.intermediate, 3072);
  EXPECT_EQ(config.moe.shared_intermediate, 3072);
  EXPECT_EQ(config.moe.routed_scaling, 2.0);
  EXPECT_EQ(config.activation, Activation::kClampedSwiglu);
  EXPECT_EQ(config.swiglu_limit, 7.0f);
  // Two layers of 4 heads, and the keys of one indexer.
  EXPECT_EQ(config.cache_numbers(), 2 * 4 * 2 * 128 + 128);
  EXPECT_EQ(WhyCpuOnly(config), "sparse attention");
  EXPECT_EQ(WhyNotTensorParallel(config), "");
}

INSTANTIATE_TEST_SUITE_P(Both, MinimaxM3Keys, testing::Values(MinimaxM3(), Published()));

TEST(MinimaxM3, AllLayersAreFullAndHaveExpertsByDefault) {
  const auto config =
      ParseModelConfig(json({{"model_type", "minimax_m3_vl_text"}}).dump(), "config.json");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->layers.size(), 60u);
  EXPECT_EQ(config->indexers(), 0);
  EXPECT_EQ(config->indexer.top_k, 0);
  for (const LayerConfig& layer : config->layers) EXPECT_TRUE(layer.moe);
}

INSTANTIATE_TEST_SUITE_P(
    MinimaxM3, RefusalTest,
    ::testing::Values(
        Refusal{"IndexHeads",
                MinimaxM3({{"index_n_heads", 8}}),
                {"'index_n_heads' is 8", "4 heads of num_key_value_heads"}},
        Refusal{"IndexHeadsAsPublished",
                Sparse({{"sparse_num_index_heads", 2}}),
                {"sparse_attention_config.sparse_num_index_heads' is 2"}},
        Refusal{"IndexHeadTurnsTooMuch",
                MinimaxM3({{"index_head_dim", 32}}),
                {"'index_head_dim' is 32", "first 64 numbers turn"}},
        Refusal{"LocalBlocks",
                MinimaxM3({{"index_local_blocks", 9}}),
                {"'index_local_blocks' is 9", "of 8 blocks"}},
        Refusal{"NoBlocks", MinimaxM3({{"index_topk_blocks", 0}}), {"'index_topk_blocks' is 0"}},
        Refusal{"TooManyKeys",
                MinimaxM3({{"index_topk_blocks", 65536}, {"index_block_size", 65536}}),
                {"'index_topk_blocks' is 65536", "16777216 keys at most"}},
        Refusal{"Contradiction",
                Published({{"index_block_size", 64}}),
                {"sparse_block_size' is 128", "contradicts index_block_size"}},
        Refusal{"FlagsAgainstTypes",
                Published({{"layer_types", {"minimax_m3_sparse", "minimax_m3_sparse"}}}),
                {"sparse_attention_freq'", "contradicts layer_types at layer 0"}},
        Refusal{"ExpertsAgainstTypes",
                Published({{"mlp_layer_types", {"dense", "dense"}}}),
                {"moe_layer_freq'", "contradicts mlp_layer_types at layer 1"}},
        Refusal{"Flag", Published({{"moe_layer_freq", {0, 2}}}), {"moe_layer_freq'", "not 2"}},
        Refusal{
            "FlagsOfLayers", Published({{"moe_layer_freq", {1}}}), {"moe_layer_freq'", "2 layers"}},
        Refusal{"Type",
                MinimaxM3({{"layer_types", {"full_attention", "sliding_attention"}}}),
                {"'layer_types'", "entry 1 is 'sliding_attention'", "minimax_m3_sparse"}},
        Refusal{"Dense",
                Sparse({{"use_sparse_attention", false}}),
                {"use_sparse_attention' is false", "true only"}},
        Refusal{"Scores", Sparse({{"sparse_score_type", "mean"}}), {"sparse_score_type", "max"}},
        Refusal{"FirstBlocks", Sparse({{"sparse_init_block", 1}}), {"sparse_init_block' is 1"}},
        Refusal{"IndexValues",
                Sparse({{"sparse_disable_index_value", {0, 0}}}),
                {"sparse_disable_index_value'", "layer 1", "indexers with values"}},
        Refusal{"SparseKey", Sparse({{"sparse_window", 1}}), {"sparse_window' is 1", "no such"}},
        Refusal{"SparseObject",
                Published({{"sparse_attention_config", json::array()}}),
                {"sparse_attention_config'", "object"}},
        Refusal{"Activation", MinimaxM3({{"hidden_act", "gelu"}}), {"'hidden_act'", "swigluoai"}},
        Refusal{"Gain", MinimaxM3({{"swiglu_alpha", 1.5}}), {"'swiglu_alpha' is 1.5", "1.702"}},
        Refusal{"Limit", MinimaxM3({{"swiglu_limit", 0}}), {"'swiglu_limit' is 0"}},
        Refusal{"Rotation",
                MinimaxM3({{"rotary_dim", 32}, {"partial_rotary_factor", 0.5}}),
                {"'rotary_dim' is 32", "contradicts partial_rotary_factor"}}),
    NameOf);

}  // namespace
}  // namespace folkmoot
