// SPDX-License-Identifier: Apache-2.0
// What config.json of Muse Spark and of Muse Glimmer means, and what of it is refused (RefusalTest:
// model_config_errors_test.cc).
#include "layers/models/load_config.h"
#include "layers/models/model.h"
#include "tests/layers/config/parsed_config.h"
#include "tests/layers/config/refusal.h"

namespace folkmoot {
namespace {

using nlohmann::json;

// Five layers with the keys that a saved file has.
json MuseSpark(const json& changes = json::object(), const json& beside = json::object()) {
  json text = {{"model_type", "muse_spark_text"},
               {"num_hidden_layers", 5},
               {"sliding_window", 2048},
               {"layer_rope_theta", {0, 500000.0, 500000.0, 500000.0, 0}},
               {"post_norm_eps", 1e-8},
               {"qk_scale_factor", 4.0},
               {"output_multiplier", 0.25},
               {"final_logit_softcapping", 20.0},
               {"residual_gate_temperature", 0.3},
               {"moe_hidden_size", 1024},
               {"mlp_layer_types", {"dense", "sparse", "sparse", "sparse", "sparse"}},
               {"rope_parameters", {{"rope_type", "default"}, {"rope_theta", 500000.0}}}};
  text.update(changes);
  json keys = {{"model_type", "muse_spark"},
               {"text_config", text},
               {"vision_config", {{"patch_size", 14}}},
               {"audio_config", {{"conv_kernel_size", 7}}},
               {"audio_token_id", 200038},
               {"projector_hidden_act", "gelu"}};
  keys.update(beside);
  return keys;
}

TEST(MuseSpark, ReadsTheSavedKeys) {
  const ModelConfig config = Parsed(MuseSpark());
  EXPECT_EQ(config.architecture, "MuseSparkForConditionalGeneration");
  EXPECT_EQ(Kinds(config), "- SRM SRM SRM M");
  EXPECT_EQ(config.layers[1].sliding_window, 2048);
  EXPECT_EQ(config.attention_multiplier, 0.5f);  // 4 / sqrt(64)
  EXPECT_EQ(config.logits_scaling, 4.0f);
  EXPECT_EQ(config.logits_softcap, 20.0f);
  EXPECT_EQ(config.moe.router_scale, 0.25f);
  EXPECT_EQ(config.moe.latent, 1024);
  EXPECT_TRUE(config.moe.expert_norms && config.moe.selection_bias);
  EXPECT_TRUE(config.post_norms && config.late_norms && config.attended_norm);
  EXPECT_EQ(config.post_norm_eps, 1e-8f);
  EXPECT_EQ(config.final_norm, NormKind::kRms);
  EXPECT_EQ(config.norm, NormKind::kRmsPlusOne);
  EXPECT_EQ(config.qk_norm, QkNormKind::kUnit);
  EXPECT_EQ(config.residual.gate_temperature, 0.3f);
  EXPECT_EQ(WhyCpuOnly(config), "learned residuals");
  EXPECT_EQ(WhyNotSpeculative(config), "");
  EXPECT_NE(WhyNotTensorParallel(config), "");
}

TEST(MuseSpark, DefaultsAreThoseOfThePublishedModel) {
  const ModelConfig config =
      Parsed({{"model_type", "muse_spark"}, {"text_config", {{"num_hidden_layers", 6}}}});
  EXPECT_EQ(Kinds(config), "SRM M SRM SRM SRM M");
  EXPECT_EQ(config.hidden, 8192);
  EXPECT_EQ(config.moe.experts, 256);
  EXPECT_EQ(config.moe.latent, 4096);
  EXPECT_EQ(config.rope.theta, 500000.0);
}

json MuseGlimmer(json text = json::object()) {
  if (!text.contains("num_hidden_layers")) text["num_hidden_layers"] = 5;
  return {{"model_type", "muse_glimmer"}, {"text_config", text}};
}

TEST(MuseGlimmer, DefaultsAreThoseOfThePublishedModel) {
  const ModelConfig config = Parsed(MuseGlimmer());
  EXPECT_EQ(config.architecture, "MuseGlimmerForConditionalGeneration");
  EXPECT_EQ(Kinds(config), "- SR SR SR -");
  EXPECT_EQ(config.hidden, 6656);
  EXPECT_EQ(config.layers[1].sliding_window, 2048);
  EXPECT_FLOAT_EQ(config.attention_multiplier, 0.342062937f);  // 3.87 / sqrt(128)
  EXPECT_FLOAT_EQ(config.logits_scaling, 5.09901951f);         // sqrt(6656 / 256)
  EXPECT_EQ(config.rope.theta, 1e4);
  EXPECT_TRUE(config.post_norms && config.embedding_norm);
  EXPECT_FALSE(config.late_norms || config.attended_norm || config.residual.gate_temperature > 0);
  EXPECT_EQ(config.post_norm_eps, 1e-8f);
  EXPECT_EQ(config.moe.experts, 0);
  EXPECT_EQ(WhyCpuOnly(config), "gated attention");
  EXPECT_EQ(WhyNotTensorParallel(config), "");
  EXPECT_EQ(Parsed(MuseGlimmer({{"hidden_activation", "gelu"}})).activation, Activation::kGelu);
  EXPECT_TRUE(Parsed(MuseGlimmer({{"tie_word_embeddings", true}})).tied_embeddings);
}

INSTANTIATE_TEST_SUITE_P(
    MuseGlimmer, RefusalTest,
    ::testing::Values(
        Refusal{"Experts", MuseGlimmer({{"num_local_experts", 8}}), {"num_local_experts'"}},
        Refusal{"Temperature",
                MuseGlimmer({{"residual_gate_temperature", 0.3}}),
                {"residual_gate_temperature'", "no such key"}},
        Refusal{"AnotherBase",
                MuseGlimmer({{"layer_rope_theta", {0, 1e4, 5e5, 1e4, 0}}}),
                {"'text_config.layer_rope_theta'", "entry 2", "rope_theta = 10000"}},
        Refusal{"Cap", MuseGlimmer({{"final_logit_softcapping", 0}}), {"final_logit_softcapping'"}},
        Refusal{"OtherText",
                MuseGlimmer({{"model_type", "muse_spark_text"}}),
                {"text_config.model_type'", "muse_glimmer_text"}}),
    NameOf);

INSTANTIATE_TEST_SUITE_P(
    MuseSpark, RefusalTest,
    ::testing::Values(
        Refusal{"AnotherBase",
                MuseSpark({{"layer_rope_theta", {0, 500000.0, 10000.0, 500000.0, 0}}}),
                {"'text_config.layer_rope_theta'", "entry 2 is 10000", "rope_theta = 500000"}},
        Refusal{"Bases", MuseSpark({{"layer_rope_theta", {0}}}), {"layer_rope_theta'", "5"}},
        Refusal{"Kinds", MuseSpark({{"layer_types", {"full_attention"}}}), {"layer_types'", "5"}},
        Refusal{"Feeds", MuseSpark({{"mlp_layer_types", {"sparse"}}}), {"mlp_layer_types'", "5"}},
        Refusal{"Factor", MuseSpark({{"qk_scale_factor", 0}}), {"qk_scale_factor' is 0"}},
        Refusal{"Multiplier", MuseSpark({{"output_multiplier", 0}}), {"output_multiplier' is 0"}},
        Refusal{"Cap", MuseSpark({{"final_logit_softcapping", 0}}), {"final_logit_softcapping'"}},
        Refusal{"Temperature",
                MuseSpark({{"residual_gate_temperature", 0}}),
                {"residual_gate_temperature' is 0"}},
        Refusal{"Width", MuseSpark({{"moe_hidden_size", 0}}), {"moe_hidden_size' is 0"}},
        Refusal{"Tied",
                MuseSpark({{"tie_word_embeddings", true}}),
                {"tie_word_embeddings'", "a head of its own"}},
        Refusal{"Groups", MuseSpark({{"n_group", 2}}), {"n_group'"}},
        Refusal{"Shared", MuseSpark({{"n_shared_experts", 1}}), {"n_shared_experts'"}},
        Refusal{"OtherText",
                MuseSpark({{"model_type", "muse_glimmer_text"}}),
                {"text_config.model_type'", "muse_spark_text"}},
        Refusal{"Beside",
                MuseSpark(json::object(), {{"video_config", 1}}),
                {"'video_config'", "no such key"}}),
    NameOf);

}  // namespace
}  // namespace folkmoot
