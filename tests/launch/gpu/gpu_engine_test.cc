// SPDX-License-Identifier: Apache-2.0
// Whole engines on the GPU decoder: what must not change an answer, and the same answers as on the
// CPU. Compared with float32 weights, where both compute the same up to the order of sums.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "tests/support/engine_run.h"
#include "tests/support/fake_nccl.h"

namespace folkmoot {
namespace {

using testing::HasSubstr;

std::string Golden(const char* name) {
  return std::string(FOLKMOOT_TEST_DATA) + "/goldens/" + name;
}

// Requests of different lengths, greedy and drawn, that are prefilled and decoded side by side.
std::vector<Request> SomeRequests(int count) {
  std::mt19937 random(7);
  std::vector<Request> requests;
  for (int r = 0; r < count; ++r) {
    Request request;
    const int length = 3 + 9 * r;
    for (int i = 0; i < length; ++i) request.prompt.push_back(static_cast<int32_t>(random() % 90));
    request.max_tokens = 5 + r;
    request.sampling = {.temperature = r % 2 == 0 ? 0.0f : 0.8f, .seed = random()};
    request.prompt_logprobs = request.trace_routing = true;
    requests.push_back(request);
  }
  return requests;
}

class GpuEngine : public testing::Test {
 protected:
  void Use(const std::string& model) {
    setup_.options.model = model;
    setup_.options.dtype = "float32";
    setup_.options.device = "cuda";
    setup_.options.kv_cache_blocks = 64;
    setup_.options.max_num_seqs = 8;
    setup_.options.max_num_batched_tokens = 64;
  }
  std::vector<RunOutcome> Run(const RunSetup& setup, const std::vector<Request>& requests) {
    auto outcomes = RunRequests(setup, requests);
    EXPECT_TRUE(outcomes.ok()) << outcomes.status();
    return outcomes.ok() ? *std::move(outcomes) : std::vector<RunOutcome>(requests.size());
  }
  // The same choices; log-probabilities up to rounding.
  void ExpectLikeCpu(const std::vector<Request>& requests) {
    const std::vector<RunOutcome> gpu = Run(setup_, requests);
    RunSetup cpu_setup = setup_;
    cpu_setup.options.device = "cpu";
    const std::vector<RunOutcome> cpu = Run(cpu_setup, requests);
    for (size_t r = 0; r < requests.size(); ++r) {
      EXPECT_EQ(gpu[r].tokens, cpu[r].tokens) << "request " << r;
      EXPECT_EQ(gpu[r].rejected, cpu[r].rejected) << "request " << r;
      EXPECT_EQ(gpu[r].overflow, cpu[r].overflow) << "request " << r;
      EXPECT_EQ(gpu[r].routing.size(), cpu[r].routing.size());
      for (const auto& [layer, trace] : cpu[r].routing) {
        const RoutingTrace& other = gpu[r].routing.at(layer);
        EXPECT_EQ(other.expert, trace.expert) << "request " << r << " layer " << layer;
        EXPECT_EQ(other.state, trace.state) << "request " << r << " layer " << layer;
        EXPECT_EQ(other.place, trace.place) << "request " << r << " layer " << layer;
      }
      ASSERT_EQ(gpu[r].prompt_logprobs.size(), cpu[r].prompt_logprobs.size());
      for (size_t i = 0; i < cpu[r].prompt_logprobs.size(); ++i) {
        EXPECT_NEAR(gpu[r].prompt_logprobs[i], cpu[r].prompt_logprobs[i], 1e-4) << "request " << r;
      }
    }
  }
  void ExpectSame(const std::vector<RunOutcome>& a, const std::vector<RunOutcome>& b) {
    ASSERT_EQ(a.size(), b.size());
    for (size_t r = 0; r < a.size(); ++r) {
      EXPECT_EQ(a[r].tokens, b[r].tokens) << "request " << r;
      EXPECT_TRUE(a[r] == b[r]) << "request " << r;
    }
  }

