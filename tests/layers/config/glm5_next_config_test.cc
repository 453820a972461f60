// SPDX-License-Identifier: Apache-2.0
// What config.json of GLM-5.3-Flash means, in the authors' keys and those of Transformers, and what
// of it is refused (RefusalTest: model_config_errors_test.cc).
#include "layers/models/load_config.h"
#include "layers/models/model.h"
#include "tests/layers/config/parsed_config.h"
#include "tests/layers/config/refusal.h"

namespace folkmoot {
namespace {

using nlohmann::json;

constexpr const char* kSparse = "deepseek_sparse_attention";
constexpr const char* kLinear = "linear_attention";

// Five layers in the authors' keys, all that say something; `beside` stands beside text_config.
// Nulls stay.
json Glm5Next(const json& changes = json::object(), const json& beside = json::object()) {
  json text = {{"model_type", "glm5_next_text"},
               {"num_hidden_layers", 5},
               {"layer_types", {kLinear, kLinear, kLinear, kSparse, kLinear}},
               {"mlp_layer_types", {"dense", "dense", "dense", "sparse", "sparse"}},
               {"first_k_dense_replace", 3},
               {"moe_layer_freq", 1},
               {"indexer_types", {"full", "full", "full", "full", "full"}},
               {"linear_attn_config",
                {{"num_heads", 64},
                 {"head_dim", 128},
                 {"short_conv_kernel_size", 4},
                 {"gate_lower_bound", -5.0},
                 {"kda_layers", {0, 1, 2, 4}},
                 {"full_attn_layers", {3}}}},
               {"head_dim", 0},
               {"qk_head_dim", 256},
               {"qk_rope_head_dim", 0},
               {"mla_use_nope", true},
               {"mhc", true},
               {"index_kpool", 4},
               {"index_kpool_compress", true},
               {"index_kpool_always_select_tail", true},
               {"indexer_rope_interleave", true},
               {"index_share_for_mtp_iteration", true},
               {"num_nextn_predict_layers", 1},
               {"scoring_func", "sigmoid"},
               {"topk_method", "noaux_tc"},
               {"moe_router_dtype", "float32"},
               {"eos_token_id", {154820, 154827, 154829}}};
  text.update(changes);
  json keys = {{"model_type", "glm5_next"},
               {"text_config", text},
               {"vision_config", {{"depth", 24}}},
               {"image_token_id", 154854},
               {"video_end_token_id", 154833}};
  keys.update(beside);
  return keys;
}

// The same with changes of linear_attn_config.
json WithLinear(const json& linear, json changes = json::object()) {
  json nested = Glm5Next()["text_config"]["linear_attn_config"];
  nested.update(linear);
  changes["linear_attn_config"] = nested;
  return Glm5Next(changes);
}

// Without any.
json WithoutLinear(const json& changes) {
  json keys = Glm5Next(changes);
  keys["text_config"].erase("linear_attn_config");
  return keys;
}

json Sparse(int layers, json changes) {
  changes["num_hidden_layers"] = layers;
  changes["layer_types"] = std::vector<std::string>(static_cast<size_t>(layers), kSparse);
  json keys = WithoutLinear(changes);
  for (const char* const key : {"mlp_layer_types", "first_k_dense_replace"}) {
    keys["text_config"].erase(key);
  }
  if (!changes.contains("indexer_types")) keys["text_config"].erase("indexer_types");
  return keys;
}

TEST(Glm5Next, ReadsTheAuthorsKeys) {
  const ModelConfig config = Parsed(Glm5Next());
  EXPECT_EQ(config.architecture, "Glm5NextForConditionalGeneration");
  EXPECT_EQ(config.recurrent_layers(), 4);
  EXPECT_EQ(config.layers[3].mixer, Mixer::kAttention);
  EXPECT_FALSE(config.layers[3].rope || config.layers[2].moe);
  EXPECT_TRUE(config.layers[3].moe);
  EXPECT_EQ(config.recurrent.key_heads, 64);
  EXPECT_EQ(config.recurrent.value_dim, 128);
  EXPECT_TRUE(config.recurrent.key_decays);
  EXPECT_EQ(config.recurrent.decay_bound, -5.0f);
  EXPECT_EQ(config.recurrent.activation, Activation::kSilu);
  EXPECT_EQ(config.head_dim, 256);
  EXPECT_EQ(config.rope_dim(), 0);
  EXPECT_EQ(config.latent.norm_eps, 1e-5f);
  EXPECT_EQ(config.latent.q_rank, 1536);
  EXPECT_EQ(config.indexers(), 1);
  EXPECT_EQ(config.token_indexers(), 0);
  EXPECT_EQ(config.indexer.most(), 2051);
  EXPECT_EQ(config.cache_numbers(), 512 + 512 + 128 / 4);
  EXPECT_EQ(config.hyper.streams, 4);
  EXPECT_EQ(config.hyper.iterations, 20);
  EXPECT_TRUE(config.hyper.mean_head);
  EXPECT_EQ(config.activation, Activation::kCappedSwiglu);
  EXPECT_EQ(config.swiglu_limit, 10.0f);
  EXPECT_EQ(config.moe.experts, 288);
  EXPECT_EQ(config.moe.routed_scaling, 2.5);
  EXPECT_EQ(config.eos_ids, (std::vector<int32_t>{154820, 154827, 154829}));
  EXPECT_EQ(WhyCpuOnly(config), "linear attention");
  EXPECT_NE(WhyNotSpeculative(config), "");
  EXPECT_EQ(WhyNotTensorParallel(config), "");
}

TEST(Glm5Next, DefaultsAreThoseOfThePublishedModel) {
  const ModelConfig config = Parsed({{"model_type", "glm5_next"}, {"text_config", json::object()}});
  ASSERT_EQ(config.layers.size(), 45u);
  for (size_t i = 0; i < config.layers.size(); ++i) {
    EXPECT_EQ(config.layers[i].mixer == Mixer::kAttention, i % 4 == 3) << i;
    EXPECT_EQ(config.layers[i].moe, i >= 3) << i;
  }
  EXPECT_EQ(config.indexers(), 11);
  EXPECT_EQ(config.indexer.pool, 16);
  EXPECT_EQ(config.recurrent.kernel, 4);
  EXPECT_EQ(config.recurrent.decay_bound, -5.0f);
}

TEST(Glm5Next, NamesOfLayersThatAttend) {
  for (const char* const name : {"indexed_attention", "full_attention"}) {
    const ModelConfig config =
        Parsed(WithoutLinear({{"layer_types", {kLinear, kLinear, kLinear, name, kLinear}}}));
    EXPECT_EQ(config.layers[3].mixer, Mixer::kAttention) << name;
  }
}

TEST(Glm5Next, BoundsOfDecays) {
  const auto bound = [](const json& keys) { return Parsed(keys).recurrent.decay_bound; };
  EXPECT_EQ(bound(WithoutLinear({{"linear_lower_bound", nullptr}})), 0.0f);
  EXPECT_EQ(bound(WithoutLinear({{"linear_lower_bound", -2.5}})), -2.5f);
  EXPECT_EQ(bound(WithLinear({{"gate_lower_bound", -3.0}})), -3.0f);
  EXPECT_EQ(bound(WithLinear({{"gate_lower_bound", nullptr}, {"safe_gate", false}})), 0.0f);
  // As Transformers reads it.
  EXPECT_EQ(bound(WithLinear({{"gate_lower_bound", nullptr}})), -5.0f);
  EXPECT_EQ(bound(WithLinear({{"gate_lower_bound", nullptr}, {"safe_gate", true}})), -5.0f);
}

TEST(Glm5Next, LayersThatTakeKeysOver) {
  const auto of = [](const json& keys) {
    const ModelConfig config = Parsed(keys);
    std::string kinds;
    for (const LayerConfig& layer : config.layers) kinds += layer.indexer ? 'F' : 'S';
    return kinds;
  };
  EXPECT_EQ(of(Sparse(5, {{"index_topk_freq", 2}})), "FFSFS");
  EXPECT_EQ(of(Sparse(4, {{"index_topk_pattern", "FSFF"}})), "FSFF");
  EXPECT_EQ(of(Sparse(2, {{"indexer_types", {"full", "shared"}}})), "FS");
  // Only sparse layers have indexers, whatever is said of the others.
  EXPECT_EQ(of(Glm5Next()), "SSSFS");
  EXPECT_EQ(of(Glm5Next({{"indexer_types", {"shared", "shared", "shared", "full", "shared"}}})),
            "SSSFS");
}

TEST(Glm5Next, PoolsOfOneTokenHaveNoTail) {
  const ModelConfig config =
      Parsed(Glm5Next({{"index_kpool", 1}, {"index_kpool_always_select_tail", false}}));
  EXPECT_EQ(config.indexer.most(), config.indexer.top_k);
}

TEST(Glm5Next, PoolsAreNotGuessed) {
  EXPECT_NE(WhyNotSpeculative(Parsed(Sparse(2, {}))).find("indexers pool keys"),
            std::string_view::npos);
}

INSTANTIATE_TEST_SUITE_P(
    Glm5Next, RefusalTest,
    ::testing::Values(
        Refusal{"Rotation",
                Glm5Next({{"qk_rope_head_dim", 64}}),
                {"text_config.qk_rope_head_dim' is 64", "0"}},
        Refusal{"RotatingLatents", Glm5Next({{"mla_use_nope", false}}), {"'text_config.mla_use"}},
        Refusal{"RotaryObject",
                Glm5Next({{"rope_parameters", {{"rope_type", "default"}}}}),
                {"rope_parameters'", "null only"}},
        Refusal{"HeadsOfKeys",
                Glm5Next({{"num_key_value_heads", 8}}),
                {"num_key_value_heads' is 8", "num_attention_heads = 64"}},
        Refusal{"HeadWidth", Glm5Next({{"qk_head_dim", 192}}), {"qk_head_dim' is 192", "256"}},
        Refusal{"NoLatentOfQueries",
                Glm5Next({{"q_lora_rank", nullptr}}),
                {"q_lora_rank' is null", "indexer"}},
        Refusal{"Pools", Glm5Next({{"index_kpool", 3}}), {"index_topk'", "index_kpool = 3"}},
        Refusal{"EmptyPools", Glm5Next({{"index_kpool", 0}}), {"index_kpool' is 0"}},
        Refusal{"NoTail",
                Glm5Next({{"index_kpool_always_select_tail", false}}),
                {"index_kpool_always_select_tail' is false", "no keys at all"}},
        Refusal{"Uncompressed", Glm5Next({{"index_kpool_compress", false}}), {"index_kpool_compr"}},
        Refusal{"FirstShares",
                Sparse(2, {{"indexer_types", {"shared", "full"}}}),
                {"indexer_types'", "layer 0 takes keys over"}},
        Refusal{"SharesWithAnotherThatShares",
                Sparse(3, {{"index_topk_pattern", "FSS"}}),
                {"index_topk_pattern'", "layer 2 takes keys over", "right before"}},
        Refusal{"SharesAcrossLinearLayers",
                Glm5Next({{"indexer_types", {"full", "full", "full", "shared", "full"}}}),
                {"indexer_types'", "layer 3 takes keys over"}},
        Refusal{"SharesByFrequency",
                Sparse(5, {{"index_topk_freq", 3}}),
                {"index_topk_freq'", "layer 3 takes keys over"}},
        Refusal{"IndexerTypes", Glm5Next({{"indexer_types", {"full"}}}), {"indexer_types'", "5"}},
        Refusal{"LayerType",
                Glm5Next({{"num_hidden_layers", 1}, {"layer_types", {"sliding_attention"}}}),
                {"layer_types'", "entry 0 is 'sliding_attention'", kSparse}},
        Refusal{"NoAttention",
                WithoutLinear({{"layer_types", {kLinear, kLinear, kLinear, kLinear, kLinear}}}),
                {"layer_types'", "at least one layer must have full attention"}},
        Refusal{"ListOfLinearLayers",
                WithLinear({{"kda_layers", {1, 2, 3}}}),
                {"linear_attn_config.kda_layers'", "contradicts layer_types at layer 0"}},
        Refusal{"ListOfFullLayers",
                WithLinear({{"full_attn_layers", {4}}}),
                {"linear_attn_config.full_attn_layers'", "contradicts layer_types at layer 3"}},
        Refusal{"Heads",
                Glm5Next({{"linear_num_heads", 32}}),
                {"linear_attn_config.num_heads' is 64", "linear_num_heads = 32"}},
        Refusal{"UnknownOfLinear", WithLinear({{"use_full_rank_gate", true}}), {"use_full_rank"}},
        Refusal{"BoundAboveZero",
                WithLinear({{"gate_lower_bound", 0.5}}),
                {"gate_lower_bound' is 0.5", "below 0"}},
        Refusal{"BoundOfZero",
                WithoutLinear({{"linear_lower_bound", 0}}),
                {"linear_lower_bound' is 0", "below 0"}},
        Refusal{"Bounds",
                Glm5Next({{"linear_lower_bound", -4.0}}),
                {"gate_lower_bound' is -5.0", "contradicts linear_lower_bound"}},
        Refusal{"Unsafe", WithLinear({{"safe_gate", false}}), {"safe_gate' is false", "be null"}},
        Refusal{"OneStream", Glm5Next({{"mhc", false}}), {"mhc' is false"}},
        Refusal{"Streams", Glm5Next({{"hc_mult", 17}}), {"hc_mult' is 17"}},
        Refusal{"Iterations", Glm5Next({{"hc_sinkhorn_iters", 0}}), {"hc_sinkhorn_iters' is 0"}},
        Refusal{"Activation", Glm5Next({{"hidden_act", "gelu"}}), {"hidden_act'", "silu only"}},
        Refusal{"NoLimit", Glm5Next({{"swiglu_limit", 0}}), {"swiglu_limit' is 0", "above 0"}},
        Refusal{"Scores", Glm5Next({{"scoring_func", "softmax"}}), {"scoring_func'", "sigmoid"}},
        Refusal{"EveryOther", Glm5Next({{"moe_layer_freq", 2}}), {"moe_layer_freq' is 2"}},
        Refusal{"Groups", Glm5Next({{"n_group", 5}}), {"n_group' is 5", "288 experts"}},
        Refusal{"TextType",
                Glm5Next({{"model_type", "glm_moe_dsa"}}),
                {"text_config.model_type'", "glm5_next_text"}},
        Refusal{"NoText", {{"model_type", "glm5_next"}}, {"'text_config'", "object"}},
        Refusal{"Beside",
                Glm5Next(json::object(), {{"audio_config", 1}}),
                {"'audio_config'", "no such key"}}),
    NameOf);

}  // namespace
}  // namespace folkmoot
