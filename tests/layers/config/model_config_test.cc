// SPDX-License-Identifier: Apache-2.0
// What ParseModelConfig accepts, against the modules that Transformers builds from the same
// config.json (tools/make_config_goldens.py).
#include "layers/models/load_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "runtime/quant/weight_format.h"

namespace folkmoot {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
namespace fs = std::filesystem;

json ReadJson(const fs::path& path) {
  std::ifstream file(path);
  return json::parse(file);
}

ModelConfig Parse(const json& config) {
  auto parsed = ParseModelConfig(config.dump(), "config.json");
  EXPECT_TRUE(parsed.ok()) << Message(parsed.status());
  return parsed.ok() ? *parsed : ModelConfig();
}

void ExpectMoe(const ModelConfig& config, const json& expected) {
  if (expected.is_null()) {
    EXPECT_EQ(config.moe.experts, 0);
    return;
  }
  EXPECT_EQ(config.moe.experts, expected["experts"]);
  EXPECT_EQ(config.moe.top_k, expected["top_k"]);
  EXPECT_EQ(config.moe.intermediate, expected["intermediate"]);
  EXPECT_EQ(config.moe.norm_topk_prob, expected["norm_topk_prob"]);
  EXPECT_EQ(config.moe.shared_intermediate, expected["shared_intermediate"]);
}

void ExpectLayers(const ModelConfig& config, const json& expected) {
  ASSERT_EQ(config.layers.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(config.layers[i].moe, expected[i]["moe"]) << "layer " << i;
    EXPECT_EQ(config.layers[i].sliding_window, expected[i]["sliding_window"]) << "layer " << i;
  }
}

TEST(ModelConfig, ErnieOfTextAndPictures) {
  const auto config = ParseModelConfig(
      R"({"model_type": "ernie4_5_vl_moe", "text_config": {"moe_intermediate_size": [1280, 640]}})",
      "config.json");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->moe.intermediate, 1280);
  EXPECT_EQ(config->moe.shared_intermediate, 2 * 1280);
  EXPECT_FALSE(config->layers[0].moe);
  EXPECT_TRUE(config->layers[1].moe && config->rope.neighbours);
}

TEST(ModelConfig, AgreesWithTransformers) {
  const json goldens = ReadJson(FOLKMOOT_TEST_DATA "/config/config_goldens.json");
  ASSERT_GE(goldens["cases"].size(), 27u);
  for (const json& golden : goldens["cases"]) {
    SCOPED_TRACE(golden["config"].dump());
    const json& expected = golden["expected"];
    const ModelConfig config = Parse(golden["config"]);
    EXPECT_EQ(config.architecture, expected["architecture"]);
    EXPECT_EQ(config.model_type, golden["config"]["model_type"]);
    EXPECT_EQ(config.hidden, expected["hidden"]);
    EXPECT_EQ(config.vocab, expected["vocab"]);
    EXPECT_EQ(config.heads, expected["heads"]);
    EXPECT_EQ(config.kv_heads, expected["kv_heads"]);
    EXPECT_EQ(config.head_dim, expected["head_dim"]);
    EXPECT_EQ(config.max_positions, expected["max_positions"]);
    EXPECT_EQ(config.rms_norm_eps, expected["rms_norm_eps"].get<float>());
    EXPECT_EQ(config.rope.theta, expected["rope_theta"]);
    EXPECT_EQ(config.qkv_bias, expected["qkv_bias"]);
    EXPECT_EQ(config.output_bias, expected["output_bias"]);
    EXPECT_EQ(config.mlp_bias, expected["mlp_bias"]);
    EXPECT_EQ(config.qk_norm != QkNormKind::kNone, expected["qk_norm"]);
    EXPECT_EQ(config.tied_embeddings, expected["tied_embeddings"]);
    EXPECT_EQ(config.eos_ids, expected["eos"].get<std::vector<int32_t>>());
    ExpectLayers(config, expected["layers"]);
    ExpectMoe(config, expected["moe"]);
  }
}

