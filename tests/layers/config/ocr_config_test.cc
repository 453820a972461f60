// SPDX-License-Identifier: Apache-2.0
// What config.json of families that read pages means, and what of it is refused (RefusalTest:
// model_config_errors_test.cc).
#include "layers/models/load_config.h"
#include "layers/models/model.h"
#include "tests/layers/config/parsed_config.h"
#include "tests/layers/config/refusal.h"

namespace folkmoot {
namespace {

using nlohmann::json;

constexpr const char* kWindowed = "reference_sliding_attention";

json Pages(const json& changes = json::object(), const json& outside = json::object()) {
  json text = {{"num_hidden_layers", 2},
               {"num_experts_per_tok", 6},
               {"mlp_layer_types", {"dense", "sparse"}}};
  text.update(changes);
  json keys = {{"model_type", "deepseek_ocr2"}, {"text_config", text}};
  keys.update(outside);
  return keys;
}

json Unlimited(const json& changes = json::object(), const json& outside = json::object()) {
  json keys = {{"model_type", "unlimited_ocr"}, {"text_config", changes}};
  keys["text_config"]["num_hidden_layers"] = 3;
  keys.update(outside);
  return keys;
}

// The authors' text, and most of a file around it.
json Published(const char* architecture, const char* model_type) {
  json text = {{"bos_token_id", 0},
               {"eos_token_id", 1},
               {"first_k_dense_replace", 1},
               {"hidden_size", 1280},
               {"intermediate_size", 6848},
               {"kv_lora_rank", nullptr},
               {"lm_head", true},
               {"max_position_embeddings", 8192},
               {"moe_intermediate_size", 896},
               {"n_group", 1},
               {"n_routed_experts", 64},
               {"n_shared_experts", 2},
               {"num_attention_heads", 10},
               {"num_experts_per_tok", 6},
               {"num_hidden_layers", 12},
               {"num_key_value_heads", 10},
               {"q_lora_rank", nullptr},
               {"qk_nope_head_dim", 0},
               {"qk_rope_head_dim", 0},
               {"rm_head", false},
               {"topk_group", 1},
               {"topk_method", "greedy"},
               {"use_mla", false},
               {"v_head_dim", 128},
               {"vocab_size", 129280}};
  json keys = text;
  text["architectures"] = {"DeepseekV2ForCausalLM"};
  text["auto_map"] = {{"AutoConfig", "configuration_deepseekv2.DeepseekV2Config"}};
  text["torch_dtype"] = "bfloat16";
  keys.update({{"architectures", {architecture}},
               {"model_type", model_type},
               {"language_config", text},
               {"candidate_resolutions", {{1024, 1024}}},
               {"global_view_pos", "head"},
               {"tile_tag", "2D"},
               {"projector_config", {{"input_dim", 2048}}},
               {"vision_config", {{"image_size", 1024}}},
               {"_name_or_path", "somewhere"}});
  return keys;
}

TEST(DeepseekOcr2, ReadsTheAuthorsFile) {
  const ModelConfig config = Parsed(Published("DeepseekOCR2ForCausalLM", "deepseek_vl_v2"));
  EXPECT_EQ(config.architecture, "DeepseekOcr2ForConditionalGeneration");
  EXPECT_EQ(config.head_dim, 128);
  EXPECT_EQ(config.moe.shared_intermediate, 1792);
  EXPECT_EQ(config.dtype, DType::kBF16);
  EXPECT_EQ(config.eos_ids, std::vector<int32_t>{1});
  EXPECT_FALSE(config.layers[0].moe || config.rope.neighbours || config.windows_keep_prompt);
  EXPECT_TRUE(config.layers[1].moe);
  EXPECT_EQ(config.output_window(), 0);
  const GateConfig gate = GateOf(config);
  EXPECT_EQ(gate.normalize, Normalize::kNone);
  EXPECT_EQ(gate.top_k, 6);
  EXPECT_EQ(WhyCpuOnly(config), "a shared expert without a gate");
}

TEST(UnlimitedOcr, ReadsTheAuthorsFile) {
  json keys = Published("UnlimitedOCRForCausalLM", "unlimited-ocr");
  keys["language_config"]["sliding_window_size"] = 96;
  keys["sliding_window_size"] = 96;
  keys["sliding_window"] = 96;
  const ModelConfig config = Parsed(keys);
  EXPECT_EQ(config.architecture, "UnlimitedOcrForConditionalGeneration");
  EXPECT_EQ(config.max_positions, 8192);
  EXPECT_TRUE(config.windows_keep_prompt);
  EXPECT_EQ(config.output_window(), 96);
  EXPECT_EQ(Kinds(config), "SR SRM SRM SRM SRM SRM SRM SRM SRM SRM SRM SRM");
  EXPECT_EQ(WhyCpuOnly(config), "windows beside the prompt");
  EXPECT_EQ(WhyNotSpeculative(config), "");
  EXPECT_EQ(WhyNotTensorParallel(config), "");
  EXPECT_TRUE(PrefixCacheable(config, GateOf(config)));
}

TEST(UnlimitedOcr, HasTheDefaultsOfTransformers) {
  const ModelConfig config = Parsed(Unlimited());
  EXPECT_EQ(config.hidden, 1280);
  EXPECT_EQ(config.kv_heads, 10);
  EXPECT_EQ(config.vocab, 129280);
  EXPECT_EQ(config.moe.top_k, 6);
  EXPECT_EQ(config.moe.intermediate, 896);
  EXPECT_EQ(config.output_window(), 128);
  EXPECT_EQ(Kinds(config), "SR SRM SRM");
}

// As Transformers writes the authors' file again.
TEST(UnlimitedOcr, WhatIsLeftBesideTheTextIsNotRead) {
  const ModelConfig config = Parsed(Unlimited(
      json::object(), {{"hidden_size", 640}, {"sliding_window", 64}, {"use_mla", false}}));
  EXPECT_EQ(config.hidden, 1280);
  EXPECT_EQ(config.output_window(), 128);
}

TEST(UnlimitedOcr, LayersMaySeeAll) {
  const ModelConfig config = Parsed(Unlimited(
      {{"sliding_window", 7}, {"layer_types", {kWindowed, "full_attention", kWindowed}}}));
  EXPECT_EQ(Kinds(config), "SR RM SRM");
  EXPECT_EQ(config.output_window(), 7);
  const ModelConfig none = Parsed(Unlimited(
      {{"layer_types", json::array({"full_attention", "full_attention", "full_attention"})}}));
  EXPECT_EQ(none.output_window(), 0);
}

TEST(DeepseekOcr2, ReadsGroups) {
  const ModelConfig config =
      Parsed(Pages({{"topk_method", "group_limited_greedy"}, {"n_group", 8}, {"topk_group", 3}}));
  EXPECT_EQ(config.moe.groups, 8);
  EXPECT_EQ(GateOf(config).topk_group, 3);
  EXPECT_EQ(Parsed(Pages({{"n_group", 8}, {"topk_group", 3}})).moe.groups, 1) << "greedy";
}

json Without(json keys, const char* object, const char* key) {
  keys[object].erase(key);
  return keys;
}

json With(json keys, const char* key, const json& value) {
  keys[key] = value;
  return keys;
}

const json& Authors() {
  static const json keys = Published("UnlimitedOCRForCausalLM", "unlimited-ocr");
  return keys;
}

INSTANTIATE_TEST_SUITE_P(
    Ocr, RefusalTest,
    ::testing::Values(
        Refusal{"NoLayerKinds",
                Without(Pages(), "text_config", "mlp_layer_types"),
                {"text_config.mlp_layer_types'", "no default"}},
        Refusal{"NoTopK",
                Without(Pages(), "text_config", "num_experts_per_tok"),
                {"text_config.num_experts_per_tok'", "no default"}},
        Refusal{"OtherHeads", Pages({{"head_dim", 64}}), {"text_config.head_dim' is 64"}},
        Refusal{"OtherValues", Pages({{"v_head_dim", 64}}), {"v_head_dim' is 64", "128"}},
        Refusal{"Latents", Pages({{"use_mla", true}}), {"use_mla' is true", "false only"}},
        Refusal{"LatentRank", Pages({{"kv_lora_rank", 512}}), {"kv_lora_rank' is 512"}},
        Refusal{"Method", Pages({{"topk_method", "noaux_tc"}}), {"topk_method'", "greedy"}},
        Refusal{"Sigmoids", Pages({{"scoring_func", "sigmoid"}}), {"scoring_func'"}},
        Refusal{"AWindowOfPages", Pages({{"sliding_window", 128}}), {"sliding_window' is 128"}},
        Refusal{"SlidingPages",
                Pages({{"layer_types", {"sliding_attention", "full_attention"}}}),
                {"layer_types'"}},
        Refusal{"BothTexts",
                Pages(json::object(), {{"language_config", json::object()}}),
                {"'language_config'", "no such key"}},
        Refusal{"NoWindow", Unlimited({{"sliding_window", nullptr}}), {"sliding_window' is null"}},
        Refusal{"EmptyWindow", Unlimited({{"sliding_window", 0}}), {"sliding_window' is 0"}},
        Refusal{"TwoSizes",
                Unlimited({{"sliding_window_size", 64}}),
                {"sliding_window_size' is 64", "sliding_window = 128"}},
        Refusal{"UsualWindows",
                Unlimited({{"layer_types", {kWindowed, "sliding_attention", kWindowed}}}),
                {"layer_types'", "entry 1 is 'sliding_attention'"}},
        Refusal{"WindowTwice",
                With(With(Authors(), "sliding_window", 96), "language_config",
                     With(Authors()["language_config"], "sliding_window", 95)),
                {"'sliding_window' is 96", "that of language_config"}},
        Refusal{"AuthorsTextIsAnObject",
                With(Authors(), "language_config", json::array({1})),
                {"'language_config'", "object"}},
        Refusal{
            "AuthorsUnknownKey",
            With(Authors(), "language_config", With(Authors()["language_config"], "wide", true)),
            {"'language_config.wide'", "no such key"}}),
    NameOf);

}  // namespace
}  // namespace folkmoot
