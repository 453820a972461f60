// SPDX-License-Identifier: Apache-2.0
// What config.json of ZAYA1 means, and what of it is refused (RefusalTest:
// model_config_errors_test.cc).
#include "layers/gates/gate_config.h"
#include "layers/models/load_config.h"
#include "layers/models/model.h"
#include "tests/layers/config/refusal.h"

namespace folkmoot {
namespace {

using nlohmann::json;

// The keys of ZAYA1-8B, of three layers.
json Zaya(const json& changes = json::object()) {
  json keys = {
      {"architectures", {"ZayaForCausalLM"}},
      {"attention_bias", false},
      {"attention_dropout", 0.0},
      {"cca_time0", 2},
      {"cca_time1", 2},
      {"dtype", "bfloat16"},
      {"eos_token_id", 106},
      {"head_dim", 128},
      {"hidden_act", "silu"},
      {"hidden_size", 2048},
      {"layer_types", {"hybrid", "hybrid", "hybrid"}},
      {"lm_head_bias", false},
      {"max_position_embeddings", 131072},
      {"model_type", "zaya"},
      {"moe_intermediate_size", 2048},
      {"num_attention_heads", 8},
      {"num_experts", 16},
      {"num_experts_per_tok", 1},
      {"num_hidden_layers", 3},
      {"num_key_value_heads", 2},
      {"output_router_logits", false},
      {"partial_rotary_factor", 0.5},
      {"rms_norm_eps", 1e-5},
      {"rope_parameters",
       {{"hybrid",
         {{"partial_rotary_factor", 0.5}, {"rope_theta", 5000000}, {"rope_type", "default"}}},
        {"hybrid_sliding",
         {{"partial_rotary_factor", 0.5}, {"rope_theta", 10000.0}, {"rope_type", "default"}}},
        {"rope_type", "default"}}},
      {"router_hidden_size", 256},
      {"sliding_window", nullptr},
      {"tie_word_embeddings", true},
      {"vocab_size", 262272}};
  keys.merge_patch(changes);
  return keys;
}

ModelConfig Parse(const json& keys) {
  const auto config = ParseModelConfig(keys.dump(), "config.json");
  EXPECT_TRUE(config.ok()) << config.status();
  return config.value_or(ModelConfig());
}

TEST(Zaya, ReadsPublishedKeys) {
  const ModelConfig config = Parse(Zaya());
  EXPECT_TRUE(config.convolved() && config.residual.learned);
  EXPECT_EQ(config.recurrent_layers(), 3);
  EXPECT_EQ(config.cache_layers(), 3);
  EXPECT_EQ(config.recurrent.kernel, 2);
  EXPECT_EQ(config.recurrent.head_kernel, 2);
  EXPECT_EQ(config.moe.router_hidden, 256);
  EXPECT_EQ(config.moe.outputs(), 17);
  EXPECT_FALSE(config.layers[0].carried_router);
  EXPECT_TRUE(config.layers[1].carried_router && config.layers[2].carried_router);
  EXPECT_EQ(config.rope.theta, 5e6);
  EXPECT_EQ(config.rope.partial_rotary_factor, 0.5);
  EXPECT_FALSE(config.local_rope.has_value() || config.layers[1].local_rope);
  // Of a layer: the last row of the first convolution (10 heads and 2 of values) and of the second.
  EXPECT_EQ(StateBytesPerSequence(config), 3 * (12 + 10) * 128 * 4);
  EXPECT_EQ(WhyCpuOnly(config), "convolved attention");
  EXPECT_EQ(WhyNotTensorParallel(config), "");
  EXPECT_NE(WhyNotSpeculative(config), "");
  const auto gate = DefaultGate(config);
  ASSERT_TRUE(gate.ok());
  EXPECT_EQ(gate->num_experts, 17);
  EXPECT_EQ(gate->zero_output, ZeroOutput::kNothing);
  const auto other = OverrideGate(config, *gate, "olmoe,top_k=1");
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_EQ(other->zero_output, ZeroOutput::kNothing);  // what experts are is not a preset's matter
}

TEST(Zaya, LayersMaySlide) {
  const ModelConfig config = Parse(
      Zaya({{"layer_types", {"hybrid", "hybrid_sliding", "hybrid"}}, {"sliding_window", 64}}));
  EXPECT_EQ(config.layers[1].sliding_window, 64);
  EXPECT_EQ(config.layers[2].sliding_window, 0);
  EXPECT_TRUE(config.layers[1].local_rope);
  ASSERT_TRUE(config.local_rope.has_value());
  EXPECT_EQ(config.local_rope->theta, 1e4);
  EXPECT_EQ(config.recurrent_layers(), 3);
}

json Ropes(const json& entries) { return Zaya({{"rope_parameters", entries}}); }

INSTANTIATE_TEST_SUITE_P(
    Zaya, RefusalTest,
    ::testing::Values(
        Refusal{
            "TopK", Zaya({{"num_experts_per_tok", 2}}), {"'num_experts_per_tok' is 2", "has one"}},
        Refusal{"Window",
                Zaya({{"layer_types", {"hybrid", "hybrid", "hybrid_sliding"}}}),
                {"'sliding_window' is null", "layer 2 slides"}},
        Refusal{"LayerType",
                Zaya({{"layer_types", {"hybrid", "full_attention", "hybrid"}}}),
                {"entry 1 is 'full_attention'", "hybrid, hybrid_sliding"}},
        Refusal{"Kernel", Zaya({{"cca_time0", 17}}), {"'cca_time0' is 17", "16"}},
        Refusal{"HeadKernel", Zaya({{"cca_time1", 0}}), {"'cca_time1' is 0"}},
        Refusal{"Router", Zaya({{"router_hidden_size", 0}}), {"'router_hidden_size' is 0"}},
        Refusal{"Heads",
                Zaya({{"num_attention_heads", 7}}),
                {"num_attention_heads = 7 must be a multiple"}},
        Refusal{"RopeTypeBeside",
                Ropes({{"rope_type", "linear"}}),
                {"'rope_parameters'", "hybrid and hybrid_sliding only"}},
        Refusal{"RopeEntry",
                Ropes({{"full_attention", json::object()}}),
                {"'rope_parameters'", "hybrid and hybrid_sliding only"}},
        Refusal{"RopePart", Zaya({{"partial_rotary_factor", 0.25}}), {"partial_rotary_factor"}},
        Refusal{"Theta", Zaya({{"rope_theta", 1000}}), {"'rope_theta'", "has no such key"}},
        // Of files as ZAYA1's authors wrote them first, whose layers are halves of these.
        Refusal{"OldFile",
                {{"architectures", {"ZayaForCausalLM"}}, {"model_type", "zaya"}, {"cca", true}},
                {"'cca' is true", "has no such key"}}),
    NameOf);

}  // namespace
}  // namespace folkmoot