TEST(ModelConfig, ReadsEveryGoldenCheckpoint) {
  int count = 0;
  for (const auto& entry : fs::directory_iterator(FOLKMOOT_TEST_DATA "/goldens")) {
    if (!fs::exists(entry.path() / "config.json")) continue;
    const auto config = LoadModelConfig(entry.path().string());
    EXPECT_TRUE(config.ok()) << Message(config.status());
    ++count;
  }
  EXPECT_GE(count, 26);
}

TEST(ModelConfig, ArchitectureFromEitherKey) {
  EXPECT_EQ(Parse({{"architectures", {"Qwen3ForCausalLM"}}}).model_type, "qwen3");
  EXPECT_EQ(Parse({{"model_type", "mixtral"}}).architecture, "MixtralForCausalLM");
  // Only the first architecture counts.
  EXPECT_EQ(Parse({{"architectures", {"LlamaForCausalLM", "Other"}}}).model_type, "llama");
}

// Files of gpt-oss say little that is not the default; without a rope object YaRN is meant.
TEST(ModelConfig, DefaultsOfGptOss) {
  const ModelConfig config = Parse({{"model_type", "gpt_oss"}, {"num_hidden_layers", 2}});
  EXPECT_EQ(config.heads * config.head_dim, 4096);
  EXPECT_TRUE(config.qkv_bias && config.output_bias && config.sinks());
  EXPECT_TRUE(config.moe.router_bias && config.moe.expert_bias);
  EXPECT_EQ(config.activation, Activation::kClampedSwiglu);
  EXPECT_EQ(config.swiglu_limit, 7.0f);
  EXPECT_EQ(Parse({{"model_type", "gpt_oss"}, {"swiglu_limit", 5.5}}).swiglu_limit, 5.5f);
  EXPECT_EQ(config.layers[0].sliding_window, 128);
  EXPECT_EQ(config.layers[1].sliding_window, 0);
  EXPECT_EQ(config.rope.type, RopeType::kYarn);
  EXPECT_EQ(config.rope.theta, 150000);
  EXPECT_EQ(config.rope.factor, 32);
  EXPECT_EQ(config.rope.original_max_positions, 4096);
  EXPECT_FALSE(config.rope.truncate);
  const ModelConfig own =
      Parse({{"model_type", "gpt_oss"}, {"rope_scaling", {{"rope_type", "yarn"}, {"factor", 8}}}});
  EXPECT_TRUE(own.rope.truncate);  // an object of its own has the usual defaults
  EXPECT_EQ(own.rope.original_max_positions, 131072);
}

TEST(ModelConfig, DefaultsOfPhimoe) {
  const ModelConfig config = Parse({{"architectures", {"PhimoeForCausalLM"}}});
  EXPECT_EQ(config.architecture, "PhiMoEForCausalLM");
  EXPECT_EQ(config.norm, NormKind::kLayer);
  EXPECT_TRUE(config.norm_bias);
  EXPECT_FALSE(config.qkv_bias || config.output_bias || config.head_bias);
  EXPECT_EQ(config.moe.mixer_eps, 0.01);
  EXPECT_EQ(config.rope.theta, 1e6);
  const ModelConfig quiet = Parse({{"model_type", "phimoe"},
                                   {"router_jitter_noise", 0},
                                   {"original_max_position_embeddings", 64}});
  EXPECT_EQ(quiet.moe.mixer_eps, 0.0);
}

TEST(ModelConfig, Activations) {
  const auto activation = [](const char* name) {
    return Parse({{"model_type", "llama"}, {"hidden_act", name}}).activation;
  };
  EXPECT_EQ(activation("silu"), Activation::kSilu);
  EXPECT_EQ(activation("swish"), Activation::kSilu);
  EXPECT_EQ(activation("gelu"), Activation::kGelu);
  EXPECT_EQ(activation("gelu_pytorch_tanh"), Activation::kGeluTanh);
  EXPECT_EQ(activation("gelu_new"), Activation::kGeluTanh);
  EXPECT_EQ(activation("relu"), Activation::kRelu);
}

