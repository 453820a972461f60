// SPDX-License-Identifier: Apache-2.0
// What config.json of Inkling 2 and of its looped form means, and what of it is refused
// (RefusalTest: model_config_errors_test.cc).
#include "layers/gates/gate_config.h"
#include "layers/models/load_config.h"
#include "layers/models/model.h"
#include "tests/layers/config/refusal.h"

namespace folkmoot {
namespace {

using nlohmann::json;

// Of the text model alone; absent keys are those of Transformers' class.
json Alone(const json& changes = json::object()) {
  json keys = {{"architectures", {"Inkling2ForCausalLM"}}, {"model_type", "inkling2_text"}};
  keys.merge_patch(changes);
  return keys;
}

json Whole(const json& text) {
  return {{"architectures", {"Inkling2ForConditionalGeneration"}},
          {"model_type", "inkling2"},
          {"text_config", text},
          {"vision_config", {{"patch_size", 20}}},
          {"image_token_id", 200054}};
}

json Looped(const json& changes = json::object()) {
  json keys = {{"architectures", {"Inkling2LoopForCausalLM"}},
               {"model_type", "inkling2_loop_text"}};
  keys.merge_patch(changes);
  return keys;
}

ModelConfig Parse(const json& keys) {
  const auto config = ParseModelConfig(keys.dump(), "config.json");
  EXPECT_TRUE(config.ok()) << config.status();
  return config.value_or(ModelConfig());
}

TEST(Inkling2, AbsentKeysAreThoseOfTheClass) {
  const ModelConfig config = Parse(Alone());
  EXPECT_EQ(config.layers.size(), 48u);
  EXPECT_EQ(config.hidden, 4608);
  EXPECT_EQ(config.moe.intermediate, 2304);
  EXPECT_EQ(config.max_positions, 1048576);
  EXPECT_EQ(config.scored_vocab, 200058);
  EXPECT_EQ(config.activation, Activation::kSoftcappedSwiglu);
  EXPECT_EQ(config.swiglu_limit, 4.0f);
  EXPECT_EQ(config.swiglu_up_limit, 25.0f);
  EXPECT_EQ(config.logits_softcap, 30.0f);
  EXPECT_EQ(config.clip.heads, 22.627416997969522f);
  EXPECT_EQ(config.clip.mixes, 8.0f);
  EXPECT_EQ(config.residual.sum_layers, 6);
  EXPECT_EQ(config.temperature.floor, 128000.0f);
  EXPECT_EQ(config.temperature.rule, TemperatureRule::kSmooth);
  EXPECT_EQ(config.relative.extent, 1024);
  EXPECT_TRUE(config.recurrent.scaled && config.embedding_norm && config.value_norm);
  EXPECT_EQ(config.layers[4].sliding_window, 1024);
  EXPECT_FALSE(config.layers[4].dynamic);
  EXPECT_EQ(config.layers[5].sliding_window, 0);
  EXPECT_TRUE(config.layers[5].dynamic && config.layers[5].moe);
  EXPECT_EQ(config.own_layers(), 48);
  // Three rows of what attention and FFN give, and of keys and values of eight heads.
  EXPECT_EQ(StateBytesPerSequence(config), int64_t{48} * 3 * (2 * 4608 + 16 * 128) * 4);
}

TEST(Inkling2, KnowsBothSpellings) {
  const ModelConfig config = Parse(Whole({{"vocab_size", 96},
                                          {"unpadded_vocab_size", 96},
                                          {"num_hidden_layers", 2},
                                          {"sliding_window", 64},
                                          {"sliding_window_size", 64},
                                          {"sconv_kernel_size", 3},
                                          {"intermediate_size", 77},
                                          {"model_max_length", 99},
                                          {"routed_scaling_factor", 2.5},
                                          {"num_local_experts", 12},
                                          {"number_of_conv_states", 4},
                                          {"scoring_func", "sigmoid"}}));
  EXPECT_EQ(config.layers[0].sliding_window, 64);
  EXPECT_EQ(config.recurrent.kernel, 3);
  EXPECT_EQ(config.moe.intermediate, 77);
  EXPECT_EQ(config.moe.routed_scaling, 2.5);
  EXPECT_EQ(config.moe.experts, 12);
  EXPECT_EQ(config.max_positions, 99);
  EXPECT_EQ(config.scored_vocab, 0);
}

TEST(Inkling2, RunsOnTheCpuByItsOwnGate) {
  const ModelConfig config = Parse(Alone());
  EXPECT_EQ(WhyCpuOnly(config), "residual convolutions");
  EXPECT_EQ(WhyNotTensorParallel(config), "");
  EXPECT_NE(WhyNotSpeculative(config), "");
  const auto gate = DefaultGate(config);
  ASSERT_TRUE(gate.ok());
  EXPECT_EQ(gate->num_experts, 384);
  EXPECT_EQ(gate->top_k, 8);
  EXPECT_EQ(gate->score_fn, ScoreFn::kSigmoid);
  EXPECT_EQ(gate->scale, 8.0);
  EXPECT_FALSE(gate->shared);
}

TEST(Inkling2Loop, AbsentKeysAreThoseOfTheClass) {
  const ModelConfig config = Parse(Looped());
  EXPECT_EQ(config.hidden, 2304);
  EXPECT_EQ(config.heads, 24);
  EXPECT_EQ(config.heads_of(config.layers[0]), 24);
  EXPECT_EQ(config.moe.experts, 128);
  EXPECT_EQ(config.temperature.floor, 8192.0f);
  EXPECT_EQ(config.loop.gate_rank, 64);
  EXPECT_EQ(config.own_layers(), 24);
  ASSERT_EQ(config.layers.size(), 48u);  // twelve of them three times
  EXPECT_EQ(config.cache_layers(), 48);
  EXPECT_EQ(config.recurrent_layers(), 48);
  EXPECT_EQ(config.layers[23].again, -1);
  EXPECT_EQ(config.layers[24].again, 6);
  EXPECT_EQ(config.layers[36].again, 6);
  EXPECT_EQ(config.layers[47].again, 17);
  EXPECT_EQ(config.layers[29].sliding_window, 0);  // it is layer 11
  EXPECT_EQ(config.layers[30].sliding_window, 1024);
}

TEST(Inkling2Loop, ReadsItsObject) {
  const ModelConfig config =
      Parse(Looped({{"num_hidden_layers", 6},
                    {"n_layers_per_attn_res_block", 2},
                    {"loop_num_passes", 2},
                    {"loop_config",
                     {{"core_start", 2}, {"core_end", 4}, {"num_passes", 2}, {"gate_rank", 5}}}}));
  EXPECT_EQ(config.loop.first, 2);
  EXPECT_EQ(config.loop.end, 4);
  EXPECT_EQ(config.loop.gate_rank, 5);
  EXPECT_EQ(config.layers.size(), 8u);
}

INSTANTIATE_TEST_SUITE_P(
    Inkling2, RefusalTest,
    ::testing::Values(
        Refusal{"Activation",
                Alone({{"hidden_act", "gelu"}}),
                {"'hidden_act' is \"gelu\"", "silu's sigmoid"}},
        Refusal{"Scores", Alone({{"scoring_func", "softmax"}}), {"'scoring_func'", "sigmoid"}},
        Refusal{"States", Alone({{"number_of_conv_states", 3}}), {"number_of_conv_states"}},
        Refusal{"LayerType",
                Alone({{"num_hidden_layers", 1}, {"layer_types", {"full_attention"}}}),
                {"entry 0 is 'full_attention'", "hybrid, hybrid_sliding"}},
        Refusal{"LayerTypes",
                Alone({{"num_hidden_layers", 2}, {"layer_types", {"hybrid"}}}),
                {"'layer_types'", "2 layers"}},
        Refusal{"WindowHeads",
                Alone({{"swa_num_attention_heads", 42}}),
                {"'swa_num_attention_heads' is 42", "8 heads of keys"}},
        Refusal{"Clip", Alone({{"qk_l2_clip_threshold", 0}}), {"'qk_l2_clip_threshold' is 0"}},
        Refusal{"MixClip", Alone({{"rel_l2_clip_threshold", 0}}), {"'rel_l2_clip_threshold' is 0"}},
        Refusal{"Floor", Alone({{"log_scaling_n_floor", 0}}), {"'log_scaling_n_floor' is 0"}},
        Refusal{"GateLimit", Alone({{"mlp_gate_softcap", 0}}), {"'mlp_gate_softcap' is 0"}},
        Refusal{"UpLimit", Alone({{"mlp_up_softcap", 0}}), {"'mlp_up_softcap' is 0"}},
        Refusal{"LogitLimit",
                Alone({{"final_logit_softcapping", 0}}),
                {"'final_logit_softcapping' is 0"}},
        Refusal{"Sums",
                Alone({{"n_layers_per_attn_res_block", 0}}),
                {"'n_layers_per_attn_res_block' is 0"}},
        Refusal{"Vocabulary", Alone({{"vocab_size", 96}}), {"'unpadded_vocab_size'", "96"}},
        Refusal{"Kernel", Alone({{"conv_kernel_size", 1}}), {"'conv_kernel_size' is 1"}},
        Refusal{"LongKernel", Alone({{"conv_kernel_size", 17}}), {"'conv_kernel_size' is 17"}},
        Refusal{"TwoKernels",
                Alone({{"conv_kernel_size", 4}, {"sconv_kernel_size", 3}}),
                {"'sconv_kernel_size' is 3", "contradicts conv_kernel_size"}},
        Refusal{"TwoWidths",
                Alone({{"moe_intermediate_size", 4}, {"intermediate_size", 3}}),
                {"'intermediate_size' is 3", "contradicts moe_intermediate_size"}},
        Refusal{"Tied", Alone({{"tie_word_embeddings", true}}), {"'tie_word_embeddings' is true"}},
        Refusal{"Theta", Alone({{"rope_theta", 1000}}), {"'rope_theta'", "has no such key"}},
        Refusal{"Shared", Alone({{"n_shared_experts", 1}}), {"'n_shared_experts'"}},
        Refusal{"Loop", Alone({{"loop_num_passes", 3}}), {"'loop_num_passes'", "no such key"}},
        Refusal{"BesideText",
                {{"architectures", {"Inkling2ForConditionalGeneration"}},
                 {"model_type", "inkling2"},
                 {"text_config", json::object()},
                 {"audio_token_id", 7}},
                {"'audio_token_id'", "no such key beside text_config"}}),
    NameOf);

INSTANTIATE_TEST_SUITE_P(
    Inkling2Loop, RefusalTest,
    ::testing::Values(
        Refusal{"Passes", Looped({{"loop_num_passes", 0}}), {"'loop_num_passes' is 0"}},
        Refusal{
            "First", Looped({{"loop_layer_index_start", 0}}), {"'loop_layer_index_start' is 0"}},
        Refusal{"FirstInASum",
                Looped({{"loop_layer_index_start", 7}}),
                {"'loop_layer_index_start' is 7", "n_layers_per_attn_res_block = 6"}},
        Refusal{"EndInASum",
                Looped({{"loop_layer_index_end", 17}}),
                {"'loop_layer_index_end' is 17", "n_layers_per_attn_res_block = 6"}},
        Refusal{"EndBeforeFirst",
                Looped({{"loop_layer_index_start", 12}, {"loop_layer_index_end", 6}}),
                {"'loop_layer_index_end' is 6", "layers from 12 on run again"}},
        Refusal{"EndBehindTheLast",
                Looped({{"num_hidden_layers", 12}}),
                {"'loop_layer_index_end' is missing", "absent: 18", "12 in all"}},
        Refusal{"Rank", Looped({{"loop_gate_rank", 0}}), {"'loop_gate_rank' is 0"}},
        Refusal{"KeyOfItsObject",
                Looped({{"loop_config", {{"core_starts", 6}}}}),
                {"'loop_config.core_starts'"}},
        Refusal{"TwoLoops",
                Looped({{"loop_num_passes", 2}, {"loop_config", {{"num_passes", 3}}}}),
                {"'loop_config.num_passes' is 3", "contradicts loop_num_passes"}}),
    NameOf);

}  // namespace
}  // namespace folkmoot
