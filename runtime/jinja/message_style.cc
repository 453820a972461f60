// SPDX-License-Identifier: Apache-2.0
#include "runtime/jinja/message_style.h"

#include "nlohmann/json.hpp"
#include "runtime/jinja/chat_template.h"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kArguments[] = R"({"probe_key": "probe_value"})";

std::string Show(const ChatTemplate& chat_template, const MessageStyle& style) {
  const Json arguments = style.arguments_as_text ? Json(kArguments) : Json::parse(kArguments);
  const Json call = {{"id", "probe0001"},
                     {"type", "function"},
                     {"function", {{"name", "probe"}, {"arguments", arguments}}}};
  Json assistant = {{"role", "assistant"}, {"content", ""}, {"tool_calls", Json::array({call})}};
  if (style.null_content) assistant["content"] = nullptr;
  const Json result = {
      {"role", "tool"}, {"content", "a"}, {"name", "probe"}, {"tool_call_id", "probe0001"}};
  const Json parameters = {{"type", "object"},
                           {"properties", {{"probe_key", {{"type", "string"}}}}}};
  const Json tool = {
      {"type", "function"},
      {"function", {{"name", "probe"}, {"description", "b"}, {"parameters", parameters}}}};
  const auto rendered = chat_template.Render(
      {{"messages", Json::array({{{"role", "user"}, {"content", "c"}}, assistant, result})},
       {"tools", Json::array({tool})},
       {"documents", nullptr},
       {"add_generation_prompt", true}});
  return rendered.ok() ? rendered->text : "";
}

bool Shows(const std::string& text, const MessageStyle& style) {
  const auto has = [&](const char* part) { return text.find(part) != std::string::npos; };
  if (style.arguments_as_text) return has(kArguments);
  // In single quotes: a Python object, printed by a template that takes it for text.
  return has("probe_value") && !has("'probe_value'");
}

}  // namespace

MessageStyle StyleOf(const ChatTemplate& chat_template) {
  if (chat_template.source().find("tool_calls") == std::string::npos) return {};
  for (const bool null_content : {false, true}) {
    for (const bool as_text : {false, true}) {
      const MessageStyle style{.arguments_as_text = as_text, .null_content = null_content};
      if (Shows(Show(chat_template, style), style)) return style;
    }
  }
  return {};
}

}  // namespace folkmoot
