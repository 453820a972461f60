// SPDX-License-Identifier: Apache-2.0
// What has come back of a request so far: the data from which answers are written.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launch/api/common/served_model.h"
#include "launch/api/common/text_rules.h"
#include "launch/api/request/api_request.h"
#include "scheduler/step_plan.h"

namespace folkmoot {

struct OutputToken {
  int32_t id = 0;
  float logprob = 0;
  std::vector<TokenLogprob> top;
  int64_t text_offset = 0;  // characters before it in the text of its choice
};

// Entry i belongs to prompt token i + 1.
struct PromptScores {
  std::vector<float> logprobs;
  std::vector<int32_t> ranks;
  std::vector<TokenLogprob> top;  // Request::top_logprobs for each
};

struct ChoiceState {
  ChoiceState(size_t prompt_index, int32_t own_index, const Tokenizer* tokenizer,
              const TextRules& rules)
      : prompt(prompt_index), index(own_index), output(tokenizer, rules) {}

  size_t prompt;
  int32_t index;  // among all choices of the answer
  ChoiceText output;
  std::string text;  // what may be shown so far
  std::vector<OutputToken> tokens;
  FinishReason finish = FinishReason::kNone;
  const std::string* stop_string = nullptr;  // that ended it
  int32_t stop_token = -1;                   // that ended it, when the request named it
  std::vector<DropCounts> drops;             // of all its tokens so far
  int64_t drafted = 0;                       // of its tokens: guessed,
  int64_t accepted = 0;                      // and guessed right
};

struct PromptState {
  PromptScores scores;
  std::vector<float> embedding;
  int64_t cached_tokens = 0;
};

struct GenerationState {
  ApiRequest request;
  const ServedModel* model = nullptr;
  std::vector<PromptState> prompts;
  std::vector<ChoiceState> choices;  // prompt-major, n for each prompt
  double seconds = 0;                // from arrival until now; /generate tells it

  const ApiPrompt& prompt_of(const ChoiceState& choice) const {
    return request.prompts[choice.prompt];
  }
};

struct Usage {
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
  int64_t cached_tokens = 0;
  int64_t rejected = 0;  // choices of experts: by the extra-expert policy,
  int64_t overflow = 0;  // and those that found no place
  int64_t drafted = 0;   // tokens guessed,
  int64_t accepted = 0;  // and guessed right
};
// Of the whole request, or of one choice and its prompt.
Usage UsageOf(const GenerationState& state);
Usage UsageOf(const GenerationState& state, const ChoiceState& choice);

}  // namespace folkmoot
