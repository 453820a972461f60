// SPDX-License-Identifier: Apache-2.0
// POST /v1/completions: writing the answer. With echo the prompt's text and tokens come first.
#include <algorithm>

#include "launch/api/answer/answer.h"
#include "launch/api/common/json_body.h"
#include "nlohmann/json.hpp"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

// The four parallel lists of the legacy log-probabilities.
class LogprobLists {
 public:
  explicit LogprobLists(const GenerationState& state) : state_(state) {}

  void AddPrompt(size_t prompt) {
    const std::vector<int32_t>& ids = state_.request.prompts[prompt].ids;
    const PromptScores& scores = state_.prompts[prompt].scores;
    const auto stored = static_cast<size_t>(state_.request.request.top_logprobs);
    int64_t offset = 0;
    for (size_t i = 0; i < ids.size(); ++i) {
      tokens_.push_back(TokenName(ids[i]));
      offsets_.push_back(offset);
      offset += CountCharacters(state_.model->TokenText(ids[i]));
      if (i == 0 || i > scores.logprobs.size()) {  // nothing comes before the first token
        logprobs_.push_back(nullptr);
        tops_.push_back(nullptr);
        continue;
      }
      const auto* top = scores.top.data() + (i - 1) * stored;
      AddScore(ids[i], scores.logprobs[i - 1],
               (i - 1) * stored + stored <= scores.top.size() ? std::span(top, stored)
                                                              : std::span<const TokenLogprob>());
    }
  }

  // Tokens of the output, `text_start` characters behind the beginning of the text.
  void AddOutput(const ChoiceState& choice, size_t first, int64_t text_start) {
    for (size_t i = first; i < choice.tokens.size(); ++i) {
      const OutputToken& token = choice.tokens[i];
      tokens_.push_back(TokenName(token.id));
      offsets_.push_back(text_start + token.text_offset);
      AddScore(token.id, token.logprob, token.top);
    }
  }

  Json Take() && {
    return {{"text_offset", std::move(offsets_)},
            {"token_logprobs", std::move(logprobs_)},
            {"tokens", std::move(tokens_)},
            {"top_logprobs", std::move(tops_)}};
  }

 private:
  std::string TokenName(int32_t id) const {
    if (state_.request.tokens_as_ids) return fmt::format("token_id:{}", id);
    return state_.model->TokenText(id);
  }

  // The chosen token is always in the list. Tokens may share a text: the better one keeps it, so
  // that the largest value is that of the most probable token.
  void AddScore(int32_t id, float logprob, std::span<const TokenLogprob> top) {
    const double own = SafeLogprob(logprob);
    logprobs_.push_back(own);
    Json best = {{TokenName(id), own}};
    const auto wanted = std::min(top.size(), static_cast<size_t>(state_.request.logprobs));
    for (const TokenLogprob& other : top.first(wanted)) {
      if (other.token == id) continue;
      Json& slot = best[TokenName(other.token)];
      const double value = SafeLogprob(other.logprob);
      slot = slot.is_null() ? value : std::max(slot.get<double>(), value);
    }
    tops_.push_back(std::move(best));
  }

  const GenerationState& state_;
  Json tokens_ = Json::array(), logprobs_ = Json::array(), tops_ = Json::array(),
       offsets_ = Json::array();
};

class CompletionAnswer : public Answer {
 public:
  std::string Body(const GenerationState& state) override {
    Json json = Head(state);
    for (const ChoiceState& choice : state.choices) {
      Json one = ChoiceJson(state, choice, choice.text, 0, /*with_prompt=*/true);
      one["prompt_logprobs"] =
          state.request.prompt_logprobs >= 0 ? PromptLogprobsJson(state, choice.prompt) : Json();
      json["choices"].push_back(std::move(one));
    }
    json["usage"] = UsageJson(state, UsageOf(state));
    return Dump(json);
  }

  std::string Delta(const GenerationState& state, const ChoiceState& choice,
                    const ChoiceDelta& delta) override {
    if (prefix_.empty()) prefix_ = Prefix(state);
    const ApiRequest& request = state.request;
    if (request.logprobs >= 0 || request.return_token_ids || (delta.first && request.echo)) {
      Json json = Head(state);
      json["choices"].push_back(
          ChoiceJson(state, choice, delta.text, delta.first_token, delta.first));
      if (request.include_usage) json["usage"] = ChunkUsage(state, choice);
      return SseEvent(Dump(json));
    }
    // The plain case by hand: this runs once per token of every stream.
    std::string out = prefix_;
    out += fmt::format("{},\"text\":", choice.index);
    AppendQuoted(delta.text, &out);
    out += ",\"logprobs\":null,\"finish_reason\":";
    out += FinishReasonJson(choice).dump();
    out += ",\"stop_reason\":";
    out += Dump(StopReasonJson(choice));
    out += "}]";
    if (request.include_usage) out += ",\"usage\":" + ChunkUsage(state, choice).dump();
    return out + "}\n\n";
  }

  std::string End(const GenerationState& state) override {
    if (!state.request.include_usage) return kSseDone;
    Json json = Head(state);
    json["usage"] = UsageJson(state, UsageOf(state));
    return SseEvent(Dump(json)) + kSseDone;
  }

 private:
  static Json Head(const GenerationState& state) {
    return {{"id", state.request.id},
            {"object", "text_completion"},
            {"created", state.request.created},
            {"model", state.request.model},
            {"choices", Json::array()}};
  }

  // Everything in front of the index of a streamed choice.
  static std::string Prefix(const GenerationState& state) {
    std::string head = Dump(Head(state));  // {...,"choices":[]}
    head.resize(head.size() - 2);
    return "data: " + head + "{\"index\":";
  }

  static Json ChunkUsage(const GenerationState& state, const ChoiceState& choice) {
    if (!state.request.continuous_usage) return nullptr;
    return UsageJson(state, UsageOf(state, choice));
  }

  static Json ChoiceJson(const GenerationState& state, const ChoiceState& choice,
                         const std::string& text, size_t first_token, bool with_prompt) {
    const ApiRequest& request = state.request;
    const ApiPrompt& prompt = state.prompt_of(choice);
    const bool echo = request.echo && with_prompt;
    Json json = {{"index", choice.index}, {"text", echo ? prompt.text + text : text}};
    json["logprobs"] = nullptr;
    if (request.logprobs >= 0) {
      LogprobLists lists(state);
      if (echo) lists.AddPrompt(choice.prompt);
      lists.AddOutput(choice, first_token, request.echo ? CountCharacters(prompt.text) : 0);
      json["logprobs"] = std::move(lists).Take();
    }
    json["finish_reason"] = FinishReasonJson(choice);
    json["stop_reason"] = StopReasonJson(choice);
    if (request.return_token_ids) {
      json["token_ids"] = Json::array();
      for (size_t i = first_token; i < choice.tokens.size(); ++i) {
        json["token_ids"].push_back(choice.tokens[i].id);
      }
      if (with_prompt) json["prompt_token_ids"] = prompt.ids;
    }
    return json;
  }

  std::string prefix_;
};

}  // namespace

std::unique_ptr<Answer> MakeCompletionAnswer() { return std::make_unique<CompletionAnswer>(); }

}  // namespace folkmoot
