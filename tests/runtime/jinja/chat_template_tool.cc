// SPDX-License-Identifier: Apache-2.0
// Renders JSON lines {"template": text, "context": {...}, "now": seconds} from standard input; one
// JSON line {"text": ...} or {"error": ...} for each. With "model": folder the template and the
// special tokens are those of a model. tools/make_chat_template_goldens.py --compare and
// tools/compare_tokenizers.py drive it. With --time N each is rendered N times and {"microseconds":
// ...} is added.
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "runtime/jinja/chat_template.h"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

absl::StatusOr<ChatTemplates> TemplatesOf(const Json& request) {
  if (request.contains("model")) return LoadChatTemplates(request["model"].get<std::string>());
  ChatTemplates templates;
  FM_ASSIGN_OR_RETURN(templates.standard,
                      ChatTemplate::Parse(request["template"].get<std::string>(), "template"));
  return templates;
}

Json Answer(const Json& request, int times) {
  Json answer = Json::object();
  const auto templates = TemplatesOf(request);
  if (!templates.ok()) {
    answer["error"] = std::string(Message(templates.status()));
    return answer;
  }
  const auto tools = request["context"].find("tools");
  const bool has_tools = tools != request["context"].end() && tools->is_array();
  const ChatTemplate& parsed = templates->For(has_tools);
  RenderLimits limits;
  limits.now = std::chrono::system_clock::from_time_t(request.value("now", 0));
  const auto begin = std::chrono::steady_clock::now();
  absl::StatusOr<ChatTemplate::Rendered> rendered;
  for (int i = 0; i < times; ++i) rendered = parsed.Render(request["context"], limits);
  const std::chrono::duration<double, std::micro> spent = std::chrono::steady_clock::now() - begin;
  if (rendered.ok()) {
    answer["text"] = rendered->text;
    answer["trusted"] = rendered->trusted;
  } else {
    answer["error"] = std::string(Message(rendered.status()));
  }
  if (times > 1) answer["microseconds"] = spent.count() / times;
  return answer;
}

}  // namespace
}  // namespace folkmoot

int main(int argc, char** argv) {
  const int times = argc == 3 && std::string(argv[1]) == "--time" ? std::stoi(argv[2]) : 1;
  std::string line;
  while (std::getline(std::cin, line)) {
    const auto request = nlohmann::ordered_json::parse(line, nullptr, false);
    if (!request.is_object()) return 1;
    std::cout << folkmoot::Answer(request, times)
                     .dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace)
              << "\n";
  }
  return 0;
}
