// SPDX-License-Identifier: Apache-2.0
// dots3.note: which layers have a window, choose keys and have experts, the numbers of both kinds,
// and what of its config.json is refused (RefusalTest: model_config_errors_test.cc).
#include "tests/layers/config/parsed_config.h"
#include "tests/layers/config/refusal.h"

namespace folkmoot {
namespace {

using nlohmann::json;

// As published, in which the keys of the text stand in the file.
json Dots3(const json& changes = json::object()) {
  json keys = {{"architectures", {"Dots3NoteForCausalLM"}},
               {"model_type", "dots3_note"},
               {"num_hidden_layers", 6},
               {"vision_config", {{"embed_dim", 1536}}},
               {"audio_config", {{"encoder_type", "dots"}}},
               {"image_token_id", 151660}};
  keys.update(changes);
  return keys;
}

// As Transformers writes it.
json Saved(const json& changes = json::object()) {
  json text = {
      {"model_type", "dots3_note_text"},
      {"num_hidden_layers", 3},
      {"layer_types", {"full_attention", "sliding_attention", "sliding_attention"}},
      {"per_layer_config", {{"1", {{"kv_lora_rank", 1024}}}, {"2", {{"kv_lora_rank", 1024}}}}},
      {"head_dim", 192},
      {"rope_parameters",
       {{"full_attention", {{"rope_type", "default"}, {"rope_theta", 1e6}}},
        {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 1e4}}}}}};
  text.update(changes);
  return {{"model_type", "dots3_note"}, {"text_config", text}};
}

json Entries(const json& entries) { return Saved({{"per_layer_config", entries}}); }

TEST(Dots3Note, DefaultsAreThoseOfThePublishedModel) {
  const ModelConfig config = Parsed(Dots3());
  EXPECT_EQ(config.architecture, "Dots3NoteForCausalLM");
  EXPECT_EQ(Kinds(config), "R RM SRM SRM SRM RM");
  EXPECT_EQ(config.hidden, 5120);
  EXPECT_EQ(config.layers[2].sliding_window, 512);
  EXPECT_TRUE(config.layers[0].indexer && config.layers[5].indexer);
  EXPECT_FALSE(config.layers[2].indexer || config.layers[0].local_rope);
  EXPECT_EQ(config.indexer.heads, 64);
  EXPECT_EQ(config.rope.theta, 8e7);
  ASSERT_TRUE(config.local_rope && config.local_latent);
  EXPECT_EQ(config.local_rope->theta, 5e4);
  EXPECT_EQ(config.local_rope->dim, 64);
  EXPECT_EQ(config.heads_of(config.layers[2]), 64);
  EXPECT_EQ(config.cache_key_dim(config.layers[0]), 512 + 64);
  EXPECT_EQ(config.cache_key_dim(config.layers[2]), 1024 + 64);
  EXPECT_FLOAT_EQ(config.attention_multiplier, 0.0721687837f);  // 1 / sqrt(192)
  EXPECT_EQ(config.layers[2].score_scale, 1.0f / 16);
  EXPECT_FLOAT_EQ(config.latent.kv_scale, 3.16227766f);  // sqrt(5120 / 512)
  EXPECT_FLOAT_EQ(config.local_latent->kv_scale, 2.23606798f);
  EXPECT_EQ(config.latent.norm_eps, 1e-5f);
  EXPECT_EQ(config.moe.shared_intermediate, 1536);
  EXPECT_EQ(WhyCpuOnly(config), "latent attention");
  EXPECT_EQ(WhyNotSpeculative(config), "");
  EXPECT_EQ(WhyNotTensorParallel(config), "");
}

TEST(Dots3Note, KeysLeftOutsideOfTheTextAreNotRead) {
  json keys = Saved();
  keys.update({{"num_hidden_layers", 6}, {"moe_topk", 3}, {"softmax_type", "vanilla"}});
  EXPECT_EQ(Parsed(keys).layers.size(), 3u);
  keys["no_such_key"] = 1;
  const auto config = ParseModelConfig(keys.dump(), "config.json");
  ASSERT_FALSE(config.ok());
  EXPECT_NE(std::string(config.status().message()).find("'no_such_key' is 1"), std::string::npos);
}

