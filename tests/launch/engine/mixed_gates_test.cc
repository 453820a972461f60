// SPDX-License-Identifier: Apache-2.0
// Requests with gates of their own, side by side in one batch: each answers bit for bit as when the
// whole engine runs with its gate.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "tests/support/engine_run.h"

namespace folkmoot {
namespace {

using testing::HasSubstr;

constexpr const char* kGates[] = {
    "",
    "top_k=1",
    "top_k=4,normalize=before_drop",
    "extra_policy=random",
    "capacity=ceil_k,capacity_factor=0.8,group=sequence_chunk,group_size=16,priority=token_major",
    "",
    "switch,capacity_factor=1,group=sequence_chunk,priority=token_major",
};

class MixedGates : public testing::TestWithParam<const char*> {
 protected:
  MixedGates() {
    setup_.options.model = std::string(FOLKMOOT_TEST_DATA) + "/goldens/" + GetParam();
    std::mt19937 random(4);
    for (const char* gate : kGates) {
      Request request;
      for (int i = 0; i < 21; ++i) request.prompt.push_back(static_cast<int32_t>(random() % 90));
      request.max_tokens = 6;
      request.sampling = {.temperature = 0.8f, .seed = random()};
      request.prompt_logprobs = request.trace_routing = request.layer_digests = true;
      RunSetup whole = setup_;
      whole.options.gate = gate;
      const auto outcome = RunRequests(whole, {request});
      if (outcome.ok()) {
        alone_.push_back(outcome->front());
      } else {
        ADD_FAILURE() << gate << ": " << outcome.status();
      }
      request.gate = gate;
      requests_.push_back(request);
    }
  }
  void ExpectSame(const char* what) {
    const auto mixed = RunRequests(setup_, requests_);
    ASSERT_TRUE(mixed.ok()) << mixed.status();
    for (size_t i = 0; i < requests_.size(); ++i) {
      EXPECT_TRUE((*mixed)[i] == alone_[i]) << what << ", gate '" << kGates[i] << "'";
    }
  }

  RunSetup setup_;
  std::vector<Request> requests_;
  std::vector<RunOutcome> alone_;
};

TEST_P(MixedGates, AnswerAsInAnEngineOfTheirOwn) {
  ExpectSame("one rank");
  for (const int ranks : {2, 3}) {
    setup_.ranks = ranks;
    ExpectSame("more ranks");
  }
  setup_.options.prefill_chunk = 4;
  setup_.plan_ahead = true;
  ExpectSame("in chunks, planned ahead");
}

TEST_P(MixedGates, DoNotShareThePagesOfOtherGates) {
  for (Request& request : requests_) {
    request.prompt_logprobs = request.trace_routing = request.layer_digests = false;
    request.prompt = requests_[0].prompt;
    request.sampling.seed = 9;
  }
  std::vector<Request> uncached = requests_;
  for (Request& request : uncached) request.prefix_cache = false;
  const auto reference = RunRequests(setup_, uncached);
  setup_.alone = true;
  setup_.times = 2;
  RunTotals totals;
  const auto cached = RunRequests(setup_, requests_, &totals);
  ASSERT_TRUE(reference.ok() && cached.ok()) << cached.status();
  EXPECT_GT(totals.prefix_hit_tokens, 0);
  for (size_t i = 0; i < requests_.size(); ++i) {
    EXPECT_TRUE((*cached)[i] == (*reference)[i]) << kGates[i];
  }
}

// Gates whose capacity spans the ranks are collective: ranks without such a sequence take part.
TEST_P(MixedGates, StepCapacityIsTheSameAtAnyNumberOfRanks) {
  requests_.resize(4);
  requests_[1].gate = requests_[3].gate = "capacity=ceil_k,capacity_factor=0.75,group=step";
  const auto one = RunRequests(setup_, requests_);
  ASSERT_TRUE(one.ok()) << one.status();
  EXPECT_GT((*one)[1].overflow + (*one)[3].overflow, 0);
  EXPECT_TRUE((*one)[0] == alone_[0]);
  EXPECT_TRUE((*one)[2] == alone_[2]);
  for (const int ranks : {2, 3}) {
    setup_.ranks = ranks;
    const auto more = RunRequests(setup_, requests_);
    ASSERT_TRUE(more.ok()) << more.status();
    for (size_t i = 0; i < requests_.size(); ++i) EXPECT_TRUE((*more)[i] == (*one)[i]) << i;
  }
}

TEST_P(MixedGates, OverridesThatTheWeightsDoNotAllowAreRefused) {
  Request request = requests_[0];
  for (const auto& [gate, message] : std::vector<std::pair<std::string, std::string>>{
           {"top_k=99", "top_k=99"},
           {"num_experts=3", "num_experts=3"},
           {"apply_to=input", "apply_to cannot be changed"},
           {"nonsense=1", "unknown field 'nonsense'"},
           {"selection=token_table,token_table=[[0,1]],top_k=2", "token_table: 1 rows"},
           {"shared=true,shared_gate=softmax2", "shared expert cannot be changed"}}) {
    request.gate = gate;
    EXPECT_THAT(std::string(Message(RunRequests(setup_, {request}).status())), HasSubstr(message));
  }
}

TEST(MixedGatesDense, ADenseModelHasNoGate) {
  RunSetup setup;
  setup.options.model = std::string(FOLKMOOT_TEST_DATA) + "/goldens/llama-classic";
  Request request;
  request.prompt = {1, 2};
  request.gate = "top_k=1";
  EXPECT_THAT(std::string(Message(RunRequests(setup, {request}).status())),
              HasSubstr("is a dense model and has no gate"));
}

INSTANTIATE_TEST_SUITE_P(Models, MixedGates,
                         testing::Values("mixtral-classic", "qwen2_moe-classic",
                                         "hunyuan_v1_moe-topk-list"),
                         [](const auto& test) { return std::string(test.param, 5); });

}  // namespace
}  // namespace folkmoot
