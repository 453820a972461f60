// SPDX-License-Identifier: Apache-2.0
// Engines on the GPU decoder beside engines on the CPU. Compared with float32 weights, where both
// compute the same up to the order of sums.
#pragma once

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <utility>
#include <vector>

#include "launch/gpu/gpu.h"
#include "tests/support/engine_run.h"

namespace folkmoot {

inline std::string Golden(const char* name) {
  return std::string(FOLKMOOT_TEST_DATA) + "/goldens/" + name;
}

// Requests of different lengths, greedy and drawn, that are prefilled and decoded side by side.
inline std::vector<Request> SomeRequests(int count) {
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
  void SetUp() override {
    if (!ListGpus().ok()) GTEST_SKIP() << "SKIPPED: no GPU";
  }
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

}  // namespace folkmoot