TEST(Dots3Note, KindsOfLayers) {
  const auto chooses = [](const json& changes) {
    std::string text;
    for (const LayerConfig& layer : Parsed(Dots3(changes)).layers) {
      text += layer.sliding_window > 0 ? 'w' : layer.indexer ? 'i' : 'f';
    }
    return text;
  };
  EXPECT_EQ(chooses({{"use_sliding_window", false}}), "iiiiii");
  EXPECT_EQ(chooses({{"use_dsa", false}}), "ffwwwf");
  const auto listed = [](json changes, const char* kind) {
    changes["num_hidden_layers"] = 2;
    changes["layer_types"] = {kind, "sliding_attention"};
    return changes;
  };
  EXPECT_EQ(chooses(listed({}, "full_attention")), "iw");
  EXPECT_EQ(chooses(listed({{"use_dsa", nullptr}}, "full_attention")), "fw");
  EXPECT_EQ(chooses(listed({{"use_dsa", false}}, "indexed_attention")), "fw");
  EXPECT_EQ(chooses(listed({{"per_layer_config", nullptr}, {"head_dim", 192}}, "full_attention")),
            "fw");
}

TEST(Dots3Note, ReadsTheSavedKeys) {
  const ModelConfig config = Parsed(Saved());
  EXPECT_EQ(config.architecture, "Dots3NoteForConditionalGeneration");
  EXPECT_EQ(Kinds(config), "R SRM SRM");
  EXPECT_EQ(config.indexers(), 0);
  EXPECT_EQ(config.heads_of(config.layers[1]), 128);
  EXPECT_EQ(config.local_latent->kv_rank, 1024);
  EXPECT_EQ(config.local_latent->nope_dim, 128);
  EXPECT_EQ(config.rope.theta, 1e6);
  EXPECT_EQ(config.local_rope->theta, 1e4);
}

TEST(Dots3Note, Experts) {
  const ModelConfig config =
      Parsed(Dots3({{"moe_layer_freq", {1, 0, 1, 1, 0, 1}}, {"n_shared_experts", 2}}));
  EXPECT_EQ(Kinds(config), "R R SRM SRM SR RM");
  EXPECT_EQ(config.moe.shared_intermediate, 2 * 1536);
  EXPECT_EQ(Kinds(Parsed(Dots3({{"moe_layer_freq", 3}, {"first_k_dense_replace", 0}}))),
            "RM R SR SRM SR R");
  const GateConfig gate = GateOf(Parsed(Dots3({{"n_group", 8}, {"topk_group", 2}})));
  EXPECT_EQ(gate.score_fn, ScoreFn::kSigmoid);
  EXPECT_EQ(gate.n_group, 8);
}

