// SPDX-License-Identifier: Apache-2.0
// Which layers of GLM-5 choose keys, and what an indexer is by default.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "layers/models/load_config.h"
#include "layers/models/model.h"

namespace folkmoot {
namespace {

ModelConfig ParseSparse(nlohmann::json keys, const char* model_type = "glm_moe_dsa") {
  keys["model_type"] = model_type;
  const auto config = ParseModelConfig(keys.dump(), "config.json");
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? *config : ModelConfig{};
}

std::string Indexers(const ModelConfig& config) {
  std::string text;
  for (const LayerConfig& layer : config.layers) text += layer.indexer ? 'F' : 'S';
  return text;
}

TEST(SparseConfig, Defaults) {
  const ModelConfig deepseek = ParseSparse({}, "deepseek_v32");
  EXPECT_EQ(deepseek.indexer.top_k, 2048);
  EXPECT_EQ(deepseek.indexer.heads, 64);
  EXPECT_EQ(deepseek.indexer.head_dim, 128);
  EXPECT_FALSE(deepseek.indexer.neighbours);
  EXPECT_TRUE(deepseek.rope.neighbours);
  EXPECT_EQ(deepseek.indexers(), 61);
  EXPECT_EQ(deepseek.moe.groups, 8);
  const ModelConfig glm = ParseSparse({});
  EXPECT_EQ(glm.indexer.heads, 32);
  EXPECT_TRUE(glm.indexer.neighbours);
  EXPECT_EQ(glm.indexers(), 78);
  EXPECT_EQ(glm.latent.q_rank, 2048);
  EXPECT_EQ(glm.head_dim, 256);
}

TEST(SparseConfig, WhichLayersChoose) {
  const auto of = [](nlohmann::json keys) {
    keys["num_hidden_layers"] = 8;
    return Indexers(ParseSparse(keys));
  };
  EXPECT_EQ(of({}), "FFFFFFFF");
  EXPECT_EQ(of({{"index_topk_freq", 0}}), "FFFFFFFF");
  EXPECT_EQ(of({{"index_topk_freq", 2}}), "FFSFSFSF");
  EXPECT_EQ(of({{"index_topk_freq", 4}, {"index_skip_topk_offset", 3}}), "FFFSSSFS");
  EXPECT_EQ(of({{"index_topk_freq", 3}, {"index_skip_topk_offset", 1}}), "FSSFSSFS");
  EXPECT_EQ(of({{"index_topk_freq", 2}, {"index_topk_pattern", "FSSSFSSS"}}), "FSSSFSSS");
  const std::vector<std::string> words = {"full",   "shared", "shared", "full",
                                          "shared", "shared", "shared", "full"};
  EXPECT_EQ(of({{"indexer_types", words}}), "FSSFSSSF");
  EXPECT_EQ(of({{"index_topk_pattern", words}}), "FSSFSSSF");
}

TEST(SparseConfig, Axk2) {
  ModelConfig config = ParseSparse({{"num_hidden_layers", 6}, {"moe_layer_freq", 2}}, "axk2");
  std::string kinds;
  for (const LayerConfig& layer : config.layers) kinds += layer.moe ? 'e' : 'd';
  EXPECT_EQ(kinds, "ddeded");
  EXPECT_EQ(config.indexer.heads, 16);
  EXPECT_EQ(config.norm_gate_rank, 16);
  EXPECT_TRUE(config.latent.gated);
  EXPECT_EQ(config.moe.groups, 1);
  config = ParseSparse({{"n_group", 8}, {"topk_group", 4}, {"head_dim", 64}}, "axk2");
  EXPECT_EQ(config.moe.chosen_groups, 4);
  const auto gate = DefaultGate(config);
  ASSERT_TRUE(gate.ok());
  EXPECT_EQ(gate->group_fill, 0.0);  // not minus infinity
}

// By the name of before Transformers 5.24, or of since.
TEST(SparseConfig, LayersWithIndexers) {
  const ModelConfig config =
      ParseSparse({{"num_hidden_layers", 2},
                   {"layer_types", {"deepseek_sparse_attention", "indexed_attention"}}});
  EXPECT_EQ(config.indexers(), 2);
}

TEST(SparseConfig, PlacesAmongIndexers) {
  const ModelConfig config =
      ParseSparse({{"num_hidden_layers", 4}, {"index_topk_pattern", "FSSF"}});
  EXPECT_EQ(config.indexers(), 2);
  EXPECT_EQ(config.indexers_before(0), 0);
  EXPECT_EQ(config.indexers_before(3), 1);
}

}  // namespace
}  // namespace folkmoot
