// SPDX-License-Identifier: Apache-2.0
#include "launch/api/answer/chat_message.h"

#include "launch/api/common/json_body.h"
#include "nlohmann/json.hpp"
#include "xxhash.h"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;
using Kind = OutputDelta::Kind;

std::string TextOf(const OutputDeltas& deltas, Kind kind) {
  std::string text;
  for (const OutputDelta& delta : deltas.list()) {
    if (delta.kind == kind) text += delta.text;
  }
  return text;
}

// The calls among the deltas, each with what it gained.
Json CallsJson(const GenerationState& state, const ChoiceState& choice, const OutputDeltas& deltas,
               bool streamed) {
  Json calls = Json::array();
  int open = -1;  // the call at the end of the list
  for (const OutputDelta& delta : deltas.list()) {
    if (delta.tool < 0) continue;
    if (delta.kind == Kind::kToolName) {
      Json call = Json::object();
      if (streamed) call["index"] = delta.tool;
      call["id"] = delta.id.empty() ? ToolCallId(state, choice, delta.tool) : delta.id;
      call["type"] = "function";
      call["function"] = {{"name", delta.text}, {"arguments", ""}};
      calls.push_back(std::move(call));
    } else if (open != delta.tool) {
      calls.push_back({{"index", delta.tool}, {"function", {{"arguments", delta.text}}}});
    } else {
      Json& arguments = calls.back()["function"]["arguments"];
      arguments = arguments.get<std::string>() + delta.text;
    }
    open = delta.tool;
  }
  return calls;
}

// vLLM's name and the older one, which most clients read.
void AddReasoning(const std::string& text, Json* out) {
  (*out)["reasoning_content"] = text;
  (*out)["reasoning"] = text;
}

}  // namespace

std::string ToolCallId(const GenerationState& state, const ChoiceState& choice, int tool) {
  const std::vector<int32_t>& prompt = state.prompt_of(choice).ids;
  const uint64_t of_prompt = XXH3_64bits(prompt.data(), prompt.size() * sizeof(int32_t));
  const std::string place =
      fmt::format("{} {} {} {}", state.request.id, of_prompt, choice.index, tool);
  uint64_t number = XXH3_64bits(place.data(), place.size());
  constexpr std::string_view kAlphabet =
      "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  std::string id;
  for (int i = 0; i < 9; ++i) {
    id += kAlphabet[number % kAlphabet.size()];
    number /= kAlphabet.size();
  }
  return id;
}

// A long text goes in piece by piece: parsers move what they hold back with every marker.
OutputDeltas ChatMessage::Read(std::string_view text, bool last) {
  constexpr size_t kPiece = 4096;
  OutputDeltas deltas;
  for (size_t at = 0; at < text.size(); at += kPiece) {
    parser_->Push(text.substr(at, kPiece), &deltas);
  }
  if (last) parser_->Finish(&deltas);
  for (const OutputDelta& delta : deltas.list()) Follow(delta);
  return deltas;
}

void ChatMessage::Follow(const OutputDelta& delta) {
  if (delta.kind == Kind::kToolName) {
    ++calls_;
    arguments_.Reset();
    complete_ = false;
  }
  if (delta.kind != Kind::kToolArguments) return;
  for (const char c : delta.text) {
    if (complete_) return;
    complete_ = arguments_.Advance(c) == JsonExtent::State::kEnd;
  }
}

std::string ChatMessage::Delta(const GenerationState& state, const ChoiceState& choice,
                               std::string_view text, bool last) {
  const OutputDeltas deltas = Read(text, last);
  Json json = Json::object();
  if (const std::string reasoning = TextOf(deltas, Kind::kReasoning); !reasoning.empty()) {
    AddReasoning(reasoning, &json);
  }
  if (const std::string content = TextOf(deltas, Kind::kContent); !content.empty()) {
    json["content"] = content;
  }
  if (Json calls = CallsJson(state, choice, deltas, /*streamed=*/true); !calls.empty()) {
    json["tool_calls"] = std::move(calls);
  }
  return Dump(json);
}

Json ChatMessage::Whole(const GenerationState& state, const ChoiceState& choice,
                        const std::string& echo) {
  const OutputDeltas deltas = Read(choice.text, /*last=*/true);
  const std::string content = echo + TextOf(deltas, Kind::kContent);
  const std::string reasoning = TextOf(deltas, Kind::kReasoning);
  Json message = {{"role", "assistant"}, {"content", content}, {"refusal", nullptr}};
  if (content.empty() && (calls_ > 0 || !reasoning.empty())) message["content"] = nullptr;
  if (state.request.output.reasoning != nullptr) {
    AddReasoning(reasoning, &message);
    if (reasoning.empty()) message["reasoning_content"] = message["reasoning"] = nullptr;
  }
  message["tool_calls"] = CallsJson(state, choice, deltas, /*streamed=*/false);
  return message;
}

}  // namespace folkmoot
