// SPDX-License-Identifier: Apache-2.0
// What config.json of Qwen4-Exp means, alone and below text_config, and what of it is refused
// (RefusalTest: model_config_errors_test.cc).
#include "layers/models/load_config.h"
#include "layers/models/model.h"
#include "layers/models/tensor_list.h"
#include "tests/layers/config/parsed_config.h"
#include "tests/layers/config/refusal.h"

namespace folkmoot {
namespace {

using nlohmann::json;

constexpr const char* kLinear = "linear_attention";
constexpr const char* kFull = "full_attention";

// Four layers, all that has no default, and n-grams; nulls stay.
json Text(const json& changes = json::object()) {
  json text = {{"model_type", "qwen4_exp_text"},
               {"num_hidden_layers", 4},
               {"layer_types", {kLinear, kLinear, kLinear, kFull}},
               {"indexer_n_heads", 32},
               {"indexer_kv_heads", 1},
               {"indexer_head_dim", 128},
               {"indexer_budget", 2048},
               {"indexer_compress_ratio", 4},
               {"ple_layer_ids", {2}},
               {"eos_token_id", {248046, 248044}},
               {"rope_parameters",
                {{"rope_type", "default"},
                 {"rope_theta", 1e7},
                 {"partial_rotary_factor", 0.25},
                 {"mrope_interleaved", true},
                 {"mrope_section", {11, 11, 10}}}},
               {"number_of_conv_states", 3}};
  text.update(changes);
  return text;
}

json Rope(const char* type, double partial) {
  return {{"rope_parameters",
           {{"rope_type", type},
            {"rope_theta", 1e4},
            {"factor", 2.0},
            {"partial_rotary_factor", partial}}}};
}

TEST(Qwen4Exp, KeysOfTheTextModel) {
  const ModelConfig config = Parsed(Text());
  ASSERT_EQ(config.layers.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(config.layers[i].mixer, i == 3 ? Mixer::kAttention : Mixer::kRecurrent);
    EXPECT_EQ(config.layers[i].indexer, i == 3);
    EXPECT_EQ(config.layers[i].ngrams, i == 1);
    EXPECT_TRUE(config.layers[i].moe);
  }
  EXPECT_EQ(config.indexer.most(), 2051);
  EXPECT_EQ(config.token_indexers(), 0);
  EXPECT_EQ(config.cache_numbers(), 2 * 2 * 256 + 128 / 4);
  EXPECT_EQ(config.recurrent.value_heads, 32);
  EXPECT_FALSE(config.recurrent.sigmoid_gate);
  EXPECT_EQ(config.hyper.streams, 4);
  EXPECT_EQ(config.hyper.gate_rank, 320);
  EXPECT_EQ(config.ngram_layers(), 1);
  EXPECT_EQ(config.ngrams.size, 3);
  EXPECT_EQ(config.ngrams.hashes(), 16);
  EXPECT_EQ(config.ngrams.width, 2048);
  EXPECT_EQ(config.ngrams.boundary, 248046);
  EXPECT_FALSE(config.input_norms);
  EXPECT_EQ(config.rope.partial_rotary_factor, 0.25);
  EXPECT_EQ(config.moe.experts, 512);
  EXPECT_TRUE(config.moe.norm_topk_prob);
  EXPECT_EQ(WhyCpuOnly(config), "linear attention");
  EXPECT_NE(WhyNotSpeculative(config), "");
  EXPECT_EQ(WhyNotTensorParallel(config), "");
}

TEST(Qwen4Exp, NamesOfLayersThatAttend) {
  for (const char* const name : {"indexed_attention", "qwen_sparse_attention"}) {
    const ModelConfig config = Parsed(Text({{"layer_types", {kLinear, kLinear, kLinear, name}}}));
    EXPECT_TRUE(config.layers[3].indexer) << name;
  }
}

TEST(Qwen4Exp, BelowTextConfig) {
  json text = Text({{"output_gate_type", "sigmoid"}, {"ple_layer_ids", nullptr}});
  text.erase("layer_types");
  text.erase("eos_token_id");
  const ModelConfig config = Parsed({{"model_type", "qwen4_exp"},
                                     {"text_config", text},
                                     {"vision_config", {{"depth", 27}}},
                                     {"image_token_id", 248056},
                                     {"eos_token_id", 248046}});
  EXPECT_EQ(config.architecture, "Qwen4ExpForConditionalGeneration");
  EXPECT_EQ(config.layers[3].mixer, Mixer::kAttention);  // every fourth
  EXPECT_TRUE(config.recurrent.sigmoid_gate);
  EXPECT_EQ(config.ngram_layers(), 0);
  EXPECT_EQ(config.eos_ids, std::vector<int32_t>{248046});
}

// What the convolution of n-grams saw, and two tokens, which take a line of memory.
TEST(Qwen4Exp, StateOfNgrams) {
  const int64_t without = StateBytesPerSequence(Parsed(Text({{"ple_layer_ids", nullptr}})));
  const int64_t with = StateBytesPerSequence(Parsed(Text()));
  EXPECT_EQ(with - without, 4 * (3 * 3 * 4 * 2048 + 16));
}

// Nobody rounds them, and no part is larger than another.
TEST(Qwen4Exp, TablesAreReadInParts) {
  const auto tensors = ListTensors(Parsed(Text()), nullptr);
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  int64_t parts = 0, rows = 0;
  for (const ListedTensor& tensor : *tensors) {
    if (tensor.name.find(".ngram_embedding.shard_") == std::string::npos) continue;
    EXPECT_TRUE(tensor.matrix && tensor.exact && tensor.values == 0) << tensor.name;
    EXPECT_EQ(tensor.shape[1], 128);
    ++parts;
    rows += tensor.shape[0];
  }
  EXPECT_EQ(parts, 512);
  EXPECT_EQ(rows % 128, 0);
  EXPECT_GT(rows, 16 * 20'000'000);
}

json WithEos(const json& own, const json& outer) {
  return {{"model_type", "qwen4_exp"},
          {"text_config", Text({{"eos_token_id", own}})},
          {"eos_token_id", outer}};
}

INSTANTIATE_TEST_SUITE_P(
    Qwen4Exp, RefusalTest,
    testing::Values(
        Refusal{"Kind",
                Text({{"layer_types", {kLinear, "conv", kLinear, kFull}}}),
                {"'layer_types'", "'conv'"}},
        Refusal{"NoAttention",
                Text({{"layer_types", {kLinear, kLinear, kLinear, kLinear}}}),
                {"'layer_types'", "at least one layer"}},
        Refusal{"NoIndexer",
                Text({{"indexer_n_heads", nullptr}}),
                {"'indexer_n_heads' is null", "indexer"}},
        Refusal{"Budget",
                Text({{"indexer_budget", 2050}}),
                {"'indexer_budget' is 2050", "indexer_compress_ratio = 4"}},
        Refusal{"KeyHeads", Text({{"indexer_kv_heads", 2}}), {"'indexer_kv_heads' is 2"}},
        Refusal{"Turning", Text(Rope("linear", 1.0)), {"'indexer_head_dim' is 128", "256"}},
        Refusal{"LengthsTurn", Text(Rope("dynamic", 0.25)), {"'rope_parameters'", "lengths"}},
        Refusal{"Gate", Text({{"output_gate_type", "gelu"}}), {"'output_gate_type' is \"gelu\""}},
        Refusal{"GateOfAct",
                Text({{"hidden_act", "gelu"}}),
                {"'output_gate_type' is missing", "hidden_act"}},
        Refusal{"OneStream", Text({{"hc_count", 1}}), {"'hc_count' is 1"}},
        Refusal{"NgramsAttend",
                Text({{"ple_layer_ids", {4}}}),
                {"'ple_layer_ids' is a list", "layer 4 attends"}},
        Refusal{"NgramsBehind", Text({{"ple_layer_ids", {5}}}), {"'ple_layer_ids'"}},
        Refusal{"NgramsFromZero", Text({{"ple_layer_ids", {0}}}), {"'ple_layer_ids'"}},
        Refusal{"Unigrams", Text({{"ngram_size", 1}}), {"'ngram_size' is 1"}},
        Refusal{"LongNgrams", Text({{"ngram_size", 17}}), {"'ngram_size' is 17"}},
        Refusal{"Hashes", Text({{"heads_per_ngram", 300}}), {"'heads_per_ngram' is 300", "512"}},
        Refusal{
            "NgramWidth", Text({{"ple_embed_dim", 100}}), {"'ple_embed_dim' is 100", "16 hashes"}},
        Refusal{"Pointwise", Text({{"ple_conv_kernel_size", 1}}), {"'ple_conv_kernel_size' is 1"}},
        Refusal{"NoEnd", Text({{"eos_token_id", nullptr}}), {"'eos_token_id' is null"}},
        Refusal{"TwoEnds", WithEos(248046, 248044), {"'text_config.eos_token_id'", "contradicts"}},
        Refusal{"HeadShare",
                Text({{"linear_num_value_heads", 24}}),
                {"'linear_num_value_heads' is 24", "16"}},
        Refusal{"OutputGate", Text({{"attn_output_gate", false}}), {"'attn_output_gate' is false"}},
        Refusal{"Window", Text({{"sliding_window", 8}}), {"'sliding_window' is 8"}}),
    NameOf);

}  // namespace
}  // namespace folkmoot