  RunSetup setup_;
};

TEST_F(GpuEngine, DemoModelSaysWhatItSaysOnTheCpu) {
  Use(std::string(FOLKMOOT_SOURCE_DIR) + "/models/demo-kjv");
  setup_.options.dtype = "auto";  // bfloat16, as stored
  setup_.options.max_model_len = 64;
  Request request;
  request.prompt = {12, 7, 300, 41, 9};
  request.max_tokens = 6;
  request.sampling.temperature = 0;
  const std::vector<RunOutcome> gpu = Run(setup_, {request});
  setup_.options.device = "cpu";
  const std::vector<RunOutcome> cpu = Run(setup_, {request});
  EXPECT_EQ(gpu[0].tokens, cpu[0].tokens);
  EXPECT_EQ(gpu[0].tokens.size(), 6u);
}

TEST_F(GpuEngine, ReplayedStepsHaveTheBitsOfStartedOnes) {
  for (const char* name : {"qwen2_moe-classic", "llama-bias"}) {
    Use(Golden(name));
    const std::vector<Request> requests = SomeRequests(5);
    const std::vector<RunOutcome> replayed = Run(setup_, requests);
    RunSetup eager = setup_;
    eager.options.enforce_eager = true;
    ExpectSame(replayed, Run(eager, requests));
  }
}

// Under --batch-invariant neither batch mates nor the cutting of prompts can be seen.
TEST_F(GpuEngine, AnswersDoNotDependOnTheBatch) {
  for (const char* dtype : {"float32", "bfloat16"}) {
    Use(Golden("mixtral-window"));
    setup_.options.dtype = dtype;
    setup_.options.batch_invariant = true;
    const std::vector<Request> requests = SomeRequests(5);
    const std::vector<RunOutcome> together = Run(setup_, requests);
    RunSetup alone = setup_;
    alone.alone = true;
    ExpectSame(together, Run(alone, requests));
    RunSetup chunked = setup_;
    chunked.options.prefill_chunk = 5;
    ExpectSame(together, Run(chunked, requests));
  }
}

TEST_F(GpuEngine, ClassicGatesRouteAsOnTheCpu) {
  for (const char* gate :
       {"extra_policy=random", "top_k=1,normalize=none",
        "extra_policy=random,capacity=ceil_k,capacity_factor=0.8,group=sequence_chunk,"
        "group_size=16,priority=token_major",
        "capacity=ceil_k,capacity_factor=0.8,group=sequence_chunk,group_size=8",
        "capacity=ceil_k,capacity_factor=0.6,group=rank",
        "capacity=ceil_k,capacity_factor=0.6,group=rank,overflow=passthrough"}) {
    Use(Golden("qwen2_moe-classic"));
    setup_.options.gate = gate;
    SCOPED_TRACE(gate);
    ExpectLikeCpu(SomeRequests(4));
  }
}

TEST_F(GpuEngine, GatesThatTheDeviceLacksAreRoutedOnTheHost) {
  for (const char* gate : {"capacity=ceil_k,capacity_factor=0.6,group=rank,overflow=reroute",
                           "capacity=ceil_k,capacity_factor=0.6,group=rank,priority=weight_desc"}) {
    Use(Golden("mixtral-classic"));
    setup_.options.gate = gate;
    SCOPED_TRACE(gate);
    ExpectLikeCpu(SomeRequests(4));
  }
}

TEST_F(GpuEngine, RequestsWithGatesOfTheirOwn) {
  Use(Golden("qwen2_moe-classic"));
  std::vector<Request> requests = SomeRequests(5);
  requests[1].gate = "top_k=1";
  requests[2].gate = "top_k=4,normalize=before_drop";
  requests[3].gate =
      "capacity=ceil_k,capacity_factor=0.8,group=sequence_chunk,group_size=16,priority=token_major";
  ExpectLikeCpu(requests);
}

TEST_F(GpuEngine, RanksAgreeBitForBit) {
  for (const char* name : {"mixtral-packed", "qwen2_moe-sparse-step"}) {
    Use(Golden(name));
    setup_.options.batch_invariant = true;
    const std::vector<Request> requests = SomeRequests(5);
    const std::vector<RunOutcome> one = Run(setup_, requests);
    for (const int ranks : {2, 3}) {
      FakeNccl nccl;
      const NcclApi api = nccl.Api();
      RunSetup several = setup_;
      several.ranks = ranks;
      several.options.nccl = &api;
      SCOPED_TRACE(fmt::format("{} with {} ranks", name, ranks));
      ExpectSame(one, Run(several, requests));
      EXPECT_EQ(nccl.Complaint(), "");
    }
  }
}

TEST_F(GpuEngine, RanksWithGatesOfRequests) {
  Use(Golden("mixtral-classic"));
  std::vector<Request> requests = SomeRequests(5);
  requests[1].gate = "top_k=1";
  requests[2].gate = "top_k=4,normalize=before_drop";
  FakeNccl nccl;
  const NcclApi api = nccl.Api();
  setup_.ranks = 3;
  setup_.options.nccl = &api;
  ExpectLikeCpu(requests);
  EXPECT_EQ(nccl.Complaint(), "");
}

TEST_F(GpuEngine, SaysWhatDoesNotFit) {
  Use(Golden("mixtral-classic"));
  setup_.options.gpu_memory_utilization = 0.01;
  setup_.options.max_num_batched_tokens = 1 << 18;
  const auto outcomes = RunRequests(setup_, SomeRequests(1));
  EXPECT_EQ(outcomes.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(Message(outcomes.status())), HasSubstr("--max-num-batched-tokens"));
}

}  // namespace
}  // namespace folkmoot
