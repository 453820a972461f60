// SPDX-License-Identifier: Apache-2.0
#include "runtime/jinja/chat_template.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/jinja/globals.h"
#include "runtime/jinja/interpreter.h"
#include "runtime/jinja/parser.h"
#include "runtime/jinja/value_from_json.h"
#include "runtime/tokenizer/utf8.h"

namespace folkmoot {
namespace {

constexpr size_t kMaxSourceBytes = size_t{4} << 20;

// The values of the template's names before it begins.
absl::StatusOr<std::vector<jinja::Value>> RootValues(const jinja::Program& program,
                                                     const SpecialTokenTexts& special_tokens,
                                                     const nlohmann::ordered_json& context) {
  std::vector<jinja::Value> root(program.names.size());
  for (size_t i = 0; i < root.size(); ++i) {
    const std::string& name = program.names[i];
    const auto given = context.find(name);
    if (given != context.end()) {
      absl::StatusOr<jinja::Value> value =
          name == "messages" ? jinja::MessagesFromJson(*given) : jinja::ValueFromJson(*given);
      if (!value.ok()) return Annotate(value.status(), fmt::format("\"{}\"", name));
      root[i] = *std::move(value);
      continue;
    }
    const auto token = std::find_if(special_tokens.begin(), special_tokens.end(),
                                    [&](const auto& entry) { return entry.first == name; });
    if (token != special_tokens.end()) {
      root[i] = jinja::Value::String(jinja::Text::Trusted(token->second));
    } else if (const auto global = jinja::FindGlobal(name)) {
      root[i] = *global;
    }
  }
  return root;
}

}  // namespace

ChatTemplate::ChatTemplate(std::string source, std::string name, SpecialTokenTexts special_tokens)
    : source_(std::move(source)),
      name_(std::move(name)),
      special_tokens_(std::move(special_tokens)) {}
ChatTemplate::~ChatTemplate() = default;

absl::StatusOr<std::unique_ptr<ChatTemplate>> ChatTemplate::Parse(
    std::string_view source, std::string_view name_for_errors, SpecialTokenTexts special_tokens) {
  const auto parse = [&]() -> absl::StatusOr<jinja::Program> {
    if (source.size() > kMaxSourceBytes) {
      return InvalidArgument("a template of {} bytes; the limit is {}", source.size(),
                             kMaxSourceBytes);
    }
    FM_ASSIGN_OR_RETURN(std::vector<jinja::TemplateToken> tokens,
                        jinja::LexTemplate(RepairUtf8(source)));
    return jinja::TemplateParser(std::move(tokens)).Parse();
  };
  absl::StatusOr<jinja::Program> program = parse();
  if (!program.ok()) return Annotate(program.status(), name_for_errors);
  for (auto& [token_name, text] : special_tokens) text = RepairUtf8(text);
  std::unique_ptr<ChatTemplate> chat_template(new ChatTemplate(
      std::string(source), std::string(name_for_errors), std::move(special_tokens)));
  chat_template->program_ = std::make_unique<const jinja::Program>(*std::move(program));
  return chat_template;
}

absl::StatusOr<ChatTemplate::Rendered> ChatTemplate::Render(const nlohmann::ordered_json& context,
                                                            const RenderLimits& limits) const {
  if (!context.is_object()) {
    return InvalidArgument("{}: the context must be an object", name_);
  }
  FM_ASSIGN_OR_RETURN(std::vector<jinja::Value> root,
                      RootValues(*program_, special_tokens_, context));
  jinja::Budget budget(limits.max_steps, limits.max_output_bytes, limits.max_depth);
  jinja::Interpreter interpreter(*program_, std::move(root), &budget, limits.now);
  absl::StatusOr<jinja::Text> text = interpreter.Run();
  if (!text.ok()) {
    if (interpreter.raised()) return text.status();
    return Annotate(text.status(), fmt::format("{}:{}", name_, interpreter.line()));
  }
  return Rendered{text->bytes(), text->trusted()};
}

bool ChatTemplate::Mentions(std::string_view variable) const {
  const std::vector<std::string>& names = program_->names;
  return std::find(names.begin(), names.end(), variable) != names.end();
}

}  // namespace folkmoot