TEST(ModelConfig, DType) {
  const auto dtype = [](json keys) {
    keys["model_type"] = "llama";
    return Parse(keys).dtype;
  };
  EXPECT_EQ(dtype({}), DType::kF32);
  EXPECT_EQ(dtype({{"torch_dtype", "bfloat16"}}), DType::kBF16);
  EXPECT_EQ(dtype({{"dtype", "torch.float16"}}), DType::kF16);
  EXPECT_EQ(dtype({{"dtype", "float16"}, {"torch_dtype", "bfloat16"}}), DType::kF16);
  EXPECT_EQ(dtype({{"dtype", nullptr}, {"torch_dtype", "bfloat16"}}), DType::kBF16);
}

TEST(ModelConfig, HarmlessAndNeutralKeysAreAccepted) {
  EXPECT_EQ(Parse({{"model_type", "llama"},
                   {"attention_dropout", 0.1},
                   {"transformers_version", "4.40.0"},
                   {"transformers.js_config", {{"dtype", "q4"}}},
                   {"use_cache", false},
                   {"sliding_window", nullptr},
                   {"quantization_config", nullptr},
                   {"partial_rotary_factor", 1.0},
                   {"logits_scaling", 1},
                   {"rope_interleaved", false}})
                .hidden,
            4096);
}

TEST(ModelConfig, WeightFormat) {
  EXPECT_EQ(Parse({{"model_type", "llama"}}).weight_format, nullptr);
  const ModelConfig config =
      Parse({{"model_type", "llama"},
             {"quantization_config", {{"quant_method", "awq"}, {"group_size", 64}}}});
  ASSERT_NE(config.weight_format, nullptr);
  EXPECT_EQ(config.weight_format->description(), "AWQ, int4 in groups of 64");
}

// ModelOpt's file counts where config.json says nothing.
TEST(ModelConfig, WeightFormatBesideConfigJson) {
  const fs::path directory = fs::path(::testing::TempDir()) / "weight_format_test";
  fs::create_directories(directory);
  const auto load = [&](const json& config, const std::string& beside) {
    std::ofstream(directory / "config.json") << config;
    std::ofstream(directory / "hf_quant_config.json") << beside;
    return LoadModelConfig(directory.string());
  };
  const json beside = {{"producer", {{"name", "modelopt"}}},
                       {"quantization", {{"quant_algo", "NVFP4"}, {"group_size", 16}}}};
  const json plain = {{"model_type", "llama"}};
  EXPECT_EQ(load(plain, beside.dump())->weight_format->description(), "NVFP4");
  const json awq = {{"model_type", "llama"},
                    {"quantization_config", {{"quant_method", "awq"}, {"group_size", 64}}}};
  EXPECT_EQ(load(awq, beside.dump())->weight_format->description(), "AWQ, int4 in groups of 64");
  EXPECT_THAT(std::string(Message(load(plain, "{}").status())),
              ::testing::HasSubstr("hf_quant_config.json: key 'producer' is missing"));
  EXPECT_THAT(std::string(Message(load(plain, "{").status())),
              ::testing::HasSubstr("hf_quant_config.json"));
  fs::remove_all(directory);
}

TEST(ModelConfig, LayerTypesMayRepeatTheFamilysRule) {
  const ModelConfig config = Parse({{"model_type", "mixtral"},
                                    {"num_hidden_layers", 2},
                                    {"sliding_window", 9},
                                    {"layer_types", {"sliding_attention", "sliding_attention"}}});
  EXPECT_EQ(config.layers[1].sliding_window, 9);
}

TEST(ModelConfig, RopeFromOldAndNewStyle) {
  const ModelConfig old_style =
      Parse({{"model_type", "llama"},
             {"rope_theta", 500},
             {"rope_scaling", {{"type", "linear"}, {"rope_type", "linear"}, {"factor", 2}}}});
  EXPECT_EQ(old_style.rope.type, RopeType::kLinear);
  EXPECT_EQ(old_style.rope.theta, 500.0);
  const ModelConfig new_style =
      Parse({{"model_type", "llama"},
             {"rope_parameters", {{"rope_type", "dynamic"}, {"rope_theta", 7.5}, {"factor", 4}}}});
  EXPECT_EQ(new_style.rope.type, RopeType::kDynamic);
  EXPECT_EQ(new_style.rope.theta, 7.5);
  EXPECT_EQ(new_style.rope.factor, 4.0);
  const json same = {{"rope_type", "linear"}, {"factor", 2}};
  EXPECT_EQ(Parse({{"model_type", "llama"}, {"rope_scaling", same}, {"rope_parameters", same}})
                .rope.factor,
            2.0);
  EXPECT_EQ(Parse({{"model_type", "llama"}, {"rope_scaling", json::object()}}).rope.type,
            RopeType::kDefault);
}

