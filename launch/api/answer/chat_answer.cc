// SPDX-License-Identifier: Apache-2.0
// POST /v1/chat/completions: writing the answer.
#include <algorithm>

#include "launch/api/answer/answer.h"
#include "launch/api/answer/chat_message.h"
#include "launch/api/common/json_body.h"
#include "nlohmann/json.hpp"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

Json TokenJson(const GenerationState& state, int32_t id, float logprob) {
  const std::string& text = state.model->TokenText(id);
  Json bytes = Json::array();
  for (const char c : text) bytes.push_back(static_cast<unsigned char>(c));
  return {{"token", state.request.tokens_as_ids ? fmt::format("token_id:{}", id) : text},
          {"logprob", SafeLogprob(logprob)},
          {"bytes", std::move(bytes)}};
}

Json LogprobsJson(const GenerationState& state, const ChoiceState& choice, size_t first) {
  if (state.request.logprobs < 0) return nullptr;
  Json content = Json::array();
  for (size_t i = first; i < choice.tokens.size(); ++i) {
    const OutputToken& token = choice.tokens[i];
    Json entry = TokenJson(state, token.id, token.logprob);
    entry["top_logprobs"] = Json::array();
    const auto wanted = static_cast<size_t>(state.request.logprobs);
    for (size_t k = 0; k < std::min(wanted, token.top.size()); ++k) {
      const TokenLogprob& top = token.top[k];
      entry["top_logprobs"].push_back(TokenJson(state, top.token, top.logprob));
    }
    content.push_back(std::move(entry));
  }
  return {{"content", std::move(content)}};
}

Json IdsJson(const ChoiceState& choice, size_t first) {
  Json ids = Json::array();
  for (size_t i = first; i < choice.tokens.size(); ++i) ids.push_back(choice.tokens[i].id);
  return ids;
}

class ChatAnswer : public Answer {
 public:
  std::string Body(const GenerationState& state) override {
    const ApiRequest& request = state.request;
    Json json = Head(state, "chat.completion");
    for (const ChoiceState& choice : state.choices) {
      Json message = MessageOf(state, choice);  // the finish reason asks what was in it
      Json one = {{"index", choice.index},
                  {"message", std::move(message)},
                  {"logprobs", LogprobsJson(state, choice, 0)},
                  {"finish_reason", ChatFinishJson(state, choice)},
                  {"stop_reason", StopReasonJson(choice)}};
      if (request.return_token_ids) one["token_ids"] = IdsJson(choice, 0);
      json["choices"].push_back(std::move(one));
    }
    json["usage"] = UsageJson(state, UsageOf(state));
    json["prompt_logprobs"] = request.prompt_logprobs >= 0 ? PromptLogprobsJson(state, 0) : Json();
    if (request.return_token_ids) json["prompt_token_ids"] = request.prompts[0].ids;
    return Dump(json);
  }

  // The role goes out together with the first token, never before it: benchmark clients take the
  // first event as the first token.
  std::string Delta(const GenerationState& state, const ChoiceState& choice,
                    const ChoiceDelta& delta) override {
    if (prefix_.empty()) prefix_ = Prefix(state);
    std::string out;
    if (delta.first) {
      std::string role = "{\"role\":\"assistant\",\"content\":";
      AppendQuoted(state.request.echo_text, &role);
      Json ids;
      if (state.request.return_token_ids) ids = state.request.prompts[0].ids;
      out += Event(state, choice, role + "}", nullptr, /*last=*/false, ids, nullptr);
    }
    const bool last = choice.finish != FinishReason::kNone;
    std::string content;
    if (state.request.output.active()) {
      content = MessageReader(state, choice).Delta(state, choice, delta.text, last);
    } else if (last && delta.text.empty() && delta.first_token == choice.tokens.size()) {
      content = "{}";
    } else {
      content = "{\"content\":";
      AppendQuoted(delta.text, &content);
      content += "}";
    }
    Json ids;
    if (state.request.return_token_ids) ids = IdsJson(choice, delta.first_token);
    out += Event(state, choice, content, LogprobsJson(state, choice, delta.first_token), last,
                 nullptr, ids);
    return out;
  }

  std::string End(const GenerationState& state) override {
    if (!state.request.include_usage) return kSseDone;
    Json json = Head(state, "chat.completion.chunk");
    json["usage"] = UsageJson(state, UsageOf(state));
    return SseEvent(Dump(json)) + kSseDone;
  }

 private:
  // What was read of a choice so far.
  ChatMessage& MessageReader(const GenerationState& state, const ChoiceState& choice) {
    while (messages_.size() < state.choices.size()) messages_.emplace_back(state.request.output);
    return messages_[static_cast<size_t>(choice.index)];
  }

  Json MessageOf(const GenerationState& state, const ChoiceState& choice) {
    const std::string& echo = state.request.echo_text;
    if (state.request.output.active())
      return MessageReader(state, choice).Whole(state, choice, echo);
    return {{"role", "assistant"},
            {"content", echo + choice.text},
            {"refusal", nullptr},
            {"tool_calls", Json::array()}};
  }

  // A text that ends by itself with calls asks for their results.
  Json ChatFinishJson(const GenerationState& state, const ChoiceState& choice) {
    const OutputRules& rules = state.request.output;
    if (choice.finish != FinishReason::kStop || !rules.active()) return FinishReasonJson(choice);
    const ChatMessage& message = MessageReader(state, choice);
    // What the client wanted to stop at may stand inside of a call, which is then not to be run.
    const bool cut = choice.stop_string != nullptr || choice.stop_token >= 0;
    if (message.ends_with_calls(rules) && (!cut || message.last_call_complete())) {
      return "tool_calls";
    }
    return FinishReasonJson(choice);
  }

  static Json Head(const GenerationState& state, const char* object) {
    return {{"id", state.request.id},
            {"object", object},
            {"created", state.request.created},
            {"model", state.request.model},
            {"choices", Json::array()}};
  }

  // Everything in front of the index of a streamed choice.
  static std::string Prefix(const GenerationState& state) {
    std::string head = Dump(Head(state, "chat.completion.chunk"));  // {...,"choices":[]}
    head.resize(head.size() - 2);
    return "data: " + head + "{\"index\":";
  }

  std::string Event(const GenerationState& state, const ChoiceState& choice,
                    const std::string& delta, const Json& logprobs, bool last,
                    const Json& prompt_ids, const Json& ids) {
    std::string out = prefix_;
    out += fmt::format("{},\"delta\":{},\"logprobs\":{},\"finish_reason\":", choice.index, delta,
                       logprobs.is_null() ? "null" : Dump(logprobs));
    if (last) {
      out += fmt::format("{},\"stop_reason\":{}", ChatFinishJson(state, choice).dump(),
                         Dump(StopReasonJson(choice)));
    } else {
      out += "null";
    }
    if (!ids.is_null()) out += ",\"token_ids\":" + ids.dump();
    out += "}]";
    if (!prompt_ids.is_null()) out += ",\"prompt_token_ids\":" + prompt_ids.dump();
    if (state.request.include_usage) {
      out += ",\"usage\":";
      out +=
          state.request.continuous_usage ? UsageJson(state, UsageOf(state, choice)).dump() : "null";
    }
    return out + "}\n\n";
  }

  std::string prefix_;
  std::vector<ChatMessage> messages_;  // by choice, when the text is parsed
};

}  // namespace

std::unique_ptr<Answer> MakeChatAnswer() { return std::make_unique<ChatAnswer>(); }

}  // namespace folkmoot
