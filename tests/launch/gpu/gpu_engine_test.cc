// SPDX-License-Identifier: Apache-2.0
// Whole engines on the GPU decoder: what must not change an answer, and the same answers as on the
// CPU.
#include <gmock/gmock.h>

#include "tests/launch/gpu/gpu_engine_testing.h"
#include "tests/support/guess_oracle.h"

namespace folkmoot {
namespace {

using testing::HasSubstr;

TEST_F(GpuEngine, DemoModelSaysWhatItSaysOnTheCpu) {
  Use(std::string(FOLKMOOT_SOURCE_DIR) + "/models/demo-kjv");
  setup_.options.dtype = "auto";  // bfloat16, as stored
  setup_.options.max_model_len = 64;
  Request request;
  request.prompt = {12, 7, 300, 41, 9};
  request.max_tokens = 6;
  request.sampling.temperature = 0;
  const std::vector<RunOutcome> gpu = Run(setup_, {request});
  setup_.options.wgmma_attention = true;
  const std::vector<RunOutcome> wgmma = Run(setup_, {request});
  setup_.options.device = "cpu";
  const std::vector<RunOutcome> cpu = Run(setup_, {request});
  EXPECT_EQ(gpu[0].tokens, cpu[0].tokens);
  EXPECT_EQ(wgmma[0].tokens, cpu[0].tokens);
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

// Where somebody wants log-probabilities of several tokens the host chooses, else the device.
TEST_F(GpuEngine, TheDeviceChoosesTheTokensThatTheHostWould) {
  Use(Golden("qwen3_moe-classic"));
  std::vector<Request> requests = SomeRequests(6);
  for (Request& request : requests) request.max_tokens = 12;
  requests[1].sampling.top_k = 7;
  requests[2].sampling = {.temperature = 1.3f, .top_p = 0.7f, .seed = 5};
  requests[3].sampling.min_p = 0.1f;
  requests[5].sampling.top_k = -1;
  const std::vector<RunOutcome> device = Run(setup_, requests);
  requests[0].prompt_logprobs = requests[1].prompt_logprobs = false;
  for (size_t r : {0u, 2u, 3u, 5u}) requests[r].logprobs = 2;  // mixed: 1 and 4 stay on the device
  const std::vector<RunOutcome> mixed = Run(setup_, requests);
  for (size_t r : {1u, 4u}) requests[r].logprobs = 2;
  const std::vector<RunOutcome> host = Run(setup_, requests);
  for (size_t r = 0; r < requests.size(); ++r) {
    EXPECT_EQ(device[r].tokens.size(), 12u);
    EXPECT_EQ(device[r].tokens, host[r].tokens) << "request " << r;
    EXPECT_EQ(mixed[r].tokens, host[r].tokens) << "request " << r;
    ASSERT_EQ(device[r].token_logprobs.size(), host[r].token_logprobs.size());
    for (size_t i = 0; i < host[r].token_logprobs.size(); ++i) {
      EXPECT_NEAR(device[r].token_logprobs[i], host[r].token_logprobs[i], 1e-5) << "request " << r;
    }
  }
  EXPECT_EQ(device[4].token_logprobs, mixed[4].token_logprobs);
}

// Several tokens at once have the bits of one by one, counters of capacity included.
TEST_F(GpuEngine, GuessesDoNotShow) {
  for (const char* gate :
       {"",
        "extra_policy=random,capacity=ceil_k,capacity_factor=0.8,group=sequence_chunk,"
        "group_size=16,priority=token_major"}) {
    Use(Golden("qwen2_moe-classic"));
    setup_.options.batch_invariant = true;
    setup_.options.gate = gate;
    SCOPED_TRACE(gate);
    std::vector<Request> requests = SomeRequests(3);
    for (Request& request : requests) request.max_tokens = 16;
    const std::vector<RunOutcome> plain = Run(setup_, requests);
    GuessOracle oracle;
    oracle.Learn(requests, plain);
    RunSetup guessing = setup_;
    guessing.adjust = oracle.Asked(4);
    RunTotals totals;
    const auto outcomes = RunRequests(guessing, requests, &totals);
    ASSERT_TRUE(outcomes.ok()) << outcomes.status();
    ExpectSame(plain, *outcomes);
    EXPECT_GT(totals.speculation.accepted, 10);
    EXPECT_GT(totals.speculation.drafted, totals.speculation.accepted);
  }
}

TEST_F(GpuEngine, DraftModelsAreRefusedByName) {
  Use(Golden("mixtral-classic"));
  setup_.options.speculative_model = setup_.options.model;
  EXPECT_THAT(std::string(Message(RunRequests(setup_, SomeRequests(1)).status())),
              HasSubstr("--speculative-model runs on the CPU only"));
}

TEST_F(GpuEngine, EmbeddingsAreRefused) {
  Use(Golden("mixtral-classic"));
  std::vector<Request> requests = SomeRequests(1);
  requests[0].max_tokens = 0;
  requests[0].pooling = Pooling::kLast;
  EXPECT_THAT(std::string(Message(RunRequests(setup_, requests).status())),
              HasSubstr("which models on GPUs do not keep"));
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
