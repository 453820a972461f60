// SPDX-License-Identifier: Apache-2.0
// The first invariant: nothing but the request itself can be seen in its answer. Each test changes
// one thing and compares tokens, log-probabilities, routing and a digest of every layer bit for
// bit.
#include <gtest/gtest.h>

#include <random>

#include "tests/support/model_case.h"

namespace folkmoot {
namespace {

class SameBits : public testing::TestWithParam<ModelCase> {
 protected:
  SameBits() {
    setup_.options = GetParam().options();
    std::mt19937 random(3);
    for (const int length : {1, 5, 33, 70, 12}) {
      Request request;
      for (int i = 0; i < length; ++i)
        request.prompt.push_back(static_cast<int32_t>(random() % 90));
      request.max_tokens = 6;
      request.sampling = {.temperature = 0.9f,
                          .top_p = 0.95f,
                          .seed = random(),
                          .presence_penalty = 0.3f,
                          .frequency_penalty = 0.2f,
                          .repetition_penalty = 1.1f};
      request.logprobs = 3;
      request.prompt_logprobs = true;
      request.layer_digests = true;
      requests_.push_back(request);
    }
    const auto reference = RunRequests(setup_, requests_);
    if (!reference.ok()) {
      ADD_FAILURE() << reference.status();
    } else {
      reference_ = *reference;
    }
  }

  void ExpectSame(const char* what) {
    const auto outcomes = RunRequests(setup_, requests_);
    ASSERT_TRUE(outcomes.ok()) << outcomes.status();
    ASSERT_EQ(outcomes->size(), reference_.size());
    for (size_t p = 0; p < reference_.size(); ++p) {
      EXPECT_TRUE((*outcomes)[p] == reference_[p]) << what << ", prompt " << p;
    }
  }

