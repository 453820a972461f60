// SPDX-License-Identifier: Apache-2.0
// POST /generate: writing the answer. Every streamed event repeats the whole text so far, as
// SGLang's do.
#include <algorithm>

#include "launch/api/answer/answer.h"
#include "launch/api/common/json_body.h"
#include "nlohmann/json.hpp"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

// [logprob, id, text or null]
Json Triple(const GenerationState& state, Json logprob, int32_t id) {
  Json text;
  if (state.request.text_in_logprobs) text = state.model->TokenText(id);
  return Json::array({std::move(logprob), id, std::move(text)});
}

Json TopTriples(const GenerationState& state, std::span<const TokenLogprob> top) {
  Json list = Json::array();
  for (const TokenLogprob& one : top) {
    list.push_back(Triple(state, SafeLogprob(one.logprob), one.token));
  }
  return list;
}

void AddPromptLogprobs(const GenerationState& state, size_t prompt, Json* meta) {
  const ApiRequest& request = state.request;
  const std::vector<int32_t>& ids = request.prompts[prompt].ids;
  const PromptScores& scores = state.prompts[prompt].scores;
  const auto stored = static_cast<size_t>(request.request.top_logprobs);
  Json own = Json::array(), top = Json::array();
  for (size_t i = static_cast<size_t>(request.logprob_start); i < ids.size(); ++i) {
    const bool known = i > 0 && i <= scores.logprobs.size();
    own.push_back(
        Triple(state, known ? Json(SafeLogprob(scores.logprobs[i - 1])) : Json(), ids[i]));
    if (known && stored > 0 && i * stored <= scores.top.size()) {
      top.push_back(TopTriples(state, std::span(scores.top).subspan((i - 1) * stored, stored)));
    } else {
      top.push_back(nullptr);
    }
  }
  (*meta)["input_token_logprobs"] = std::move(own);
  if (stored > 0) (*meta)["input_top_logprobs"] = std::move(top);
}

void AddOutputLogprobs(const GenerationState& state, const ChoiceState& choice, Json* meta) {
  const auto wanted = static_cast<size_t>(state.request.logprobs);
  Json own = Json::array(), top = Json::array();
  for (const OutputToken& token : choice.tokens) {
    own.push_back(Triple(state, SafeLogprob(token.logprob), token.id));
    top.push_back(
        TopTriples(state, std::span(token.top).first(std::min(wanted, token.top.size()))));
  }
  (*meta)["output_token_logprobs"] = std::move(own);
  if (wanted > 0) (*meta)["output_top_logprobs"] = std::move(top);
}

Json FinishJson(const ChoiceState& choice) {
  switch (choice.finish) {
    case FinishReason::kNone:
      return nullptr;
    case FinishReason::kLength:
      return {{"type", "length"}, {"length", choice.tokens.size()}};
    case FinishReason::kStop: {
      Json json = {{"type", "stop"}};
      const Json matched = StopReasonJson(choice);
      if (!matched.is_null()) {
        json["matched"] = matched;
      } else if (!choice.tokens.empty()) {
        json["matched"] = choice.tokens.back().id;
      }
      return json;
    }
    default:
      return {{"type", "abort"}};
  }
}

Json ChoiceJson(const GenerationState& state, const ChoiceState& choice) {
  const Usage usage = UsageOf(state, choice);
  Json ids = Json::array();
  for (const OutputToken& token : choice.tokens) ids.push_back(token.id);
  Json meta = {{"id", state.request.id},
               {"finish_reason", FinishJson(choice)},
               {"prompt_tokens", usage.prompt_tokens},
               {"completion_tokens", usage.completion_tokens},
               {"cached_tokens", usage.cached_tokens},
               {"e2e_latency", state.seconds}};
  if (usage.drafted > 0) {
    meta["speculation"] = {{"drafted", usage.drafted}, {"accepted", usage.accepted}};
  }
  if (TellsDrops(state)) {
    meta["moe"] = {{"rejected", usage.rejected}, {"overflow", usage.overflow}};
  }
  if (state.request.logprobs >= 0) {
    if (state.request.logprob_start >= 0) AddPromptLogprobs(state, choice.prompt, &meta);
    AddOutputLogprobs(state, choice, &meta);
  }
  return {{"text", choice.text}, {"output_ids", std::move(ids)}, {"meta_info", std::move(meta)}};
}

class GenerateAnswer : public Answer {
 public:
  std::string Body(const GenerationState& state) override {
    if (!IsList(state)) return Dump(ChoiceJson(state, state.choices.front()));
    Json list = Json::array();
    for (const ChoiceState& choice : state.choices) list.push_back(ChoiceJson(state, choice));
    return Dump(list);
  }

  std::string Delta(const GenerationState& state, const ChoiceState& choice,
                    const ChoiceDelta&) override {
    Json json = ChoiceJson(state, choice);
    if (IsList(state)) json["index"] = choice.index;
    return SseEvent(Dump(json));
  }

  std::string End(const GenerationState&) override { return kSseDone; }

 private:
  static bool IsList(const GenerationState& state) {
    return state.request.list || state.choices.size() > 1;
  }
};

}  // namespace

std::unique_ptr<Answer> MakeGenerateAnswer() { return std::make_unique<GenerateAnswer>(); }

}  // namespace folkmoot
