// SPDX-License-Identifier: Apache-2.0
// Sequences that share pages of equal prefixes answer as if they had computed everything: tokens,
// log-probabilities and the choices that the gate lost, those of shared pages included.
#include <gtest/gtest.h>

#include <random>

#include "tests/support/model_case.h"

namespace folkmoot {
namespace {

struct SharingCase : ModelCase {
  bool shares = true;      // is reuse exact for this gate and model?
  int64_t snapshots = -1;  // EngineOptions::state_snapshots
};

std::vector<int32_t> RandomTokens(int count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> tokens;
  for (int i = 0; i < count; ++i) tokens.push_back(static_cast<int32_t>(random() % 90));
  return tokens;
}

class SharedPages : public testing::TestWithParam<SharingCase> {
 protected:
  SharedPages() {
    setup_.options = GetParam().options();
    setup_.options.state_snapshots = GetParam().snapshots;
    const std::vector<int32_t> common = RandomTokens(53, 1);
    for (const int own : {0, 1, 11, 16, 40}) {
      Request request;
      request.prompt = common;
      const std::vector<int32_t> rest = RandomTokens(own, static_cast<uint32_t>(own) + 2);
      request.prompt.insert(request.prompt.end(), rest.begin(), rest.end());
      request.max_tokens = 20;  // ends in another page than the prompt
      request.sampling = {.temperature = 0.9f, .seed = random_(), .presence_penalty = 0.5f};
      request.logprobs = 2;
      requests_.push_back(request);
    }
    for (Request& request : requests_) request.prefix_cache = false;
    const auto reference = RunRequests(setup_, requests_);
    if (!reference.ok()) ADD_FAILURE() << reference.status();
    if (reference.ok()) reference_ = *reference;
    for (Request& request : requests_) request.prefix_cache = true;
  }

  // Runs everything; returns the tokens that came from the cache.
  int64_t ExpectSame(const char* what) {
    RunTotals totals;
    const auto outcomes = RunRequests(setup_, requests_, &totals);
    EXPECT_TRUE(outcomes.ok()) << outcomes.status();
    if (!outcomes.ok()) return 0;
    for (size_t p = 0; p < reference_.size(); ++p) {
      EXPECT_EQ((*outcomes)[p].tokens, reference_[p].tokens) << what << ", prompt " << p;
      EXPECT_TRUE((*outcomes)[p] == reference_[p]) << what << ", prompt " << p;
    }
    preemptions_ = totals.preemptions;
    return totals.prefix_hit_tokens;
  }

  void ExpectSharing(int64_t tokens, const char* what) {
    if (GetParam().shares) {
      EXPECT_GT(tokens, 0) << what;
    } else {
      EXPECT_EQ(tokens, 0) << what;
    }
  }

