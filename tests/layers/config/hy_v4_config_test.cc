// SPDX-License-Identifier: Apache-2.0
// What config.json of Hunyuan 4 means, and what of it is refused (RefusalTest:
// model_config_errors_test.cc).
#include "layers/models/load_config.h"
#include "layers/models/model.h"
#include "tests/layers/config/refusal.h"

namespace folkmoot {
namespace {

using nlohmann::json;

// Six layers of Hy4-preview, with all keys of its file that say something.
json HyV4(const json& changes = json::object()) {
  json keys = {{"model_type", "hy_v4"},
               {"num_hidden_layers", 6},
               {"hidden_size", 6144},
               {"num_attention_heads", 64},
               {"num_key_value_heads", 8},
               {"head_dim", 64},
               {"qk_head_dim", 256},
               {"q_lora_rank", 2048},
               {"enable_ihc", true},
               {"gated_mla", true},
               {"gating_type", "elementwise"},
               {"learnable_sink", true},
               {"learnable_sink_init", 0.0},
               {"use_dsa", true},
               {"use_mla", true},
               {"enable_lm_head_fp32", true},
               {"bitwise_backward_align", false},
               {"mtp_loss_factor", 0.1},
               {"num_nextn_predict_layers", 1},
               {"index_n_heads", 32},
               {"rms_norm_eps", 1e-5},
               {"swiglu_limit", 10.0},
               {"rope_parameters", {{"rope_type", "default"}, {"rope_theta", 1e7}}}};
  keys.update(changes);
  return keys;
}

// The model that looks at pictures, whose keys stand in text_config.
json HyV4Pictures(const json& changes = json::object(), const json& beside = json::object()) {
  json text = {{"model_type", "hy_v4_vl_text"},
               {"num_hidden_layers", 6},
               {"rope_parameters",
                {{"rope_type", "default"}, {"rope_theta", 1e7}, {"mrope_section", {12, 10, 10}}}}};
  text.update(changes);
  json keys = {{"model_type", "hy_v4_vl"},
               {"text_config", text},
               {"vision_config", {{"model_type", "hy_v4_vl_vision"}}},
               {"image_token_id", 120120},
               {"video_token_id", 120124}};
  keys.update(beside);
  return keys;
}

std::string Kinds(const ModelConfig& config) {
  std::string kinds;
  for (const LayerConfig& layer : config.layers) {
    kinds += layer.moe ? 'e' : 'd';
    kinds += layer.indexer ? 'F' : 'S';
  }
  return kinds;
}

TEST(HyV4, ReadsThePublishedKeys) {
  const auto parsed = ParseModelConfig(HyV4().dump(), "config.json");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  const ModelConfig& config = *parsed;
  EXPECT_EQ(Kinds(config), "dFeFeSeSeSeF");
  EXPECT_EQ(config.kv_heads, 64);  // whatever the file says
  EXPECT_EQ(config.head_dim, 256);
  EXPECT_FALSE(config.rope.neighbours || config.indexer.neighbours);
  EXPECT_TRUE(config.indexer.turns_last);
  EXPECT_EQ(config.indexer.norm_eps, 1e-5f);
  EXPECT_EQ(config.indexer.top_k, 2048);
  EXPECT_TRUE(config.sinks());
  EXPECT_EQ(config.attention_gate, AttentionGate::kOwn);
  EXPECT_EQ(config.hyper.streams, 4);
  EXPECT_TRUE(config.hyper.independent);
  EXPECT_EQ(config.hyper.magnitude, 2.0);
  EXPECT_EQ(config.activation, Activation::kCappedSwiglu);
  EXPECT_EQ(config.swiglu_limit, 0.0f);  // of experts alone
  EXPECT_EQ(config.layers[1].expert_limit, 10.0f);
  EXPECT_EQ(config.layers[1].dense_limit, 0.0f);
  EXPECT_EQ(config.moe.routed_scaling, 2.827);
  EXPECT_EQ(config.moe.shared_intermediate, config.moe.intermediate);
  EXPECT_EQ(WhyCpuOnly(config), "several residual streams");
  EXPECT_EQ(WhyNotSpeculative(config), "");
  EXPECT_EQ(WhyNotTensorParallel(config), "");
}

TEST(HyV4, Types) {
  const auto config =
      ParseModelConfig(HyV4({{"num_hidden_layers", 3},
                             {"indexer_types", {"full", "shared", "full"}},
                             {"mlp_layer_types", {"sparse", "dense", "sparse"}},
                             {"layer_types",
                              {"deepseek_sparse_attention", "deepseek_sparse_attention",
                               "deepseek_sparse_attention"}}})
                           .dump(),
                       "config.json");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(Kinds(*config), "eFdSeF");
}

TEST(HyV4, AsManyHeadsOfKeysWhereNoneAreNamed) {
  json keys = HyV4();
  keys.erase("num_key_value_heads");
  const auto config = ParseModelConfig(keys.dump(), "config.json");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->kv_heads, 64);
}

TEST(HyV4, TheTextModelBesidePictures) {
  const auto parsed = ParseModelConfig(HyV4Pictures().dump(), "config.json");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  const ModelConfig& config = *parsed;
  EXPECT_EQ(config.architecture, "HYV4VLForConditionalGeneration");
  EXPECT_EQ(Kinds(config), "dFeFeSeSeSeF");
  EXPECT_EQ(config.hidden, 6144);
  EXPECT_EQ(config.intermediate, 18432);
  EXPECT_EQ(config.heads, 64);
  EXPECT_EQ(config.latent.q_rank, 2048);
  EXPECT_EQ(config.latent.norm_eps, 1e-5f);  // 1e-6 in the model for text
  EXPECT_EQ(config.indexer.heads, 32);
  EXPECT_EQ(config.moe.intermediate, 2048);
  EXPECT_EQ(config.rope.theta, 1e7);
  EXPECT_TRUE(config.rope.neighbours && config.indexer.neighbours);  // not in the model for text
}

INSTANTIATE_TEST_SUITE_P(
    HyV4, RefusalTest,
    ::testing::Values(
        Refusal{"OneStream", HyV4({{"enable_ihc", false}}), {"'enable_ihc' is false", "true only"}},
        Refusal{"NoGates", HyV4({{"gated_mla", false}}), {"'gated_mla' is false"}},
        Refusal{"GatesOfHeads",
                HyV4({{"gating_type", "headwise"}}),
                {"'gating_type' is \"headwise\"", "\"elementwise\" only"}},
        Refusal{"NoSinks", HyV4({{"learnable_sink", false}}), {"'learnable_sink' is false"}},
        Refusal{"AllKeys", HyV4({{"use_dsa", false}}), {"'use_dsa' is false"}},
        Refusal{"NoLatents", HyV4({{"use_mla", false}}), {"'use_mla' is false"}},
        Refusal{"Scores", HyV4({{"scoring_func", "softmax"}}), {"'scoring_func'", "sigmoid"}},
        Refusal{
            "Neighbours", HyV4({{"rope_interleave", true}}), {"'rope_interleave'", "no such key"}},
        Refusal{"NoLatentOfQueries",
                HyV4({{"q_lora_rank", nullptr}}),
                {"'q_lora_rank' is null", "indexer"}},
        Refusal{"IndexHeadTurns",
                HyV4({{"index_head_dim", 32}}),
                {"'index_head_dim' is 32", "last qk_rope_head_dim = 64"}},
        Refusal{"FirstShares",
                HyV4({{"num_hidden_layers", 2}, {"indexer_types", {"shared", "full"}}}),
                {"'indexer_types'", "none before it"}},
        Refusal{"Indexer",
                HyV4({{"num_hidden_layers", 1}, {"indexer_types", {"half"}}}),
                {"'indexer_types'", "entry 0 is 'half'"}},
        Refusal{"Indexers", HyV4({{"indexer_types", {"full"}}}), {"'indexer_types'", "6"}},
        Refusal{"LayerType",
                HyV4({{"num_hidden_layers", 1}, {"layer_types", {"full_attention"}}}),
                {"'layer_types'", "deepseek_sparse_attention"}},
        Refusal{"FeedType",
                HyV4({{"num_hidden_layers", 1}, {"mlp_layer_types", {"moe"}}}),
                {"'mlp_layer_types'", "entry 0 is 'moe'"}},
        Refusal{"DenseByCount",
                HyV4({{"first_k_dense_replace", 1}}),
                {"'first_k_dense_replace'", "no such key"}},
        Refusal{"Streams", HyV4({{"hc_mult", 17}}), {"'hc_mult' is 17"}},
        Refusal{"Magnitude", HyV4({{"hc_magnitude", -1.0}}), {"'hc_magnitude' is -1"}},
        Refusal{"NoLimit", HyV4({{"swiglu_limit", 0}}), {"'swiglu_limit' is 0", "above 0"}},
        Refusal{"LimitBelowZero", HyV4({{"swiglu_limit", -1.0}}), {"'swiglu_limit' is -1"}},
        Refusal{"Activation", HyV4({{"hidden_act", "gelu"}}), {"'hidden_act'", "silu only"}},
        Refusal{"Groups", HyV4({{"n_group", 3}}), {"'n_group' is 3", "256 experts"}},
        Refusal{"NoLimitBesidePictures",
                HyV4Pictures({{"swiglu_limit", 0}}),
                {"'text_config.swiglu_limit' is 0", "above 0"}},
        Refusal{"TextOfAnother",
                HyV4Pictures({{"model_type", "hy_v4"}}),
                {"'text_config.model_type'", "hy_v4_vl_text"}},
        Refusal{"Sounds",
                HyV4Pictures(json::object(), {{"audio_config", 1}}),
                {"'audio_config'", "no such key"}}),
    NameOf);

}  // namespace
}  // namespace folkmoot
