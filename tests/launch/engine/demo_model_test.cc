// SPDX-License-Identifier: Apache-2.0
// The demo model of this repository, text to text, against what Transformers computes with it
// (tools/demo_model/reference.py): ids, log-probabilities, router choices, greedy text.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "nlohmann/json.hpp"
#include "runtime/tokenizer/tokenizer.h"
#include "tests/support/engine_run.h"

namespace folkmoot {
namespace {

TEST(DemoModel, EqualsTransformersFromTextToText) {
  const std::string directory = std::string(FOLKMOOT_SOURCE_DIR) + "/models/demo-kjv";
  const auto tokenizer = Tokenizer::Load(directory + "/tokenizer.json");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const auto reference = nlohmann::json::parse(
      std::ifstream(std::string(FOLKMOOT_TEST_DATA) + "/demo-kjv-reference.json"));
  ASSERT_EQ(reference["prompts"].size(), 3u);
  for (const nlohmann::json& expected : reference["prompts"]) {
    Request request;
    const auto ids = (*tokenizer)->Encode(expected["prompt"].get<std::string>());
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(*ids, expected["token_ids"].get<std::vector<int32_t>>());
    request.prompt = *ids;
    request.max_tokens = static_cast<int64_t>(expected["greedy_ids"].size());
    request.sampling.temperature = 0;
    request.prompt_logprobs = true;
    request.trace_routing = true;
    RunSetup setup;
    setup.options.model = directory;
    setup.ranks = 2;
    const auto outcomes = RunRequests(setup, {request});
    ASSERT_TRUE(outcomes.ok()) << outcomes.status();
    const RunOutcome& outcome = outcomes->front();
    ASSERT_EQ(outcome.prompt_logprobs.size() + 1, expected["logprobs"].size());
    for (size_t i = 0; i < outcome.prompt_logprobs.size(); ++i) {
      EXPECT_NEAR(outcome.prompt_logprobs[i], expected["logprobs"][i + 1].get<double>(), 1e-4);
    }
    EXPECT_EQ(outcome.tokens, expected["greedy_ids"].get<std::vector<int32_t>>());
    EXPECT_EQ((*tokenizer)->Decode(outcome.tokens, true),
              expected["greedy_text"].get<std::string>());
    for (size_t layer = 0; layer < expected["layers"].size(); ++layer) {
      std::vector<int32_t> experts;
      for (const auto& token : expected["layers"][layer]["experts"]) {
        for (const auto& expert : token) experts.push_back(expert.get<int32_t>());
      }
      const std::vector<int32_t>& routed = outcome.routing.at(static_cast<int32_t>(layer)).expert;
      const std::vector<int32_t> prompt(routed.begin(),
                                        routed.begin() + static_cast<int64_t>(experts.size()));
      EXPECT_EQ(prompt, experts) << "layer " << layer;
    }
  }
}

}  // namespace
}  // namespace folkmoot
