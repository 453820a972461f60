// SPDX-License-Identifier: Apache-2.0
// POST /v1/chat/completions: reading the body, and from messages to the text of a prompt.
#include <algorithm>

#include "launch/api/common/json_body.h"
#include "launch/api/request/request_builder.h"
#include "nlohmann/json.hpp"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kMessages[] = "messages";

// Names that the server gives to templates, or that mean something to Transformers.
constexpr std::string_view kReserved[] = {
    "messages",
    "tools",
    "documents",
    "add_generation_prompt",
    "continue_final_message",
    "bos_token",
    "eos_token",
    "pad_token",
    "unk_token",
    "chat_template",
    "tokenize",
    "self",
    "loop",
    "raise_exception",
    "strftime_now",
    "range",
    "namespace",
    "cycler",
    "conversation",
    "kwargs",
};

// The text of a message: a string, or parts {"type": "text", "text": "..."} joined by new lines.
absl::StatusOr<std::string> ContentText(const Json& content) {
  if (content.is_null()) return std::string();
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) {
    return BadField(kMessages, "messages: content must be a string or a list of parts");
  }
  std::string text;
  for (const Json& part : content) {
    if (part.is_string()) {
      text += (text.empty() ? "" : "\n") + part.get_ref<const std::string&>();
      continue;
    }
    const auto type = part.is_object() ? part.find("type") : part.end();
    if (!part.is_object() || type == part.end() || !type->is_string()) {
      return BadField(kMessages, "messages: a part of the content has no type");
    }
    if (*type != "text" && *type != "input_text" && *type != "output_text" && *type != "refusal") {
      return BadField(kMessages,
                      "messages: content of type '{}' is not supported; this server "
                      "reads text only",
                      type->get_ref<const std::string&>());
    }
    const auto value = part.find(*type == "refusal" ? "refusal" : "text");
    if (value == part.end() || !value->is_string()) {
      return BadField(kMessages, "messages: a text part has no text");
    }
    text += (text.empty() ? "" : "\n") + value->get_ref<const std::string&>();
  }
  return text;
}

// Most templates want arguments as an object; the API has them as a string of JSON.
absl::StatusOr<Json> ToolCalls(const Json& calls, const MessageStyle& style) {
  if (!calls.is_array()) return BadField(kMessages, "messages: tool_calls must be a list");
  Json out = calls;
  for (Json& call : out) {
    if (!call.is_object() || !call.contains("function") || !call["function"].is_object()) {
      return BadField(kMessages, "messages: a tool call has no function");
    }
    Json& function = call["function"];
    if (!function.contains("name") || !function["name"].is_string()) {
      return BadField(kMessages, "messages: the function of a tool call has no name");
    }
    const auto arguments = function.find("arguments");
    if (arguments == function.end()) continue;
    if (style.arguments_as_text) {
      if (!arguments->is_string()) *arguments = arguments->dump();
      if (arguments->get_ref<const std::string&>().empty()) *arguments = "{}";
      continue;
    }
    if (!arguments->is_string()) continue;
    if (arguments->get_ref<const std::string&>().empty()) {
      *arguments = Json::object();  // clients write "" for a function without parameters
      continue;
    }
    absl::StatusOr<Json> parsed = ParseBody(arguments->get_ref<const std::string&>());
    // What a model wrote wrongly, or max_tokens cut, must not end its conversation: it stays text.
    if (parsed.ok()) *arguments = *std::move(parsed);
  }
  return out;
}

absl::StatusOr<Json> ReadMessage(const Json& message, const MessageStyle& style) {
  const auto role = message.is_object() ? message.find("role") : message.end();
  if (!message.is_object() || role == message.end() || !role->is_string() || role->empty() ||
      role->get_ref<const std::string&>().size() > 64) {
    return BadField(kMessages, "messages: each must be an object with a role");
  }
  Json out = {{"role", *role}};
  const auto content = message.find("content");
  const bool has_content = content != message.end() && !content->is_null();
  if (!has_content && *role != "assistant") {
    return BadField(kMessages, "messages: the message of '{}' has no content",
                    role->get_ref<const std::string&>());
  }
  out["content"] = "";
  if (has_content) {
    FM_ASSIGN_OR_RETURN(out["content"], ContentText(*content));
  }
  for (const char* name : {"name", "tool_call_id", "reasoning_content", "reasoning"}) {
    const auto value = message.find(name);
    if (value == message.end() || value->is_null()) continue;
    if (!value->is_string()) return BadField(kMessages, "messages: {} must be a string", name);
    out[name] = *value;
  }
  if (out.contains("reasoning") && !out.contains("reasoning_content")) {
    out["reasoning_content"] = out["reasoning"];
  }
  if (const auto calls = message.find("tool_calls"); calls != message.end() && !calls->empty()) {
    FM_ASSIGN_OR_RETURN(out["tool_calls"], ToolCalls(*calls, style));
    if (style.null_content && out["content"] == "") out["content"] = nullptr;
  }
  return out;
}

absl::Status AddTools(const Fields& fields, Json* context) {
  (*context)["tools"] = nullptr;
  const Json* tools = fields.Get("tools");
  if (tools == nullptr || tools->empty()) return absl::OkStatus();
  FM_RETURN_IF_ERROR(CheckTools(fields));
  if (fields.endpoint() == kChat) {
    const Json* choice = fields.Get("tool_choice");
    if (choice != nullptr && *choice == "none") return absl::OkStatus();
  }
  (*context)["tools"] = *tools;
  return absl::OkStatus();
}

// Does the template write the beginning of the answer?
bool BeginsAnswer(const Fields& fields) {
  return fields.Boolean("add_generation_prompt", !fields.Boolean("continue_final_message", false));
}