  std::mt19937 random_{5};
  RunSetup setup_;
  std::vector<Request> requests_;
  std::vector<RunOutcome> reference_;
  int64_t preemptions_ = 0;
};

TEST_P(SharedPages, OneAfterTheOther) {
  setup_.alone = true;
  ExpectSharing(ExpectSame("one rank"), "one rank");
  setup_.options.prefill_chunk = 5;
  ExpectSharing(ExpectSame("chunks of 5"), "chunks of 5");
}

TEST_P(SharedPages, TheSameOnceMore) {
  for (const int ranks : {1, 2, 3}) {
    setup_.ranks = ranks;
    setup_.times = GetParam().shares ? 2 : 1;  // also hits pages of outputs
    ExpectSharing(ExpectSame("again"), "again");
    setup_.plan_ahead = !setup_.plan_ahead;
  }
}

TEST_P(SharedPages, PreemptedOnesFindTheirOwnPages) {
  setup_.options.kv_cache_blocks = 9;  // the longest request takes eight
  ExpectSame("few pages");
  EXPECT_GT(preemptions_, 0);
  setup_.plan_ahead = true;
  ExpectSame("few pages, planned ahead");
}

TEST_P(SharedPages, ChoicesShareTheirPrompt) {
  std::vector<Request> choices;
  for (int32_t i = 0; i < 3; ++i) {
    Request request = requests_[2];
    request.sampling.seed = 100 + static_cast<uint64_t>(i);
    request.prefix_cache = false;
    choices.push_back(request);
  }
  setup_.alone = true;
  const auto apart = RunRequests(setup_, choices);
  ASSERT_TRUE(apart.ok()) << apart.status();
  choices.resize(1);
  choices[0].n = 3;
  for (const int ranks : {1, 3}) {
    setup_.ranks = ranks;
    const auto together = RunRequests(setup_, choices);
    ASSERT_TRUE(together.ok()) << together.status();
    ASSERT_EQ(together->size(), 3u);
    for (size_t i = 0; i < 3; ++i) EXPECT_TRUE((*together)[i] == (*apart)[i]) << "choice " << i;
  }
}

constexpr char kGoldens[] = "tests/data/goldens/mixtral-classic";

INSTANTIATE_TEST_SUITE_P(
    Gates, SharedPages,
    testing::Values(
        SharingCase{{"Dropless", kGoldens, ""}},
        SharingCase{{"Dense", "tests/data/goldens/qwen3-classic", ""}},
        SharingCase{{"SparseAttention", "tests/data/goldens/glm_moe_dsa-shared", ""}},
        SharingCase{{"GatedSparseAttention", "tests/data/goldens/hy_v4-classic", ""}},
        SharingCase{{"PooledKeys", "tests/data/goldens/glm5_next-frequency", ""}},
        SharingCase{{"PooledKeysAcrossPages", "tests/data/goldens/glm5_next-odd", ""}},
        SharingCase{{"CompressedAttention", "tests/data/goldens/deepseek_v4-rates", ""}},
        SharingCase{{"WindowsAcrossPages", "tests/data/goldens/deepseek_v4-pages", ""}},
        SharingCase{{"RandomSecondExpert", kGoldens, "extra_policy=random"}},
        SharingCase{{"ChunkCapacity", kGoldens,
                     "extra_policy=random,capacity=ceil_k,capacity_factor=0.8,"
                     "group=sequence_chunk,group_size=24,priority=token_major"}},
        SharingCase{{"DrawsOfTheSequence", kGoldens, "extra_policy=random,rng_scope=sequence_id"},
                    false},
        SharingCase{{"LinearAttention", "tests/data/goldens/qwen3_next-classic", ""}},
        SharingCase{{"StateSpaces", "tests/data/goldens/nemotron_h-classic", ""}},
        SharingCase{{"ShortConvolutions", "tests/data/goldens/lfm2_moe-classic", ""}},
        SharingCase{{"SelectiveScans", "tests/data/goldens/jamba-classic", ""}},
        SharingCase{{"LightningAttention", "tests/data/goldens/minimax-classic", ""}},
        SharingCase{{"KeyDecays", "tests/data/goldens/kimi_linear-classic", ""}},
        SharingCase{{"ChosenBlocks", "tests/data/goldens/minimax_m3_vl_text-classic", ""}},
        SharingCase{{"NgramsAndPools", "tests/data/goldens/qwen4_exp_text-odd", ""}},
        SharingCase{{"WindowsBesidePrompts", "tests/data/goldens/unlimited_ocr-saved", ""}},
        SharingCase{{"NarrowWindowsBesidePrompts", "tests/data/goldens/unlimited_ocr-narrow", ""}},
        SharingCase{{"SharedKeys", "tests/data/goldens/gemma4_text-everything", ""}},
        SharingCase{
            {"LinearAttentionFewCopies", "tests/data/goldens/qwen3_next-classic", ""}, true, 8},
        SharingCase{
            {"LinearAttentionNoCopies", "tests/data/goldens/qwen3_next-classic", ""}, false, 0},
        SharingCase{{"DynamicRope", "tests/data/goldens/qwen3_moe-dynamic", ""}, false}),
    [](const auto& param) { return std::string(param.param.name); });

// What this gate computes depends on how a prompt is cut: nothing may be shared.
TEST(SharedPagesOfOtherGates, SlotMajorChunksShareNothing) {
  RunSetup setup;
  setup.options.model = std::string(FOLKMOOT_SOURCE_DIR) + "/" + kGoldens;
  setup.options.gate = "capacity=ceil_k,group=sequence_chunk,group_size=8";
  setup.alone = true;
  Request request;
  request.prompt = RandomTokens(40, 3);
  request.sampling.temperature = 0;
  RunTotals totals;
  const auto outcomes = RunRequests(setup, {request, request}, &totals);
  ASSERT_TRUE(outcomes.ok()) << outcomes.status();
  EXPECT_EQ(totals.prefix_hit_tokens, 0);
  EXPECT_TRUE((*outcomes)[0] == (*outcomes)[1]);
}

}  // namespace
}  // namespace folkmoot
