// SPDX-License-Identifier: Apache-2.0
// The configuration of GGUF files: equal to that of the config.json they were made from, and
// refused by key.
#include "runtime/model_config_gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "layers/models/load_config.h"
#include "runtime/checkpoint/gguf_model.h"
#include "tests/runtime/checkpoint/gguf_bytes.h"

namespace folkmoot {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

absl::StatusOr<ModelConfig> ConfigOf(const GgufBytes& file) {
  const fs::path path =
      fs::path(::testing::TempDir()) /
      fmt::format("{}.gguf", ::testing::UnitTest::GetInstance()->current_test_info()->name());
  std::ofstream(path, std::ios::binary) << file.Bytes();
  const auto config = LoadModelConfig(path.string());
  fs::remove(path);
  return config;
}

std::string ErrorOf(const GgufBytes& file) {
  const auto config = ConfigOf(file);
  EXPECT_FALSE(config.ok());
  return config.ok() ? "" : std::string(Message(config.status()));
}

GgufBytes Llama() { return LlamaKeys().F32("token_embd.weight", {8, 20}); }

class SameConfig : public testing::TestWithParam<std::string> {};

TEST_P(SameConfig, AsTheDirectory) {
  const std::string data = FOLKMOOT_TEST_DATA;
  const auto gguf = LoadModelConfig(data + "/gguf/" + GetParam() + ".gguf");
  ASSERT_TRUE(gguf.ok()) << gguf.status();
  const auto directory = LoadModelConfig(data + "/goldens/" + GetParam());
  ASSERT_TRUE(directory.ok()) << directory.status();
  EXPECT_EQ(gguf->architecture, directory->architecture);
  EXPECT_EQ(gguf->model_type, directory->model_type);
  EXPECT_EQ(gguf->hidden, directory->hidden);
  EXPECT_EQ(gguf->heads, directory->heads);
  EXPECT_EQ(gguf->kv_heads, directory->kv_heads);
  EXPECT_EQ(gguf->head_dim, directory->head_dim);
  EXPECT_EQ(gguf->vocab, directory->vocab);
  EXPECT_EQ(gguf->max_positions, directory->max_positions);
  EXPECT_EQ(gguf->intermediate, directory->intermediate);
  EXPECT_EQ(gguf->rms_norm_eps, directory->rms_norm_eps);
  EXPECT_EQ(gguf->activation, directory->activation);
  EXPECT_EQ(gguf->tied_embeddings, directory->tied_embeddings);
  EXPECT_EQ(gguf->qkv_bias, directory->qkv_bias);
  EXPECT_EQ(gguf->output_bias, directory->output_bias);
  EXPECT_EQ(gguf->mlp_bias, directory->mlp_bias);
  EXPECT_EQ(gguf->qk_norm, directory->qk_norm);
  EXPECT_EQ(gguf->rope.theta, directory->rope.theta);
  if (directory->rope.type == RopeType::kLlama3) {
    EXPECT_EQ(gguf->rope.type, RopeType::kDefault);
    EXPECT_EQ(static_cast<int64_t>(gguf->rope.divisors.size()), gguf->head_dim / 2);
  } else {
    EXPECT_EQ(gguf->rope.type, directory->rope.type);
    EXPECT_EQ(gguf->rope.factor, directory->rope.factor);
    EXPECT_EQ(gguf->rope.original_max_positions, directory->rope.original_max_positions);
    EXPECT_EQ(gguf->rope.beta_fast, directory->rope.beta_fast);
    EXPECT_EQ(gguf->rope.attention_factor, directory->rope.attention_factor);
  }
  ASSERT_EQ(gguf->layers.size(), directory->layers.size());
  for (size_t i = 0; i < gguf->layers.size(); ++i) {
    EXPECT_EQ(gguf->layers[i].moe, directory->layers[i].moe);
    EXPECT_EQ(gguf->layers[i].sliding_window, directory->layers[i].sliding_window);
  }
  EXPECT_EQ(gguf->moe.experts, directory->moe.experts);
  EXPECT_EQ(gguf->moe.top_k, directory->moe.top_k);
  EXPECT_EQ(gguf->moe.norm_topk_prob, directory->moe.norm_topk_prob);
  EXPECT_EQ(gguf->moe.intermediate, directory->moe.intermediate);
  EXPECT_EQ(gguf->moe.shared_intermediate, directory->moe.shared_intermediate);
}

INSTANTIATE_TEST_SUITE_P(Goldens, SameConfig,
                         testing::Values("llama-classic", "llama-llama3", "mixtral-classic",
                                         "olmoe-classic", "mixtral-window", "qwen2-classic",
                                         "qwen2_moe-classic", "qwen3-classic", "qwen3_moe-classic"),
                         [](const auto& param) {
                           std::string name = param.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(GgufConfig, ReadsWhatOnlyGgufSays) {
  const auto config = ConfigOf(Llama()
                                   .Int("llama.attention.sliding_window", 16)
                                   .Float("llama.rope.scale_linear", 4.0f)
                                   .Float("llama.logit_scale", 0.0f)
                                   .Bool("llama.attention.causal", true)
                                   .Int("tokenizer.ggml.eos_token_id", 2)
                                   .Int("tokenizer.ggml.eot_token_id", 7)
                                   .Int("tokenizer.ggml.eom_token_id", 4294967295u));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->layers[0].sliding_window, 16);
  EXPECT_EQ(config->rope.type, RopeType::kLinear);
  EXPECT_EQ(config->rope.factor, 4.0);
  EXPECT_THAT(config->eos_ids, testing::ElementsAre(2, 7));
  EXPECT_EQ(config->head_dim, 4);
  EXPECT_TRUE(config->tied_embeddings);
}

TEST(GgufConfig, RefusesByKey) {
  EXPECT_THAT(ErrorOf(LlamaKeys()), HasSubstr("'token_embd.weight'"));
  EXPECT_THAT(ErrorOf(Llama().Float("llama.attn_logit_softcapping", 30.0f)),
              AllOf(HasSubstr("'llama.attn_logit_softcapping' is 30"), HasSubstr("not supported")));
  EXPECT_THAT(ErrorOf(Llama().Bool("llama.attention.causal", false)),
              HasSubstr("'llama.attention.causal' is false"));
  EXPECT_THAT(ErrorOf(Llama().Int("llama.expert_gating_func", 2)),
              HasSubstr("'llama.expert_gating_func' is 2"));
  EXPECT_THAT(ErrorOf(Llama().Int("llama.new_trick", 1)),
              AllOf(HasSubstr("'llama.new_trick'"), HasSubstr("not known")));
  EXPECT_THAT(ErrorOf(Llama().String("llama.rope.scaling.type", "longrope")),
              HasSubstr("'llama.rope.scaling.type' is \"longrope\""));
  EXPECT_THAT(ErrorOf(Llama().Int("llama.attention.head_count_kv", 3)),
              HasSubstr("'llama.attention.head_count_kv' is 3"));
  EXPECT_THAT(ErrorOf(Llama().Int("llama.rope.dimension_count", 2)),
              HasSubstr("'llama.rope.dimension_count' is 2"));
  EXPECT_THAT(ErrorOf(Llama().Int("llama.attention.key_length", 5)),
              HasSubstr("'llama.attention.key_length' is 5"));
  EXPECT_THAT(ErrorOf(Llama().Int("llama.vocab_size", 21)),
              AllOf(HasSubstr("'llama.vocab_size' is 21"), HasSubstr("20 rows")));
  EXPECT_THAT(ErrorOf(Llama().Int("tokenizer.ggml.eos_token_id", 20)),
              HasSubstr("'tokenizer.ggml.eos_token_id' is 20"));
  EXPECT_THAT(ErrorOf(Llama().Int("llama.expert_count", 4)),
              HasSubstr("'llama.expert_used_count' is missing"));
  EXPECT_THAT(ErrorOf(Llama().F32("rope_freqs.weight", {2}, 0.0f)),
              HasSubstr("'rope_freqs.weight'"));
  EXPECT_THAT(ErrorOf(Llama().F32("rope_freqs.weight", {3}, 1.0f)),
              HasSubstr("'rope_freqs.weight'"));
  GgufBytes heads;
  heads.String("general.architecture", "llama").Ints("llama.attention.head_count", {2, 4});
  heads.Int("llama.embedding_length", 8).Int("llama.feed_forward_length", 8);
  heads.Int("llama.block_count", 2).Int("llama.context_length", 8);
  heads.F32("token_embd.weight", {8, 20});
  EXPECT_THAT(ErrorOf(heads), HasSubstr("'llama.attention.head_count' is an array"));
  GgufBytes dense;
  dense.String("general.architecture", "qwen3moe").F32("token_embd.weight", {8, 20});
  EXPECT_THAT(ErrorOf(dense), HasSubstr("'qwen3moe.embedding_length' is missing"));
}

}  // namespace
}  // namespace folkmoot
