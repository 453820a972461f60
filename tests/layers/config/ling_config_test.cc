// SPDX-License-Identifier: Apache-2.0
// What config.json of Ling 3 means, in the authors' keys and those of Transformers, and what of it
// is refused (RefusalTest: model_config_errors_test.cc).
#include "layers/models/load_config.h"
#include "layers/models/model.h"
#include "tests/layers/config/parsed_config.h"
#include "tests/layers/config/refusal.h"

namespace folkmoot {
namespace {

using nlohmann::json;

constexpr const char* kFull = "full_attention";
constexpr const char* kLinear = "linear_attention";

// Six layers in the authors' keys.
json Ling(const json& changes = json::object()) {
  json keys = {
      {"model_type", "bailing_hybrid"},
      {"architectures", {"BailingMoeV3ForCausalLM"}},
      {"num_hidden_layers", 6},
      {"layer_group_size", 3},
      {"first_k_dense_replace", 2},
      {"head_dim", 128},
      {"short_conv_kernel_size", 4},
      {"no_kda_lora", true},
      {"kda_safe_gate", true},
      {"kda_lower_bound", -5},
      {"gated_attention_proj_granularity_type", "head_wise"},
      {"linear_silu", true},
      {"q_lora_rank", nullptr},
      {"qk_head_dim", 192},
      {"rotary_dim", 64},
      {"partial_rotary_factor", 0.5},
      {"rope_theta", 6000000},
      {"rope_parameters",
       {{"partial_rotary_factor", 0.5}, {"rope_theta", 6000000}, {"rope_type", "default"}}},
      {"rope_interleave", true},
      {"num_experts", 512},
      {"num_experts_per_tok", 8},
      {"num_shared_experts", 1},
      {"moe_shared_expert_intermediate_size", 768},
      {"moe_router_enable_expert_bias", true},
      {"score_function", "sigmoid"},
      {"router_dtype", "fp32"},
      {"num_nextn_predict_layers", 1},
      {"expert_swiglu_limit_list", {0, 0, 0, 0, 0, 4, 0}},
      {"share_expert_swiglu_limit_list", {0, 0, 0, 0, 5, 7, 0}}};
  keys.update(changes);
  return keys;
}

// The same without limits, which are known for silu alone.
json Unlimited(json changes) {
  changes["expert_swiglu_limit_list"] = changes["share_expert_swiglu_limit_list"] = nullptr;
  return Ling(changes);
}

std::string KindsOf(const ModelConfig& config) {
  std::string kinds;
  for (const LayerConfig& layer : config.layers) {
    kinds += layer.mixer == Mixer::kAttention ? 'F' : 'L';
  }
  return kinds;
}

TEST(Ling, ReadsTheAuthorsKeys) {
  const ModelConfig config = Parsed(Ling());
  EXPECT_EQ(config.architecture, "BailingHybridForCausalLM");
  EXPECT_EQ(KindsOf(config), "LLFLLF");
  EXPECT_FALSE(config.layers[1].moe);
  EXPECT_TRUE(config.layers[2].moe && config.layers[2].rope);
  EXPECT_EQ(config.recurrent.key_heads, 32);
  EXPECT_EQ(config.recurrent.value_dim, 128);
  EXPECT_TRUE(config.recurrent.key_decays);
  EXPECT_EQ(config.recurrent.decay_bound, -5.0f);
  EXPECT_EQ(config.recurrent.activation, Activation::kSilu);
  EXPECT_EQ(config.head_dim, 192);
  EXPECT_EQ(config.latent.q_rank, 0);
  EXPECT_EQ(config.latent.norm_eps, 1e-6f);
  EXPECT_EQ(config.rope_dim(), 64);
  EXPECT_EQ(config.rope.theta, 6e6);
  EXPECT_EQ(config.rope.partial_rotary_factor, 1.0);
  EXPECT_TRUE(config.rope.neighbours);
  EXPECT_EQ(config.attention_gate, AttentionGate::kOwn);
  EXPECT_TRUE(config.gate_per_head);
  EXPECT_EQ(config.moe.groups, 8);
  EXPECT_EQ(config.moe.chosen_groups, 4);
  EXPECT_EQ(config.moe.routed_scaling, 2.5);
  EXPECT_EQ(config.moe.shared_intermediate, 768);
  EXPECT_EQ(config.activation, Activation::kLimitedSwiglu);
  EXPECT_EQ(config.layers[4].expert_limit, 0.0f);
  EXPECT_EQ(config.layers[4].dense_limit, 5.0f);
  EXPECT_EQ(config.layers[5].expert_limit, 4.0f);
  EXPECT_EQ(config.eos_ids, std::vector<int32_t>{156895});
  EXPECT_EQ(WhyCpuOnly(config), "linear attention");
  EXPECT_EQ(WhyNotTensorParallel(config), "");
}

TEST(Ling, LeavesNothingLimitedWithoutLists) {
  EXPECT_EQ(Parsed(Unlimited({})).activation, Activation::kSilu);
  EXPECT_EQ(Parsed(Unlimited({{"hidden_act", "gelu"}})).activation, Activation::kGelu);
}

TEST(Ling, ReadsTheKeysOfTransformers) {
  const ModelConfig config = Parsed({{"model_type", "bailing_hybrid"},
                                     {"num_hidden_layers", 3},
                                     {"layer_types", {kFull, kLinear, kLinear}},
                                     {"mlp_layer_types", {"sparse", "dense", "sparse"}},
                                     {"head_dim", 64},
                                     {"linear_head_dim", 96},
                                     {"linear_num_heads", 16},
                                     {"linear_conv_kernel_dim", 3},
                                     {"num_experts_per_token", 4},
                                     {"num_expert_group", 2},
                                     {"topk_group", 1},
                                     {"num_shared_experts", 2},
                                     {"moe_renormalize", false},
                                     {"model_max_length", 4096}});
  EXPECT_EQ(KindsOf(config), "FLL");
  EXPECT_FALSE(config.layers[1].moe);
  EXPECT_EQ(config.recurrent.key_dim, 96);
  EXPECT_EQ(config.recurrent.value_heads, 16);
  EXPECT_EQ(config.recurrent.kernel, 3);
  EXPECT_EQ(config.moe.top_k, 4);
  EXPECT_EQ(config.moe.groups, 2);
  EXPECT_EQ(config.moe.shared_intermediate, 2 * 768);
  EXPECT_FALSE(config.moe.norm_topk_prob);
  EXPECT_EQ(config.max_positions, 4096);
}

TEST(Ling, HasTheDefaultsOfTransformers) {
  const ModelConfig config = Parsed({{"model_type", "bailing_hybrid"}});
  EXPECT_EQ(config.layers.size(), 42u);
  EXPECT_EQ(config.cache_layers(), 7);
  EXPECT_EQ(config.layers[5].mixer, Mixer::kAttention);
  EXPECT_FALSE(config.layers[1].moe);
  EXPECT_TRUE(config.layers[2].moe);
  EXPECT_EQ(config.recurrent.decay_bound, -5.0f);
  EXPECT_EQ(config.rope.theta, 6e6);
}

TEST(Ling, DecaysMayHaveNoBound) {
  const ModelConfig config = Parsed(Ling({{"kda_safe_gate", false}, {"kda_lower_bound", 1.0}}));
  EXPECT_EQ(config.recurrent.decay_bound, 0.0f);
}

INSTANTIATE_TEST_SUITE_P(
    Ling, RefusalTest,
    ::testing::Values(
        Refusal{"BrokenGroup",
                Ling({{"layer_group_size", 4}}),
                {"layer_group_size' is 4", "6 layers", "layer_types"}},
        Refusal{"LayerType",
                Ling({{"num_hidden_layers", 1}, {"layer_types", {"sliding_attention"}}}),
                {"layer_types'", "entry 0 is 'sliding_attention'", kLinear}},
        Refusal{"NoAttention",
                Ling({{"layer_types", {kLinear, kLinear, kLinear, kLinear, kLinear, kLinear}}}),
                {"layer_types'", "at least one layer must have full attention"}},
        Refusal{"Kernels",
                Ling({{"linear_conv_kernel_dim", 3}}),
                {"short_conv_kernel_size' is 4", "contradicts linear_conv_kernel_dim"}},
        Refusal{
            "BoundOfZero", Ling({{"kda_lower_bound", 0}}), {"kda_lower_bound' is 0", "below 0"}},
        Refusal{"NarrowGates", Ling({{"no_kda_lora", false}}), {"no_kda_lora' is false"}},
        Refusal{"GatesOfNumbers",
                Ling({{"gated_attention_proj_granularity_type", "element_wise"}}),
                {"gated_attention_proj_granularity_type'", "head_wise"}},
        Refusal{"HeadsOfKeys",
                Ling({{"num_key_value_heads", 8}}),
                {"num_key_value_heads' is 8", "num_attention_heads = 32"}},
        Refusal{"HeadWidth", Ling({{"qk_head_dim", 128}}), {"qk_head_dim' is 128", "192"}},
        Refusal{"RotaryDim",
                Ling({{"rotary_dim", 32}}),
                {"rotary_dim' is 32", "qk_rope_head_dim = 64"}},
        Refusal{"Halves", Ling({{"rope_interleave", false}}), {"rope_interleave' is false"}},
        Refusal{"Thetas", Ling({{"rope_theta", 10000}}), {"rope_theta'", "contradicts"}},
        Refusal{"SharedWidth",
                Ling({{"moe_shared_expert_intermediate_size", 512}}),
                {"moe_shared_expert_intermediate_size' is 512", "moe_intermediate_size = 768"}},
        Refusal{"Spellings",
                Ling({{"num_experts_per_token", 4}}),
                {"num_experts_per_token' is 4", "contradicts num_experts_per_tok"}},
        Refusal{"Groups", Ling({{"n_group", 5}}), {"n_group' is 5", "512 experts"}},
        Refusal{"Scores", Ling({{"score_function", "softmax"}}), {"score_function'", "sigmoid"}},
        Refusal{"ShortLimits",
                Ling({{"expert_swiglu_limit_list", {0, 0, 4}}}),
                {"expert_swiglu_limit_list'", "6 layers"}},
        Refusal{"NegativeLimit",
                Ling({{"share_expert_swiglu_limit_list", {0, 0, -1, 0, 0, 0}}}),
                {"share_expert_swiglu_limit_list'", "entry 2", "at least 0"}},
        Refusal{"LimitOfDenseLayer",
                Ling({{"expert_swiglu_limit_list", {4, 0, 0, 0, 0, 0}}}),
                {"expert_swiglu_limit_list'", "layer 0 has no experts"}},
        Refusal{"LimitedGelu",
                Ling({{"hidden_act", "gelu"}}),
                {"hidden_act'", "expert_swiglu_limit_list is known for silu only"}},
        Refusal{"Biases", Ling({{"use_bias", true}}), {"use_bias' is true"}},
        Refusal{"Tied", Ling({{"tie_word_embeddings", true}}), {"tie_word_embeddings' is true"}},
        Refusal{"Unknown", Ling({{"pregate_inference", true}}), {"pregate_inference'", "no such"}}),
    NameOf);

}  // namespace
}  // namespace folkmoot