class EosTest : public ::testing::Test {
 protected:
  EosTest() : directory_(fs::path(::testing::TempDir()) / "eos_test") {
    fs::remove_all(directory_);
    fs::create_directories(directory_);
  }
  ~EosTest() override { fs::remove_all(directory_); }

  std::vector<int32_t> Load(const json& config, const json& generation) const {
    std::ofstream(directory_ / "config.json") << config;
    std::ofstream(directory_ / "generation_config.json") << generation;
    const auto loaded = LoadModelConfig(directory_.string());
    EXPECT_TRUE(loaded.ok()) << Message(loaded.status());
    return loaded.ok() ? loaded->eos_ids : std::vector<int32_t>{-1};
  }

  fs::path directory_;
};

TEST_F(EosTest, IdListOrNull) {
  EXPECT_THAT(Load({{"model_type", "qwen2"}, {"eos_token_id", 7}}, json::object()), ElementsAre(7));
  EXPECT_THAT(Load({{"model_type", "qwen2"}, {"eos_token_id", {7, 8}}}, json::object()),
              ElementsAre(7, 8));
  EXPECT_THAT(Load({{"model_type", "llama"}, {"eos_token_id", nullptr}}, json::object()),
              IsEmpty());
}

TEST_F(EosTest, GenerationConfigGoesFirst) {
  const json config = {{"model_type", "qwen2"}, {"eos_token_id", 7}};
  EXPECT_THAT(Load(config, {{"eos_token_id", {1, 2}}}), ElementsAre(1, 2));
  EXPECT_THAT(Load(config, {{"eos_token_id", nullptr}}), ElementsAre(7));
  EXPECT_THAT(Load(config, {{"temperature", 0.7}}), ElementsAre(7));
  EXPECT_THAT(Load({{"model_type", "qwen2"}}, {{"eos_token_id", 3}}), ElementsAre(3));
}

TEST(ModelConfig, Llama4) {
  const ModelConfig scout = Parse({{"model_type", "llama4"},
                                   {"torch_dtype", "bfloat16"},
                                   {"vision_config", {{"hidden_size", 1408}}},
                                   {"text_config", {{"num_hidden_layers", 8}}}});
  EXPECT_EQ(scout.architecture, "Llama4ForConditionalGeneration");
  EXPECT_EQ(scout.dtype, DType::kBF16);
  EXPECT_EQ(scout.moe.shared_intermediate, 8192);
  EXPECT_EQ(scout.intermediate, 16384);
  EXPECT_EQ(scout.temperature.floor, 8192.0f);
  for (size_t i = 0; i < 8; ++i) {
    EXPECT_TRUE(scout.layers[i].moe);
    EXPECT_EQ(scout.layers[i].rope, i != 3 && i != 7);
    EXPECT_EQ(scout.layers[i].chunk, scout.layers[i].rope ? 8192 : 0);
  }
  const auto text = [](json keys) {
    keys["model_type"] = "llama4_text";
    return Parse(keys);
  };
  EXPECT_FALSE(text({{"moe_layers", json::array()}}).layers[0].moe);
  EXPECT_EQ(text({{"attention_chunk_size", nullptr}}).layers[0].chunk, 0);
  // As old files have it.
  EXPECT_GT(text({{"attn_temperature_tuning", 4}}).temperature.scale, 0.0f);
  EXPECT_EQ(text({{"attn_temperature_tuning", 0}}).temperature.scale, 0.0f);
}

