// SPDX-License-Identifier: Apache-2.0
// Mistral Large 4: which layers rotate, choose keys and have latents of their own, and what of its
// config.json is refused (RefusalTest: model_config_errors_test.cc).
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "layers/models/load_config.h"
#include "layers/models/model.h"
#include "tests/layers/config/refusal.h"

namespace folkmoot {
namespace {

using nlohmann::json;

json Large(json text) {
  return {{"model_type", "mistral_large4"}, {"text_config", std::move(text)}};
}

ModelConfig Parse(json text) {
  const auto config = ParseModelConfig(Large(std::move(text)).dump(), "config.json");
  EXPECT_TRUE(config.ok()) << config.status();
  return config.value_or(ModelConfig());
}

TEST(MistralLarge, Defaults) {
  const ModelConfig config = Parse(json::object());
  ASSERT_EQ(config.layers.size(), 72u);
  EXPECT_TRUE(config.layers[2].rope && config.layers[2].indexer && config.layers[2].moe);
  EXPECT_FALSE(config.layers[3].rope || config.layers[71].rope || config.layers[0].moe);
  EXPECT_EQ(config.head_dim, 128);
  EXPECT_EQ(config.latent.q_rank, 0);
  EXPECT_FLOAT_EQ(config.latent.norm_eps, 1e-5f);
  EXPECT_EQ(config.rope.type, RopeType::kYarn);
  EXPECT_EQ(config.rope.original_max_positions, 512);
  EXPECT_EQ(config.indexer.top_k, 2048);
  EXPECT_EQ(config.indexer.heads, 32);
  EXPECT_FLOAT_EQ(config.logits_softcap, 30.0f);
  EXPECT_FLOAT_EQ(config.attention_multiplier, 0.0883883476f);  // 1 / sqrt(128)
  EXPECT_TRUE(config.query_scales && config.learned_frequencies && config.moe.norm_topk_prob);
  EXPECT_EQ(config.moe.shared_intermediate, 6144);
}

// Layers without rotation make all of a key by head, and the cache has no shared one of them.
TEST(MistralLarge, LatentsOfBothKinds) {
  const ModelConfig config = Parse({{"num_hidden_layers", 5},
                                    {"no_rope_layers", {1, 0, 1, 0, 1}},
                                    {"kv_source_layers", {0, 1, 0, 1, 4}},
                                    {"indexer_types", {"full", "shared", "full", "shared", "full"}},
                                    {"index_topk", 16}});
  const LatentConfig turning = config.latent_of(config.layers[0]);
  const LatentConfig still = config.latent_of(config.layers[1]);
  EXPECT_EQ(turning.nope_dim, 64);
  EXPECT_EQ(turning.rope_dim, 64);
  EXPECT_EQ(still.nope_dim, 128);
  EXPECT_EQ(still.rope_dim, 0);
  EXPECT_EQ(config.cache_key_dim(config.layers[0]), 512 + 64);
  EXPECT_EQ(config.cache_key_dim(config.layers[1]), 512);
  EXPECT_EQ(config.layers[2].kv_layer, 0);
  EXPECT_EQ(config.layers[3].kv_layer, 1);
  EXPECT_EQ(config.layers[4].kv_layer, -1);
  EXPECT_EQ(config.cache_layers(), 3);
  EXPECT_EQ(config.place_in_kind(3), 1);
  EXPECT_EQ(config.place_in_kind(4), 2);
  EXPECT_EQ(config.indexers(), 3);
  EXPECT_EQ(config.cache_numbers(), 3 * 128 + 2 * (576 + 512) + 512 + 512);
}

TEST(MistralLarge, Rotations) {
  const auto kinds = [](json text) {
    text["num_hidden_layers"] = 4;
    std::string result;
    for (const LayerConfig& layer : Parse(text).layers) result += layer.rope ? 'r' : 'n';
    return result;
  };
  EXPECT_EQ(kinds({}), "rrrn");
  EXPECT_EQ(kinds({{"no_rope_layer_interval", 2}}), "rnrn");
  EXPECT_EQ(kinds({{"no_rope_layer_interval", 2}, {"no_rope_layers", {0, 1, 1, 1, 0}}}), "nrrr");
  EXPECT_EQ(kinds({{"no_rope_layers", nullptr}}), "rrrn");
}

TEST(MistralLarge, Gate) {
  const auto gate = DefaultGate(Parse({{"n_group", 8}, {"topk_group", 2}}));
  ASSERT_TRUE(gate.ok()) << gate.status();
  EXPECT_EQ(gate->score_fn, ScoreFn::kSoftmax);
  EXPECT_EQ(gate->n_group, 8);
  EXPECT_EQ(gate->topk_group, 2);
  EXPECT_EQ(gate->group_score, GroupScore::kSumTop2);
}

json Sources(std::vector<int> sources, std::vector<int> rotates) {
  return Large({{"num_hidden_layers", sources.size()},
                {"kv_source_layers", std::move(sources)},
                {"no_rope_layers", std::move(rotates)}});
}

INSTANTIATE_TEST_SUITE_P(
    MistralLarge, RefusalTest,
    ::testing::Values(
        Refusal{"QueryLatent",
                Large({{"q_lora_rank", 1536}}),
                {"'text_config.q_lora_rank' is 1536", "must be null"}},
        Refusal{"NotNormalised",
                Large({{"norm_topk_prob", false}}),
                {"'text_config.norm_topk_prob' is false", "true only"}},
        Refusal{"NoCap",
                Large({{"final_logit_softcapping", nullptr}}),
                {"'text_config.final_logit_softcapping' is null"}},
        Refusal{"CapOfZero",
                Large({{"final_logit_softcapping", 0}}),
                {"'text_config.final_logit_softcapping' is 0"}},
        Refusal{"Interval",
                Large({{"no_rope_layer_interval", 0}}),
                {"'text_config.no_rope_layer_interval' is 0"}},
        Refusal{"FewRotations",
                Large({{"no_rope_layers", {1, 0}}}),
                {"'text_config.no_rope_layers'", "72 layers"}},
        Refusal{"FewSources",
                Large({{"kv_source_layers", {0, 1}}}),
                {"'text_config.kv_source_layers'", "72 layers"}},
        Refusal{"SourceBehind",
                Sources({0, 2, 2}, {1, 1, 1}),
                {"'text_config.kv_source_layers'", "layer 1 must read"}},
        Refusal{"SourceOfSource",
                Sources({0, 0, 1}, {1, 1, 1}),
                {"'text_config.kv_source_layers'", "layer 2 must read"}},
        Refusal{"SourceOfOtherKind",
                Sources({0, 0}, {1, 0}),
                {"'text_config.kv_source_layers'", "layers 0 and 1", "rotates"}},
        Refusal{"SourceBeforeTheLast",
                Sources({0, 1, 1, 0}, {1, 1, 1, 1}),
                {"'text_config.kv_source_layers'", "layer 3 reads those of layer 0", "layer 1"}},
        Refusal{"FirstChooses",
                Large({{"num_hidden_layers", 1}, {"indexer_types", {"shared"}}}),
                {"'text_config.indexer_types'", "first layer"}},
        Refusal{"LayerType",
                Large({{"num_hidden_layers", 1}, {"layer_types", {"full_attention"}}}),
                {"'text_config.layer_types'", "indexed_attention"}},
        Refusal{"TextOfAnother",
                Large({{"model_type", "mistral4"}}),
                {"'text_config.model_type' is \"mistral4\"", "mistral_large4_text"}},
        Refusal{"Predictors",
                Large({{"dspark_layers", 2}}),
                {"'text_config.dspark_layers' is 2", "no such key"}}),
    NameOf);

}  // namespace
}  // namespace folkmoot
