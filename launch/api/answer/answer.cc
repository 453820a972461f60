// SPDX-License-Identifier: Apache-2.0
#include "launch/api/answer/answer.h"

#include <algorithm>

#include <cmath>

#include "launch/api/common/json_body.h"
#include "nlohmann/json.hpp"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

}  // namespace

std::string SseEvent(std::string_view json) { return fmt::format("data: {}\n\n", json); }

Json FinishReasonJson(const ChoiceState& choice) {
  switch (choice.finish) {
    case FinishReason::kNone:
      return nullptr;
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kAborted:
      return "abort";
    case FinishReason::kError:
      return "error";
  }
  return nullptr;
}

Json StopReasonJson(const ChoiceState& choice) {
  if (choice.stop_string != nullptr) return *choice.stop_string;
  if (choice.stop_token >= 0) return choice.stop_token;
  return nullptr;
}

// Where the gate can lose choices, every result has counts of them, zeros included.
bool TellsDrops(const GenerationState& state) {
  return std::any_of(state.choices.begin(), state.choices.end(),
                     [](const ChoiceState& choice) { return !choice.drops.empty(); });
}

Json UsageJson(const GenerationState& state, const Usage& usage) {
  Json json = {{"prompt_tokens", usage.prompt_tokens},
               {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
               {"completion_tokens", usage.completion_tokens},
               {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}}}};
  if (usage.drafted > 0) {
    json["completion_tokens_details"] = {
        {"accepted_prediction_tokens", usage.accepted},
        {"rejected_prediction_tokens", usage.drafted - usage.accepted}};
  }
  if (TellsDrops(state)) {
    json["moe"] = {{"rejected", usage.rejected}, {"overflow", usage.overflow}};
  }
  return json;
}

double SafeLogprob(float logprob) {
  const auto value = static_cast<double>(logprob);
  return value >= -9999.0 && std::isfinite(value) ? value : -9999.0;
}

Json PromptLogprobsJson(const GenerationState& state, size_t prompt) {
  const PromptScores& scores = state.prompts[prompt].scores;
  const std::vector<int32_t>& ids = state.request.prompts[prompt].ids;
  const auto stored = static_cast<size_t>(state.request.request.top_logprobs);
  const auto wanted = static_cast<size_t>(std::max(0, state.request.prompt_logprobs));
  const auto entry = [&](int32_t id, float logprob, int64_t rank) {
    return Json{{"logprob", SafeLogprob(logprob)},
                {"rank", rank},
                {"decoded_token", state.model->TokenText(id)}};
  };
  Json list = Json::array({nullptr});
  for (size_t i = 0; i < scores.logprobs.size() && i + 1 < ids.size(); ++i) {
    const int32_t own = ids[i + 1];
    const int64_t rank = i < scores.ranks.size() ? scores.ranks[i] : 0;
    Json position = {{std::to_string(own), entry(own, scores.logprobs[i], rank)}};
    for (size_t k = 0; k < wanted && i * stored + k < scores.top.size(); ++k) {
      const TokenLogprob& top = scores.top[i * stored + k];
      if (top.token == own) continue;
      position[std::to_string(top.token)] =
          entry(top.token, top.logprob, static_cast<int64_t>(k) + 1);
    }
    list.push_back(std::move(position));
  }
  return list;
}

}  // namespace folkmoot
