// SPDX-License-Identifier: Apache-2.0
// Every golden checkpoint against what Hugging Face Transformers computed with it:
// log-probabilities within 1e-4, every router choice and every greedy token equal, at 1 and at 3
// ranks with the same bits.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "nlohmann/json.hpp"
#include "tests/support/engine_run.h"

namespace folkmoot {
namespace {

constexpr double kTolerance = 1e-4;

std::vector<std::string> Variants() {
  std::vector<std::string> names;
  const std::string root = std::string(FOLKMOOT_TEST_DATA) + "/goldens";
  for (const auto& entry : std::filesystem::directory_iterator(root)) {
    if (entry.is_directory()) names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class Golden : public testing::TestWithParam<std::string> {
 protected:
  Golden() {
    setup_.options.model = std::string(FOLKMOOT_TEST_DATA) + "/goldens/" + GetParam();
    golden_ = nlohmann::json::parse(std::ifstream(setup_.options.model + "/golden.json"));
    if (GetParam().ends_with("-dynamic")) setup_.options.max_model_len = 128;
    for (const auto& prompt : golden_["prompts"]) {
      Request request;
      request.prompt = prompt["token_ids"].get<std::vector<int32_t>>();
      request.max_tokens = 0;
      request.prompt_logprobs = true;
      request.trace_routing = true;
      request.layer_digests = true;
      requests_.push_back(request);
    }
    Request greedy;
    greedy.prompt = golden_["greedy"]["prompt"].get<std::vector<int32_t>>();
    continuation_ = golden_["greedy"]["continuation"].get<std::vector<int32_t>>();
    greedy.max_tokens = static_cast<int64_t>(continuation_.size());
    greedy.sampling.temperature = 0;
    requests_.push_back(greedy);
  }

  void ExpectRouting(const nlohmann::json& expected, const RunOutcome& outcome) {
    for (const auto& layer : expected) {
      const auto found = outcome.routing.find(layer["layer"].get<int32_t>());
      ASSERT_NE(found, outcome.routing.end()) << "layer " << layer["layer"] << " was not routed";
      std::vector<int32_t> experts;
      std::vector<float> weights;
      for (const auto& row : layer["experts"]) {
        for (const auto& expert : row) experts.push_back(expert.get<int32_t>());
      }
      for (const auto& row : layer["weights"]) {
        for (const auto& weight : row) weights.push_back(weight.get<float>());
      }
      EXPECT_EQ(found->second.expert, experts) << "layer " << layer["layer"];
      ASSERT_EQ(found->second.weight.size(), weights.size());
      for (size_t i = 0; i < weights.size(); ++i) {
        EXPECT_NEAR(found->second.weight[i], weights[i], 1e-4) << "layer " << layer["layer"];
      }
    }
    EXPECT_EQ(outcome.routing.size(), expected.size()) << "number of MoE layers";
  }

  RunSetup setup_;
  nlohmann::json golden_;
  std::vector<Request> requests_;
  std::vector<int32_t> continuation_;
};

TEST_P(Golden, EqualsTransformers) {
  const auto outcomes = RunRequests(setup_, requests_);
  ASSERT_TRUE(outcomes.ok()) << outcomes.status();
  double worst = 0;
  for (size_t p = 0; p + 1 < requests_.size(); ++p) {
    const nlohmann::json& expected = golden_["prompts"][p];
    const RunOutcome& outcome = (*outcomes)[p];
    ASSERT_EQ(outcome.prompt_logprobs.size() + 1, expected["logprobs"].size());
    for (size_t i = 0; i < outcome.prompt_logprobs.size(); ++i) {
      const double difference = std::abs(static_cast<double>(outcome.prompt_logprobs[i]) -
                                         expected["logprobs"][i + 1].get<double>());
      worst = std::max(worst, difference);
      EXPECT_LE(difference, kTolerance) << "prompt " << p << " position " << i + 1;
    }
    ExpectRouting(expected["router"], outcome);
  }
  EXPECT_EQ(outcomes->back().tokens, continuation_);
  RecordProperty("worst_logprob_error", fmt::format("{:.2e}", worst));
  fmt::print("{}: worst log-probability error {:.1e}\n", GetParam(), worst);
}

TEST_P(Golden, SameBitsAtThreeRanks) {
  const auto alone = RunRequests(setup_, requests_);
  ASSERT_TRUE(alone.ok()) << alone.status();
  setup_.ranks = 3;
  const auto three = RunRequests(setup_, requests_);
  ASSERT_TRUE(three.ok()) << three.status();
  for (size_t p = 0; p < requests_.size(); ++p) {
    EXPECT_TRUE((*alone)[p] == (*three)[p]) << "prompt " << p;
  }
}

// Weights stored in 16 bits are computed with in float32: against Transformers in float32 the error
// stays far below its own bfloat16 error.
TEST_P(Golden, SixteenBitStorageIsWithinTransformersOwnError) {
  setup_.options.dtype = "bfloat16";
  const auto outcomes = RunRequests(setup_, requests_);
  ASSERT_TRUE(outcomes.ok()) << outcomes.status();
  const double bound = 2 * golden_["bf16_reference_error"].get<double>();
  for (size_t p = 0; p + 1 < requests_.size(); ++p) {
    for (size_t i = 0; i < (*outcomes)[p].prompt_logprobs.size(); ++i) {
      EXPECT_NEAR((*outcomes)[p].prompt_logprobs[i],
                  golden_["prompts"][p]["logprobs"][i + 1].get<double>(), bound);
    }
  }
}

std::string TestName(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Families, Golden, testing::ValuesIn(Variants()), TestName);

}  // namespace
}  // namespace folkmoot
