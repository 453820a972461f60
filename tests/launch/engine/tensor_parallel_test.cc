// SPDX-License-Identifier: Apache-2.0
// Tensor-parallel ranks: each has some outputs of every matrix, and nobody can tell from an answer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "launch/parallelism.h"
#include "layers/models/load_config.h"
#include "layers/models/model.h"
#include "parallel/thread_communicator.h"
#include "tests/support/golden_case.h"

namespace folkmoot {
namespace {

using testing::HasSubstr;

std::string Source(const std::string& path) {
  return std::string(FOLKMOOT_SOURCE_DIR) + "/" + path;
}

void ExpectEqual(const absl::StatusOr<std::vector<RunOutcome>>& actual,
                 const absl::StatusOr<std::vector<RunOutcome>>& expected, const std::string& what) {
  ASSERT_TRUE(actual.ok() && expected.ok()) << what << ": " << actual.status();
  ASSERT_EQ(actual->size(), expected->size());
  for (size_t p = 0; p < expected->size(); ++p) {
    EXPECT_TRUE((*actual)[p] == (*expected)[p]) << what << ", prompt " << p;
  }
}

// Every family: biases, q/k norms, shared experts, packed experts, dense layers. Their 2 or 4
// key-value heads leave a rank of three or more with few or none.
class TensorParallel : public testing::TestWithParam<std::string> {};

TEST_P(TensorParallel, HasTheBitsOfOneRank) {
  GoldenCase golden(GetParam());
  for (Request& request : golden.requests) request.layer_digests = true;
  const auto one = RunRequests(golden.setup, golden.requests);
  golden.setup.options.parallelism = "tensor";
  const std::string why(WhyNotTensorParallel(*LoadModelConfig(golden.setup.options.model)));
  if (!why.empty()) {
    golden.setup.ranks = 2;
    const auto refused = RunRequests(golden.setup, golden.requests);
    EXPECT_THAT(std::string(refused.status().message()), testing::HasSubstr(why));
    return;
  }
  for (const int ranks : {2, 3, 4}) {
    golden.setup.ranks = ranks;
    golden.setup.options.columns = ranks == 3 ? ColumnsKind::kMessages : ColumnsKind::kShared;
    ExpectEqual(RunRequests(golden.setup, golden.requests), one, fmt::format("{} ranks", ranks));
  }
}

INSTANTIATE_TEST_SUITE_P(Families, TensorParallel, testing::ValuesIn(GoldenVariants()),
                         GoldenTestName);

// Random weights depend on a tensor's name, not on the part of it that a rank asks for; codes are
// rounded row by row.
TEST(TensorParallelEngine, DummyAndRoundedWeightsAreCutAlike) {
  std::vector<Request> requests(2);
  for (Request& request : requests) {
    request.prompt = {1, 2, 3, 4, 5};
    request.max_tokens = 5;
    request.layer_digests = true;
  }
  for (const std::string quantization : {"none", "q8_0"}) {
    RunSetup setup;
    setup.options.model = Source("models/demo-kjv");
    setup.options.load_format = "dummy";
    setup.options.quantization = quantization;
    const auto one = RunRequests(setup, requests);
    setup.options.parallelism = "tensor";
    setup.ranks = 3;
    ExpectEqual(RunRequests(setup, requests), one, quantization);
  }
}

struct Way {
  const char* name;
  const char* gate = "";
  int64_t chunk = 0;
  int64_t blocks = 0;
  bool ahead = false;
  int threads = 1;
  const char* cache = "auto";
};

// Whatever the engine does with sequences: the tensor-parallel ranks are one rank to it.
TEST(TensorParallelEngine, ChunksGatesThreadsAndPreemptionDoNotShow) {
  std::vector<Request> requests;
  std::mt19937 random(3);
  for (const int length : {1, 5, 33, 70, 12}) {
    Request& request = requests.emplace_back();
    for (int i = 0; i < length; ++i) request.prompt.push_back(static_cast<int32_t>(random() % 90));
    request.max_tokens = 20;
    request.sampling = {.temperature = 0.9f, .seed = random(), .repetition_penalty = 1.1f};
    request.logprobs = 3;
    request.prompt_logprobs = true;
  }
  for (const Way& way :
       {Way{.name = "plain"}, Way{.name = "chunks", .chunk = 7},
        Way{.name = "preempted", .blocks = 7}, Way{.name = "planned ahead", .ahead = true},
        Way{.name = "threads", .threads = 2}, Way{.name = "int8 cache", .cache = "int8"},
        Way{.name = "random second expert", .gate = "extra_policy=random"},
        Way{.name = "chunk capacity",
        .gate = "capacity=ceil_k,capacity_factor=1.0,group=sequence_chunk,group_size=16,"
                "priority=token_major"},
        Way{.name = "step capacity", .gate = "capacity=ceil_k,capacity_factor=0.75,group=step"},
        Way{.name = "passthrough",
        .gate = "capacity=ceil_k,capacity_factor=0.75,"
                "overflow=passthrough"}}) {
    RunSetup setup;
    setup.options.model = Source("models/demo-kjv");
    setup.options.gate = way.gate;
    setup.options.kv_cache_dtype = way.cache;
    setup.options.prefill_chunk = way.chunk;
    setup.options.kv_cache_blocks = way.blocks;
    setup.plan_ahead = way.ahead;
    const auto one = RunRequests(setup, requests);
    setup.options.parallelism = "tensor";
    setup.threads = way.threads;
    setup.ranks = 3;
    RunTotals totals;
    ExpectEqual(RunRequests(setup, requests, &totals), one, way.name);
    EXPECT_EQ(totals.preemptions > 0, way.blocks > 0) << way.name;
  }
}

// What each rank reads adds up to the model, with what is small on every rank.
TEST(TensorParallelEngine, EveryRankReadsItsPart) {
  const auto bytes_at = [](const std::string& model, int ranks) {
    std::vector<int64_t> bytes(static_cast<size_t>(ranks));
    auto worlds = MakeThreadCommunicators(ranks);
    std::vector<std::thread> threads;
    for (int r = 0; r < ranks; ++r) {
      threads.emplace_back([&, r] {
        EngineOptions options;
        options.model = Source(model);
        options.parallelism = "tensor";
        const auto rank = LoadedRank::Load(options, *worlds[static_cast<size_t>(r)], {}, nullptr);
        ASSERT_TRUE(rank.ok()) << rank.status();
        EXPECT_EQ((*rank)->ranks(), ranks);
        EXPECT_EQ((*rank)->tensor_parallel(), ranks > 1);
        EXPECT_EQ((*rank)->scheduler_options().ranks, 1);
        bytes[static_cast<size_t>(r)] = (*rank)->bytes_read();
      });
    }
    for (std::thread& thread : threads) thread.join();
    return bytes;
  };
  const int64_t all = bytes_at("models/demo-kjv", 1)[0];
  for (const int64_t bytes : bytes_at("models/demo-kjv", 4)) {
    EXPECT_LT(bytes, all * 3 / 10);
    EXPECT_GT(bytes, all * 2 / 10);
  }
  for (const std::string name : {"mixtral-awq", "qwen2_moe-mxfp4", "qwen2_moe-fp8"}) {
    const std::string model = "tests/data/quant/models/" + name;
    const int64_t codes = bytes_at(model, 1)[0];
    for (const int64_t bytes : bytes_at(model, 2)) {
      EXPECT_LT(bytes, codes * 6 / 10) << name;
      EXPECT_GT(bytes, codes * 4 / 10) << name;
    }
  }
}

// A rank that leaves in the middle of a step is named, with the layer and what was waited for.
TEST(TensorParallelEngine, ARankThatDiesIsNamed) {
  for (const ColumnsKind kind : {ColumnsKind::kMessages, ColumnsKind::kShared}) {
    EngineOptions options;
    options.model = Source("tests/data/goldens/mixtral-classic");
    options.parallelism = "tensor";
    options.columns = kind;
    auto worlds = MakeThreadCommunicators(3);
    std::vector<std::string> errors(3);
    std::vector<std::thread> threads;
    for (size_t r = 0; r < worlds.size(); ++r) {
      threads.emplace_back([&, r] {
        worlds[r]->set_timeout(std::chrono::seconds(20));
        auto rank = LoadedRank::Load(options, *worlds[r], {}, nullptr);
        ASSERT_TRUE(rank.ok()) << rank.status();
        if (r == 2) {
          rank->reset();
          worlds[r].reset();  // dies
          return;
        }
        StepPlan plan;
        plan.ranks.resize(1);
        plan.ranks[0].starts.push_back({.id = 1, .tokens = {1, 2}, .prompt_length = 2});
        plan.ranks[0].slices.push_back({.id = 1, .count = 2, .new_blocks = {0}});
        plan.gates = {""};
        errors[r] = Message((*rank)->runner().Run(plan).status());
        // Keeps its memory until the others are done with it.
        std::this_thread::sleep_for(std::chrono::milliseconds(300));
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (size_t r = 0; r < 2; ++r) {
      EXPECT_THAT(
          errors[r],
          HasSubstr(fmt::format("rank {}: layer 0 attention gather of step 0: rank 2 is gone", r)));
    }
  }
}

TEST(TensorParallelEngine, RefusesWhatMeansNothing) {
  RunSetup setup;
  setup.options.model = Source("tests/data/goldens/mixtral-classic");
  setup.options.parallelism = "tensor";
  setup.options.placement = "round_robin";
  setup.ranks = 2;
  EXPECT_THAT(std::string(Message(RunRequests(setup, {}).status())),
              HasSubstr("--parallelism tensor: every rank has a part of every expert: "
                        "--expert-placement round_robin"));
  setup.options.placement = "contiguous";
  EXPECT_TRUE(CheckParallelism(setup.options, false).ok());
  EXPECT_THAT(std::string(Message(CheckParallelism(setup.options, true))),
              HasSubstr("--parallelism tensor: only on CPUs"));
}

// By itself: tensor where it fits, and experts where a flag or the model speaks for them.
TEST(TensorParallelEngine, AutoChoosesWhatFits) {
  for (const auto& [ranks, placement, tensor] :
       {std::tuple(2, "contiguous", true), std::tuple(2, "round_robin", false),
        std::tuple(3, "contiguous", false), std::tuple(1, "contiguous", false)}) {
    EngineOptions options;
    options.model = Source("tests/data/goldens/mixtral-classic");  // two key-value heads
    options.parallelism = "auto";
    options.placement = placement;
    auto worlds = MakeThreadCommunicators(ranks);
    std::vector<std::thread> threads;
    for (const auto& world : worlds) {
      threads.emplace_back([&, comm = world.get(), expected = tensor] {
        const auto rank = LoadedRank::Load(options, *comm, {}, nullptr);
        ASSERT_TRUE(rank.ok()) << rank.status();
        EXPECT_EQ((*rank)->tensor_parallel(), expected);
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
}

}  // namespace
}  // namespace folkmoot
