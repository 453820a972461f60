// SPDX-License-Identifier: Apache-2.0
// GGUF files as checkpoints: which file is meant, names of tensors, and what is refused.
#include "runtime/checkpoint/gguf_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "runtime/checkpoint/checkpoint.h"
#include "tests/runtime/checkpoint/gguf_bytes.h"

namespace folkmoot {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

class GgufModelTest : public ::testing::Test {
 protected:
  GgufModelTest()
      : directory_(fs::path(::testing::TempDir()) /
                   (std::string("gguf_") +
                    ::testing::UnitTest::GetInstance()->current_test_info()->name())) {
    fs::remove_all(directory_);
    fs::create_directories(directory_);
  }
  ~GgufModelTest() override { fs::remove_all(directory_); }

  std::string Write(const GgufBytes& file, const std::string& name = "m.gguf") const {
    const std::string path = (directory_ / name).string();
    std::ofstream(path, std::ios::binary) << file.Bytes();
    return path;
  }
  std::string OpenError(const GgufBytes& file) const {
    const auto opened = Checkpoint::Open(Write(file));
    EXPECT_FALSE(opened.ok());
    return opened.ok() ? "" : std::string(Message(opened.status()));
  }

  fs::path directory_;
};

TEST_F(GgufModelTest, ADirectoryWithOneFileStandsForIt) {
  const std::string path = Write(LlamaKeys());
  EXPECT_EQ(FindGguf(path).value(), path);
  EXPECT_EQ(FindGguf(directory_.string()).value(), path);
  Write(LlamaKeys(), "n.gguf");
  EXPECT_THAT(std::string(Message(FindGguf(directory_.string()).status())),
              AllOf(HasSubstr("2 GGUF files"), HasSubstr("m.gguf"), HasSubstr("n.gguf")));
  std::ofstream(directory_ / "config.json") << "{}";
  EXPECT_EQ(FindGguf(directory_.string()).value(), std::nullopt);
  EXPECT_EQ(FindGguf((directory_ / "absent").string()).value(), std::nullopt);
}

TEST_F(GgufModelTest, NamesAreThoseOfHuggingFace) {
  GgufBytes file = LlamaKeys();
  file.Int("llama.expert_count", 2)
      .F32("token_embd.weight", {8, 5})
      .F32("output_norm.weight", {8})
      .F32("blk.0.attn_q.weight", {8, 8})
      .F32("blk.0.ffn_gate_inp.weight", {8, 2})
      .F32("blk.0.ffn_down_exps.weight", {12, 8, 2})
      .F32("blk.1.ffn_up.1.weight", {8, 12})
      .F32("rope_freqs.weight", {2});
  const auto checkpoint = Checkpoint::Open(Write(file));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_THAT(
      (*checkpoint)->Names(),
      ElementsAre(
          "model.embed_tokens.weight", "model.layers.0.block_sparse_moe.experts.0.w2.weight",
          "model.layers.0.block_sparse_moe.experts.1.w2.weight",
          "model.layers.0.block_sparse_moe.gate.weight", "model.layers.0.self_attn.q_proj.weight",
          "model.layers.1.block_sparse_moe.experts.1.w3.weight", "model.norm.weight"));
  const TensorInfo* first =
      (*checkpoint)->Find("model.layers.0.block_sparse_moe.experts.0.w2.weight");
  const TensorInfo* second =
      (*checkpoint)->Find("model.layers.0.block_sparse_moe.experts.1.w2.weight");
  EXPECT_THAT(second->shape, ElementsAre(8, 12));
  EXPECT_EQ(second->data - first->data, 8 * 12 * 4);
  EXPECT_EQ((*checkpoint)->Find("model.layers.0.self_attn.q_proj.weight")->order.head_dim, 4);
}

TEST_F(GgufModelTest, RefusesByName) {
  EXPECT_THAT(OpenError(GgufBytes().Int("x", 1)), HasSubstr("'general.architecture' is missing"));
  EXPECT_THAT(OpenError(GgufBytes().String("general.architecture", "gemma3")),
              AllOf(HasSubstr("\"gemma3\""), HasSubstr("qwen3moe")));
  EXPECT_THAT(OpenError(LlamaKeys().Int("split.count", 4)),
              AllOf(HasSubstr("'split.count' is 4"), HasSubstr("--merge")));
  EXPECT_THAT(OpenError(LlamaKeys().String("general.type", "adapter")),
              HasSubstr("'general.type'"));
  EXPECT_THAT(OpenError(LlamaKeys().F32("blk.0.attn_sinks.weight", {2})),
              HasSubstr("'blk.0.attn_sinks.weight'"));
  EXPECT_THAT(OpenError(LlamaKeys().F32("blk.x.attn_q.weight", {8, 8})),
              HasSubstr("'blk.x.attn_q.weight'"));
  EXPECT_THAT(OpenError(LlamaKeys().F32("blk.0.ffn_up_exps.weight", {8, 12, 2})),
              AllOf(HasSubstr("'blk.0.ffn_up_exps.weight'"), HasSubstr("0 experts")));
  EXPECT_THAT(OpenError(LlamaKeys().F32("blk.0.attn_q.weight", {8, 6})),
              AllOf(HasSubstr("'blk.0.attn_q.weight'"), HasSubstr("6 rows")));
  GgufBytes twins = LlamaKeys();
  twins.Int("llama.expert_count", 2)
      .F32("blk.0.ffn_up_exps.weight", {8, 12, 2})
      .F32("blk.0.ffn_up.1.weight", {8, 12});
  EXPECT_THAT(OpenError(twins),
              AllOf(HasSubstr("'blk.0.ffn_up_exps.weight'"), HasSubstr("'blk.0.ffn_up.1.weight'")));
}

}  // namespace
}  // namespace folkmoot