  RunSetup setup_;
  std::vector<Request> requests_;
  std::vector<RunOutcome> reference_;
};

TEST_P(SameBits, AnyNumberOfRanks) {
  for (const int ranks : {2, 3, 4}) {
    setup_.ranks = ranks;
    ExpectSame("ranks");
  }
}

TEST_P(SameBits, AnyPlacementAndDispatcher) {
  setup_.ranks = 3;
  setup_.options.placement = "round_robin";
  ExpectSame("round robin");
  setup_.options.dispatcher = "allgather";
  ExpectSame("all-gather");
}

TEST_P(SameBits, AnyNumberOfThreads) {
  setup_.threads = 2;
  ExpectSame("two threads");
  setup_.ranks = 2;
  ExpectSame("two ranks of two threads");
}

TEST_P(SameBits, AloneOrTogether) {
  setup_.alone = true;
  ExpectSame("alone");
  setup_.alone = false;
  setup_.options.max_num_seqs = 2;
  ExpectSame("two at a time");
}

TEST_P(SameBits, AnyChunksOfPrefill) {
  for (const int64_t chunk : {1, 7, 64}) {
    setup_.options.prefill_chunk = chunk;
    ExpectSame("chunks");
  }
  setup_.ranks = 2;
  setup_.options.prefill_chunk = 3;
  ExpectSame("chunks of 3 at two ranks");
}

// Every sequence can run alone, but not all of them at once: they give way to each other and begin
// again, and nobody can tell.
TEST_P(SameBits, Preempted) {
  for (Request& request : requests_) request.max_tokens = 30;  // needs more pages than its prompt
  const auto roomy = RunRequests(setup_, requests_);
  ASSERT_TRUE(roomy.ok()) << roomy.status();
  for (const int ranks : {1, 2}) {
    for (const bool ahead : {false, true}) {
      setup_.ranks = ranks;
      setup_.plan_ahead = ahead;
      setup_.options.kv_cache_blocks = 7;  // of 2 + 3 + 4 + 7 + 3
      RunTotals totals;
      const auto outcomes = RunRequests(setup_, requests_, &totals);
      ASSERT_TRUE(outcomes.ok()) << outcomes.status();
      for (size_t p = 0; p < reference_.size(); ++p) {
        EXPECT_TRUE((*outcomes)[p] == (*roomy)[p]) << ranks << " ranks, prompt " << p;
      }
      if (ranks == 1) {
        EXPECT_GT(totals.preemptions, 0);
      }
    }
  }
}

TEST_P(SameBits, PlannedAhead) {
  setup_.plan_ahead = true;
  ExpectSame("one rank");
  setup_.ranks = 3;
  setup_.options.prefill_chunk = 7;
  ExpectSame("three ranks");
}

constexpr char kChunkCapacity[] =
    "extra_policy=random,capacity=ceil_k,capacity_factor=1.0,group=sequence_chunk,group_size=16,"
    "priority=token_major";

INSTANTIATE_TEST_SUITE_P(
    Models, SameBits,
    testing::Values(
        ModelCase{"Demo", "models/demo-kjv", ""},
        ModelCase{"DemoRandomSecondExpert", "models/demo-kjv", "extra_policy=random"},
        ModelCase{"DemoChunkCapacity", "models/demo-kjv", kChunkCapacity},
        ModelCase{"DemoQ4Int8Cache", "models/demo-kjv", "", "q4_0", "int8"},
        ModelCase{"DemoQ8BF16Cache", "models/demo-kjv", "", "q8_0", "bfloat16"},
        ModelCase{"DemoNative", "models/demo-kjv", "", "none", "auto", "full", "native"},
        ModelCase{"DemoNativeReduced", "models/demo-kjv", "", "none", "auto", "reduced", "native"},
        ModelCase{"DemoReduced", "models/demo-kjv", "", "none", "auto", "reduced"},
        ModelCase{"DemoQ4Reduced", "models/demo-kjv", "", "q4_0", "auto", "reduced"},
        ModelCase{"Mixtral", "tests/data/goldens/mixtral-classic", ""},
        ModelCase{"MixtralChunkCapacity", "tests/data/goldens/mixtral-classic", kChunkCapacity},
        ModelCase{"UnlimitedOcr", "tests/data/goldens/unlimited_ocr-saved", ""},
        ModelCase{"UnlimitedOcrInt8Cache", "tests/data/goldens/unlimited_ocr-published", "", "none",
                  "int8"},
        // With more than two experts per token the order of the sum matters.
        ModelCase{"Qwen2MoeTop4", "tests/data/goldens/qwen2_moe-classic", ""},
        ModelCase{"Qwen2MoeDenseLayers", "tests/data/goldens/qwen2_moe-sparse-step", ""},
        ModelCase{"Qwen3MoeDynamicRope", "tests/data/goldens/qwen3_moe-dynamic", ""},
        ModelCase{"GptOssMxfp4", "tests/data/goldens/gpt_oss-mxfp4", ""},
        ModelCase{"Qwen3Next", "tests/data/goldens/qwen3_next-classic", ""},
        ModelCase{"Qwen35MoeOdd", "tests/data/goldens/qwen3_5_moe-odd", ""},
        ModelCase{"Qwen4Exp", "tests/data/goldens/qwen4_exp_text-odd", ""},
        ModelCase{"Qwen4ExpInt8Cache", "tests/data/goldens/qwen4_exp-classic", "", "none", "int8"},
        ModelCase{"DeepseekV32", "tests/data/goldens/deepseek_v32-classic", ""},
        ModelCase{"DeepseekV4", "tests/data/goldens/deepseek_v4-rates", ""},
        ModelCase{"DeepseekV4SparseInt8Cache", "tests/data/goldens/deepseek_v4-sparse", "", "none",
                  "int8"},
        ModelCase{"Axk2", "tests/data/goldens/axk2-classic", ""},
        ModelCase{"HyV4", "tests/data/goldens/hy_v4-saved", ""},
        ModelCase{"Ling3", "tests/data/goldens/ling3-saved", ""},
        ModelCase{"BeamInt8Cache", "tests/data/goldens/beam-turned", "", "none", "int8"},
        ModelCase{"Glm5Next", "tests/data/goldens/glm5_next-shared", ""},
        ModelCase{"Glm5NextOddInt8Cache", "tests/data/goldens/glm5_next-odd", "", "none", "int8"},
        ModelCase{"GlmMoeDsaShared", "tests/data/goldens/glm_moe_dsa-shared", ""},
        ModelCase{"GlmMoeDsaPatternInt8Cache", "tests/data/goldens/glm_moe_dsa-pattern", "", "none",
                  "int8"},
        ModelCase{"HunyuanLayers", "tests/data/goldens/hunyuan_v1_moe-topk-list", ""},
        ModelCase{"HunyuanLayersCapacity", "tests/data/goldens/hunyuan_v1_moe-topk-list",
                  kChunkCapacity},
        ModelCase{"Llama4", "tests/data/goldens/llama4_text-chunked", ""},
        ModelCase{"PhimoeLongrope", "tests/data/goldens/phimoe-longrope", ""},
        // The rule of Phi-MoE with another model.
        ModelCase{"MixtralSparseMixer", "tests/data/goldens/mixtral-classic", "phimoe"},
        ModelCase{"DenseQwen3", "tests/data/goldens/qwen3-classic", ""}),
    ModelCaseName);

// Capacity over a whole step depends on the batch, but never on the number of ranks.
TEST(StepCapacity, SameBitsForAnyNumberOfRanks) {
  RunSetup setup;
  setup.options.model = std::string(FOLKMOOT_SOURCE_DIR) + "/tests/data/goldens/mixtral-classic";
  setup.options.gate = "capacity=ceil_k,capacity_factor=0.75,group=step";
  std::vector<Request> requests(4);
  for (size_t i = 0; i < requests.size(); ++i) {
    for (int t = 0; t < 9; ++t) requests[i].prompt.push_back(static_cast<int32_t>(i * 13) + t);
    requests[i].max_tokens = 4;
    requests[i].sampling.temperature = 0;
  }
  const auto one = RunRequests(setup, requests);
  ASSERT_TRUE(one.ok()) << one.status();
  EXPECT_GT((*one)[3].overflow + (*one)[0].overflow, 0);
  for (const int ranks : {2, 3}) {
    setup.ranks = ranks;
    const auto many = RunRequests(setup, requests);
    ASSERT_TRUE(many.ok()) << many.status();
    for (size_t p = 0; p < requests.size(); ++p) EXPECT_TRUE((*one)[p] == (*many)[p]) << p;
  }
}

}  // namespace
}  // namespace folkmoot