TEST(ModelConfig, Hunyuan) {
  const ModelConfig config =
      Parse({{"model_type", "hunyuan_v1_moe"},
             {"num_hidden_layers", 3},
             {"num_experts", 8},
             {"moe_topk", {1, 4, 2}},
             {"attention_head_dim", 96},
             {"rope_scaling", {{"type", "dynamic"}, {"factor", 1.0}, {"alpha", 1000.0}}}});
  EXPECT_EQ(config.head_dim, 96);
  EXPECT_EQ(config.moe.top_k, 4);
  for (const auto& [layer, choices] : {std::pair(0, 1), {1, 4}, {2, 2}}) {
    EXPECT_EQ(config.top_k(config.layers[static_cast<size_t>(layer)]), choices);
  }
  // The same at every length.
  EXPECT_EQ(config.rope.type, RopeType::kDefault);
  EXPECT_DOUBLE_EQ(config.rope.theta, 1e4 * std::pow(1000.0, 96.0 / 94.0));
}

TEST(ModelConfig, HybridLayers) {
  const auto linear = [](const ModelConfig& config) {
    std::string layers;
    for (const LayerConfig& layer : config.layers)
      layers += layer.mixer == Mixer::kRecurrent ? 'L' : 'F';
    return layers;
  };
  ModelConfig config = Parse({{"model_type", "qwen3_next"}, {"num_hidden_layers", 9}});
  EXPECT_EQ(linear(config), "LLLFLLLFL");
  EXPECT_EQ(config.recurrent_layers(), 7);
  EXPECT_EQ(config.cache_layers(), 2);
  EXPECT_EQ(config.place_in_kind(7), 1);  // among layers with keys and values
  EXPECT_EQ(config.place_in_kind(8), 6);  // among those with a state
  EXPECT_EQ(config.recurrent.value_heads, 32);
  EXPECT_EQ(config.recurrent.key_heads, 16);
  EXPECT_EQ(config.recurrent.kernel, 4);
  EXPECT_EQ(config.norm, NormKind::kRmsPlusOne);
  EXPECT_EQ(config.attention_gate, AttentionGate::kBehindQueries);
  EXPECT_DOUBLE_EQ(config.rope.partial_rotary_factor, 0.25);
  EXPECT_TRUE(config.moe.norm_topk_prob);
  // layer_types decides where both are given, as in released files of Qwen3.5.
  const char* const full = "full_attention";
  const char* const other = "linear_attention";
  config = Parse({{"model_type", "qwen3_5"},
                  {"text_config",
                   {{"num_hidden_layers", 3},
                    {"full_attention_interval", 4},
                    {"layer_types", {full, other, full}}}}});
  EXPECT_EQ(linear(config), "FLF");
  EXPECT_DOUBLE_EQ(config.rope.partial_rotary_factor, 0.25);
  EXPECT_EQ(config.moe.experts, 0);
}

TEST(ModelConfig, Dbrx) {
  const ModelConfig config =
      Parse({{"model_type", "dbrx"},
             {"d_model", 64},
             {"num_attention_heads", 4},
             {"attn_config",
              {{"kv_n_heads", 2}, {"rope_theta", 5e5}, {"top_p", 1.0}, {"architectures", nullptr}}},
             {"ffn_config", {{"moe_normalize_expert_weights", 1}}}});
  EXPECT_EQ(config.hidden, 64);
  EXPECT_EQ(config.heads, 4);
  EXPECT_EQ(config.head_dim, 16);
  EXPECT_EQ(config.kv_heads, 2);
  EXPECT_EQ(config.rope.theta, 5e5);
  EXPECT_EQ(config.clip_qkv, 0.0f);
  EXPECT_TRUE(config.moe.norm_topk_prob);
}

TEST(ModelConfig, KnowsItsArchitectures) {
  const std::vector<std::string> known = KnownArchitectures();
  EXPECT_TRUE(std::is_sorted(known.begin(), known.end()));
  EXPECT_EQ(std::set<std::string>(known.begin(), known.end()).size(), known.size());
  EXPECT_THAT(known, testing::Contains("MixtralForCausalLM"));
}

}  // namespace
}  // namespace folkmoot
