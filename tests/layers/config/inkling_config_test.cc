// SPDX-License-Identifier: Apache-2.0
// What config.json of Inkling means, and what of it is refused (RefusalTest:
// model_config_errors_test.cc).
#include "layers/gates/gate_config.h"
#include "layers/models/load_config.h"
#include "layers/models/model.h"
#include "tests/layers/config/refusal.h"

namespace folkmoot {
namespace {

using nlohmann::json;

// The keys of Inkling-Small, of seven layers.
json Text(const json& changes = json::object()) {
  json keys = {{"d_rel", 16},
               {"dense_intermediate_size", 16384},
               {"dense_mlp_idx", 2},
               {"final_logit_softcapping", nullptr},
               {"gate_activation", "sigmoid"},
               {"head_dim", 128},
               {"hidden_size", 4096},
               {"intermediate_size", 2048},
               {"local_layer_ids", {0, 1, 2, 3, 4, 6}},
               {"log_scaling_alpha", 0.1},
               {"log_scaling_n_floor", 128000},
               {"logits_mup_width_multiplier", 16.0},
               {"model_max_length", 1048576},
               {"n_routed_experts", 256},
               {"n_shared_experts", 2},
               {"norm_after_topk", true},
               {"num_attention_heads", 32},
               {"num_experts_per_tok", 6},
               {"num_hidden_layers", 7},
               {"num_key_value_heads", 8},
               {"o_bias", false},
               {"q_bias", false},
               {"rel_extent", 1024},
               {"rms_norm_eps", 1e-6},
               {"route_scale", 8.0},
               {"sconv_kernel_size", 4},
               {"shared_expert_sink", true},
               {"sliding_window_size", 512},
               {"swa_head_dim", 128},
               {"swa_num_attention_heads", 32},
               {"swa_num_key_value_heads", 16},
               {"torch_dtype", "bfloat16"},
               {"unpadded_vocab_size", 200058},
               {"use_embed_norm", true},
               {"use_gate_bias", true},
               {"use_global_scale", true},
               {"use_sconv", true},
               {"vocab_size", 201024}};
  keys.merge_patch(changes);
  return keys;
}

json Whole(const json& changes = json::object()) {
  return {{"architectures", {"InklingForConditionalGeneration"}},
          {"model_type", "inkling_mm_model"},
          {"text_config", Text(changes)},
          {"vision_config", {{"patch_size", 40}}},
          {"audio_config", {{"n_mel_bins", 80}}},
          {"mtp_config", {{"num_nextn_predict_layers", 8}}},
          {"image_token_id", 200054},
          {"audio_token_id", 200053}};
}

// Of the text model alone, as Transformers has them; absent keys are Inkling's.
json Alone(const json& changes) {
  json keys = {{"architectures", {"InklingForCausalLM"}}, {"model_type", "inkling_text"}};
  keys.merge_patch(changes);
  return keys;
}

ModelConfig Parse(const json& keys) {
  const auto config = ParseModelConfig(keys.dump(), "config.json");
  EXPECT_TRUE(config.ok()) << config.status();
  return config.value_or(ModelConfig());
}

TEST(Inkling, ReadsPublishedKeys) {
  const ModelConfig config = Parse(Whole());
  EXPECT_EQ(config.max_positions, 1048576);
  EXPECT_EQ(config.intermediate, 16384);
  EXPECT_EQ(config.moe.intermediate, 2048);
  EXPECT_EQ(config.moe.shared_sinks, 2);
  EXPECT_EQ(config.moe.shared_intermediate, 4096);
  EXPECT_TRUE(config.moe.selection_bias && config.moe.weight_scale && config.embedding_norm);
  EXPECT_EQ(config.logits_scaling, 16.0f);
  EXPECT_EQ(config.scored_vocab, 200058);
  EXPECT_EQ(config.relative.profiles, 16);
  EXPECT_EQ(config.relative.extent, 1024);
  EXPECT_EQ(config.temperature.floor, 128000.0f);
  EXPECT_EQ(config.temperature.rule, TemperatureRule::kSmooth);
  EXPECT_FALSE(config.layers[1].moe);
  EXPECT_TRUE(config.layers[2].moe);
  EXPECT_EQ(config.layers[4].sliding_window, 512);
  EXPECT_EQ(config.kv_heads_of(config.layers[4]), 16);
  EXPECT_EQ(config.layers[5].sliding_window, 0);
  EXPECT_EQ(config.kv_heads_of(config.layers[5]), 8);
  EXPECT_EQ(config.layers[5].score_scale, 1.0f / 128);
  EXPECT_FALSE(config.layers[5].rope || config.layers[4].rope);
  EXPECT_EQ(config.recurrent_layers(), 7);
  EXPECT_EQ(config.cache_layers(), 7);
  // Three rows of what attention and FFN give, and of the keys and values of sixteen heads.
  EXPECT_EQ(StateBytesPerSequence(config), 7 * 3 * (2 * 4096 + 16 * 256) * 4);
}

TEST(Inkling, RunsOnTheCpuByItsOwnGate) {
  const ModelConfig config = Parse(Whole());
  EXPECT_EQ(WhyCpuOnly(config), "residual convolutions");
  EXPECT_EQ(WhyNotTensorParallel(config), "");
  EXPECT_NE(WhyNotSpeculative(config), "");
  const auto gate = DefaultGate(config);
  ASSERT_TRUE(gate.ok());
  EXPECT_EQ(gate->num_experts, 256);
  EXPECT_EQ(gate->shared_sinks, 2);
  EXPECT_EQ(gate->scale, 8.0);
  EXPECT_TRUE(gate->shared);
  const auto other = OverrideGate(config, *gate, "olmoe,top_k=1");
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_EQ(other->shared_sinks, 2);  // what weighs shared experts is not a preset's matter
  const auto none = OverrideGate(config, *gate, "shared_sinks=0");
  EXPECT_NE(none.status().message().find("InklingForConditionalGeneration has 2"),
            std::string::npos);
}

TEST(Inkling, AbsentKeysAreThoseOfTheClass) {
  const ModelConfig config = Parse(Alone({{"num_hidden_layers", 12}}));
  EXPECT_EQ(config.layers[5].sliding_window, 0);
  EXPECT_EQ(config.layers[6].sliding_window, 512);
  EXPECT_EQ(config.layers[11].sliding_window, 0);
  EXPECT_TRUE(config.layers[0].moe);
  EXPECT_EQ(config.intermediate, 24576);
  EXPECT_EQ(config.moe.intermediate, 3072);
  EXPECT_EQ(config.temperature.scale, 0.0f);
  EXPECT_EQ(config.scored_vocab, 0);
  EXPECT_EQ(config.logits_scaling, 24.0f);
  EXPECT_EQ(config.recurrent.kernel, 4);
}

TEST(Inkling, KnowsBothSpellings) {
  const ModelConfig config = Parse(Alone({{"num_hidden_layers", 2},
                                          {"sliding_window", 64},
                                          {"sliding_window_size", 64},
                                          {"conv_kernel_size", 3},
                                          {"embedding_multiplier", 2.0},
                                          {"max_position_embeddings", 99},
                                          {"num_local_experts", 12},
                                          {"number_of_conv_states", 4},
                                          {"mtp_local_layer_ids", nullptr}}));
  EXPECT_EQ(config.layers[0].sliding_window, 64);
  EXPECT_EQ(config.recurrent.kernel, 3);
  EXPECT_EQ(config.logits_scaling, 2.0f);
  EXPECT_EQ(config.embedding_multiplier, 1.0f);
  EXPECT_EQ(config.max_positions, 99);
  EXPECT_EQ(config.moe.experts, 12);
}

json Two(const json& changes) {
  json keys = Alone({{"num_hidden_layers", 2}});
  keys.merge_patch(changes);
  return keys;
}

INSTANTIATE_TEST_SUITE_P(
    Inkling, RefusalTest,
    ::testing::Values(
        Refusal{"Sink",
                Whole({{"shared_expert_sink", false}}),
                {"'text_config.shared_expert_sink' is false", "with true only"}},
        Refusal{"Activation",
                Whole({{"gate_activation", "softmax"}}),
                {"'text_config.gate_activation'", "\"sigmoid\" only"}},
        Refusal{"NormAfterTopk", Whole({{"norm_after_topk", false}}), {"norm_after_topk"}},
        Refusal{"GlobalScale", Whole({{"use_global_scale", false}}), {"use_global_scale"}},
        Refusal{"GateBias", Whole({{"use_gate_bias", false}}), {"use_gate_bias"}},
        Refusal{"Convolutions", Whole({{"use_sconv", false}}), {"use_sconv"}},
        Refusal{"RowsOfExperts",
                Whole({{"inference_moe_w13_interleaved", false}}),
                {"inference_moe_w13_interleaved"}},
        Refusal{"EmbedNorm", Whole({{"use_embed_norm", false}}), {"use_embed_norm"}},
        Refusal{"QBias", Whole({{"q_bias", true}}), {"'text_config.q_bias' is true"}},
        Refusal{"OBias", Whole({{"o_bias", true}}), {"'text_config.o_bias' is true"}},
        Refusal{"Softcap", Whole({{"final_logit_softcapping", 30.0}}), {"logit capping"}},
        Refusal{
            "ValueSize", Whole({{"v_head_dim", 64}}), {"'text_config.v_head_dim' is 64", "128"}},
        Refusal{"WindowValueSize", Whole({{"swa_v_head_dim", 64}}), {"swa_v_head_dim"}},
        Refusal{"BesideText",
                {{"architectures", {"InklingForConditionalGeneration"}},
                 {"model_type", "inkling_mm_model"},
                 {"text_config", Text()},
                 {"video_token_id", 7}},
                {"'video_token_id'", "no such key beside text_config"}},
        Refusal{"LayerType",
                Two({{"layer_types", {"hybrid", "sliding_attention"}}}),
                {"entry 1 is 'sliding_attention'", "hybrid, hybrid_sliding"}},
        Refusal{"LocalLayers",
                Two({{"layer_types", {"hybrid", "hybrid"}}, {"local_layer_ids", {1}}}),
                {"'local_layer_ids'", "contradicts layer_types at layer 1"}},
        Refusal{"LocalLayerRange", Two({{"local_layer_ids", {2}}}), {"'local_layer_ids'"}},
        Refusal{"DenseLayers",
                Two({{"mlp_layer_types", {"sparse", "sparse"}}, {"dense_mlp_idx", 1}}),
                {"'dense_mlp_idx' is 1", "contradicts mlp_layer_types at layer 0"}},
        Refusal{"TwoKernels",
                Two({{"conv_kernel_size", 4}, {"sconv_kernel_size", 3}}),
                {"'sconv_kernel_size' is 3", "contradicts conv_kernel_size"}},
        Refusal{"Kernel", Two({{"conv_kernel_size", 1}}), {"'conv_kernel_size' is 1"}},
        Refusal{"LongKernel", Two({{"conv_kernel_size", 17}}), {"'conv_kernel_size' is 17", "16"}},
        Refusal{"WindowHeads",
                Two({{"swa_num_attention_heads", 40}}),
                {"'swa_num_attention_heads' is 40", "16 heads of keys"}},
        Refusal{"Profiles", Two({{"d_rel", 0}}), {"'d_rel' is 0"}},
        Refusal{"Extent", Two({{"rel_extent", 0}}), {"'rel_extent' is 0"}},
        Refusal{"Window", Two({{"sliding_window_size", 0}}), {"'sliding_window_size' is 0"}},
        Refusal{"Floor", Two({{"log_scaling_n_floor", 0}}), {"'log_scaling_n_floor' is 0"}},
        Refusal{"NoSharedExpert", Two({{"n_shared_experts", 0}}), {"'n_shared_experts' is 0"}},
        Refusal{"RouteScale", Two({{"route_scale", 0}}), {"'route_scale' is 0"}},
        Refusal{"Multiplier",
                Two({{"logits_mup_width_multiplier", 0}}),
                {"'logits_mup_width_multiplier' is 0"}},
        Refusal{"Tied", Two({{"tie_word_embeddings", true}}), {"'tie_word_embeddings' is true"}},
        Refusal{"Theta", Two({{"rope_theta", 1000}}), {"'rope_theta'", "has no such key"}},
        Refusal{"States", Two({{"number_of_conv_states", 3}}), {"number_of_conv_states"}}),
    NameOf);

}  // namespace
}  // namespace folkmoot