INSTANTIATE_TEST_SUITE_P(
    Dots3Note, RefusalTest,
    ::testing::Values(
        Refusal{"NoRescale",
                Dots3({{"apply_mla_qkv_lora_rescale", false}}),
                {"'apply_mla_qkv_lora_rescale' is false", "true only"}},
        Refusal{"Gates",
                Dots3({{"swa_attention_gate_type", "elementwise"}}),
                {"'swa_attention_gate_type'", "\"headwise\" only"}},
        Refusal{"RopeScaling",
                Dots3({{"rope_scaling", {{"type", "linear"}, {"factor", 2.0}}}}),
                {"'rope_scaling'", "null only"}},
        Refusal{"NoQueryLatent", Dots3({{"q_lora_rank", nullptr}}), {"'q_lora_rank' is null"}},
        Refusal{"OddRotation", Dots3({{"qk_rope_head_dim", 63}}), {"'qk_rope_head_dim' is 63"}},
        Refusal{"OddWindowRotation",
                Dots3({{"swa_qk_rope_head_dim", 63}, {"swa_head_dim", 255}}),
                {"'swa_qk_rope_head_dim' is 63", "even"}},
        Refusal{"WindowHeadDim",
                Dots3({{"swa_head_dim", 200}, {"swa_qk_rope_head_dim", 64}}),
                {"'swa_head_dim' is 200", "qk_nope_head_dim = 192"}},
        Refusal{"WindowKeyHeads",
                Dots3({{"swa_num_key_value_heads", 8}}),
                {"'swa_num_key_value_heads' is 8", "num_attention_heads = 64"}},
        Refusal{"Windows",
                Dots3({{"sliding_window", 512}, {"sliding_window_size", 513}}),
                {"'sliding_window_size' is 513", "sliding_window = 512"}},
        Refusal{"NoWindow",
                Dots3({{"num_hidden_layers", 1},
                       {"use_sliding_window", false},
                       {"layer_types", {"sliding_attention"}}}),
                {"'use_sliding_window' is false", "layer 0"}},
        Refusal{"BothKinds",
                Dots3({{"num_hidden_layers", 2},
                       {"use_dsa", nullptr},
                       {"layer_types", {"full_attention", "indexed_attention"}}}),
                {"'layer_types'", "not both"}},
        Refusal{"KindBefore",
                Dots3({{"num_hidden_layers", 1}, {"layer_types", {"deepseek_sparse_attention"}}}),
                {"'layer_types'", "indexed_attention"}},
        Refusal{"SharedWidths",
                Dots3({{"shared_experts_intermediate_size", 8},
                       {"moe_shared_expert_intermediate_size", 9}}),
                {"'moe_shared_expert_intermediate_size' is 9", "= 8"}},
        Refusal{"NoSharedExpert", Dots3({{"n_shared_experts", 0}}), {"'n_shared_experts' is 0"}},
        Refusal{"Chosen", Dots3({{"moe_topk", 6}}), {"'moe_topk' is 6", "= 8"}},
        Refusal{"Frequency",
                Dots3({{"num_hidden_layers", 2},
                       {"mlp_layer_types", {"dense", "sparse"}},
                       {"moe_layer_freq", {0, 0}}}),
                {"'moe_layer_freq'", "mlp_layer_types at layer 1"}},
        Refusal{"Frequencies", Dots3({{"moe_layer_freq", {0, 1}}}), {"'moe_layer_freq'", "6"}},
        Refusal{"ThetaOfWindows",
                Saved({{"swa_rope_theta", 5e4}}),
                {"'text_config.swa_rope_theta' is 50000", "10000 of rope_parameters counts"}},
        Refusal{"FlatRotation",
                Dots3({{"rope_parameters", {{"rope_type", "default"}, {"rope_theta", 1e6}}}}),
                {"'rope_parameters'", "'rope_theta' is not a kind"}},
        Refusal{"NoRotationOfWindows",
                Saved({{"rope_parameters", {{"full_attention", {{"rope_theta", 1e6}}}}}}),
                {"'text_config.rope_parameters'", "an entry sliding_attention"}},
        Refusal{"BothForms",
                Saved({{"swa_v_head_dim", 64}}),
                {"'text_config.swa_v_head_dim' is 64", "per_layer_config decides"}},
        Refusal{"EntryOfNoLayer", Entries({{"3", json::object()}}), {"per_layer_config.3'", "2"}},
        Refusal{"EntryOfFull",
                Entries({{"0", {{"kv_lora_rank", 64}}}}),
                {"'text_config.per_layer_config'", "layer 0", "no window"}},
        Refusal{"EntriesDiffer",
                Entries({{"1", {{"kv_lora_rank", 64}}}}),
                {"'text_config.per_layer_config'", "layer 2 differs from others"}},
        Refusal{"EntryOfExperts",
                Entries({{"1", {{"moe_intermediate_size", 64}}}}),
                {"per_layer_config.1.moe_intermediate_size' is 64", "latent attention alone"}}),
    NameOf);

}  // namespace
}  // namespace folkmoot