absl::Status AddKwargs(const Fields& fields, Json* context) {
  const Json* kwargs = fields.Get("chat_template_kwargs");
  if (kwargs == nullptr) return absl::OkStatus();
  for (const auto& [name, value] : kwargs->items()) {
    const bool reserved =
        std::find(std::begin(kReserved), std::end(kReserved), name) != std::end(kReserved);
    const bool word = !name.empty() && name.size() <= 64 && !(name[0] >= '0' && name[0] <= '9') &&
                      std::all_of(name.begin(), name.end(), [](char c) {
                        return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                               (c >= 'A' && c <= 'Z');
                      });
    if (reserved || !word) {
      return BadField("chat_template_kwargs", "chat_template_kwargs: '{}' may not be set", name);
    }
    (*context)[name] = value;
  }
  return absl::OkStatus();
}

// Ends the prompt where the last message ends, so that the model goes on with it (Transformers'
// rule: a template that strips the message ends it after the stripped text).
absl::Status CutAfterFinalMessage(const std::string& message, RenderedChat* chat) {
  constexpr std::string_view kSpace = " \t\r\n\f\v";
  const size_t first = message.find_first_not_of(kSpace);
  const size_t last = message.find_last_not_of(kSpace);
  if (first == std::string::npos) {
    return BadField(kMessages, "continue_final_message: the final message is empty");
  }
  const std::string stripped = message.substr(first, last - first + 1);
  const size_t found = chat->text.rfind(stripped);
  if (found == std::string::npos) {
    return BadField(kMessages,
                    "continue_final_message: the chat template does not show the final "
                    "message");
  }
  const std::string to_end = message.substr(first);
  size_t end = found + stripped.size();
  if (chat->text.compare(found, to_end.size(), to_end) == 0) end = found + to_end.size();
  chat->text.resize(end);
  for (auto& [from, to] : chat->trusted) {
    from = std::min(from, end);
    to = std::min(to, end);
  }
  std::erase_if(chat->trusted, [](const auto& range) { return range.first >= range.second; });
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RenderedChat> RenderChat(const Fields& fields, const ServedModel& model) {
  if (!model.options().render_chat) {
    return BadField(kMessages,
                    "this model has no chat template; the operator can give one with "
                    "--chat-template, or use /v1/completions");
  }
  const Json* messages = fields.Get(kMessages);
  if (messages == nullptr) return BadField(kMessages, "messages: it is missing");
  const bool resume = fields.Boolean("continue_final_message", false);
  const bool prompt = BeginsAnswer(fields);
  if (resume && prompt) {
    return BadField("continue_final_message",
                    "continue_final_message cannot go with add_generation_prompt: true");
  }
  Json context = {{"messages", Json::array()}};
  FM_RETURN_IF_ERROR(AddTools(fields, &context));
  const MessageStyle& style = context["tools"].is_null() ? model.options().style_without_tools
                                                         : model.options().style_with_tools;
  for (const Json& message : *messages) {
    FM_ASSIGN_OR_RETURN(Json read, ReadMessage(message, style));
    context["messages"].push_back(std::move(read));
  }
  context["add_generation_prompt"] = prompt;
  context["documents"] = nullptr;
  if (fields.endpoint() == kChat) {
    if (const Json* documents = fields.Get("documents")) context["documents"] = *documents;
    if (const auto effort = fields.String("reasoning_effort")) {
      context["reasoning_effort"] = *effort;
    }
  }
  FM_RETURN_IF_ERROR(AddKwargs(fields, &context));
  absl::StatusOr<RenderedChat> chat = model.options().render_chat(context);
  if (!chat.ok()) return BadField(kMessages, "messages: {}", Message(chat.status()));
  if (resume) {
    const Json& last = context["messages"].back()["content"];
    FM_RETURN_IF_ERROR(
        CutAfterFinalMessage(last.is_string() ? last.get<std::string>() : "", &*chat));
  }
  return chat;
}

absl::StatusOr<BuiltRequest> BuildChat(const Json& body, const BuildContext& context) {
  const ServedModel& model = *context.model;
  FM_ASSIGN_OR_RETURN(const Fields fields, Fields::Check(body, kChat));
  BuiltRequest built{.request = {}, .unknown = fields.unknown()};
  ApiRequest& out = built.request;
  FM_RETURN_IF_ERROR(ReadCommon(fields, context, "chatcmpl-", &out));
  FM_RETURN_IF_ERROR(ReadSampling(fields, model, context.fresh_seed, &out));
  FM_RETURN_IF_ERROR(ReadConstraint(fields, model, &out.request));
  FM_RETURN_IF_ERROR(ReadTools(fields, model, &out));

  FM_ASSIGN_OR_RETURN(const RenderedChat chat, RenderChat(fields, model));
  SetReasoningStart(chat, BeginsAnswer(fields), &out.output);
  LetReasoningComeFirst(model, &out);
  ShowMarkers(model, out.output, &out.text);
  const std::optional<int64_t> truncate = fields.Integer("truncate_prompt_tokens");
  ApiPrompt& prompt = out.prompts.emplace_back();
  FM_ASSIGN_OR_RETURN(
      prompt.ids,
      model.EncodeChat(chat, fields.Boolean("add_special_tokens", false), truncate.has_value()));
  FM_RETURN_IF_ERROR(FitPrompt(model, out, truncate, /*fallback=*/-1, kMessages, &prompt));
  const Json& last = fields.Get(kMessages)->back();
  if (out.echo && last["role"] == "assistant") {
    FM_ASSIGN_OR_RETURN(out.echo_text, ContentText(last.value("content", Json())));
  }
  return built;
}

}  // namespace folkmoot
