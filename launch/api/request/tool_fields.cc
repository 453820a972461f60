// SPDX-License-Identifier: Apache-2.0
// tools, tool_choice and parallel_tool_calls: how the output of a chat will be read, and the form
// that it must have where calls are demanded.
#include <algorithm>
#include <set>

#include "launch/api/common/json_body.h"
#include "launch/api/output/call_syntax.h"
#include "launch/api/output/formats.h"
#include "launch/api/request/request_builder.h"
#include "nlohmann/json.hpp"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kToolChoice[] = "tool_choice";

// The name in {"type": "function", "function": {"name": NAME}}; null: it is no such object.
const std::string* FunctionName(const Json& json) {
  const auto function = json.is_object() ? json.find("function") : json.end();
  if (!json.is_object() || function == json.end() || !function->is_object()) return nullptr;
  const auto name = function->find("name");
  if (name == function->end() || !name->is_string()) return nullptr;
  return name->get_ptr<const std::string*>();
}

absl::Status ReadChoice(const Fields& fields, OutputRules* rules) {
  rules->choice = ToolChoice::kAuto;
  const Json* choice = fields.Get(kToolChoice);
  if (choice == nullptr || *choice == "auto") return absl::OkStatus();
  if (*choice == "none") {
    rules->choice = ToolChoice::kNone;
  } else if (*choice == "required") {
    rules->choice = ToolChoice::kRequired;
  } else if (const std::string* name = FunctionName(*choice); name != nullptr) {
    rules->choice = ToolChoice::kNamed;
    rules->named_tool = *name;
  } else {
    return BadField(kToolChoice,
                    "tool_choice: expected auto, none, required or {{type: function, function: "
                    "{{name}}}}");
  }
  return absl::OkStatus();
}

// References into a schema still hold when it has become a part of another one.
void MoveRefs(const std::string& to, Json* schema) {
  if (!schema->is_structured()) return;
  for (auto& [key, value] : schema->items()) {
    if (schema->is_object() && key == "$ref" && value.is_string() &&
        value.get_ref<const std::string&>().starts_with("#")) {
      value = to + value.get_ref<const std::string&>().substr(1);
    } else {
      MoveRefs(to, &value);
    }
  }
}

// What a function takes: always an object; without parameters an empty one, as OpenAI says.
absl::StatusOr<Json> ParametersOf(const Json& tool) {
  const Json& function = tool["function"];
  const auto parameters = function.find("parameters");
  if (parameters == function.end() || parameters->is_null()) {
    return Json{{"type", "object"}, {"properties", Json::object()}};
  }
  Json schema = *parameters;
  if (schema.is_object() && !schema.contains("type")) schema["type"] = "object";
  if (!schema.is_object() || schema["type"] != "object") {
    return BadField("tools", "tools: the parameters of '{}' are not the schema of an object",
                    *FunctionName(tool));
  }
  return schema;
}

// [{"name": ..., "parameters": {...}}, ...], at least one.
absl::StatusOr<Json> ListOfCalls(const Json& tools, bool several) {
  Json call = {{"anyOf", Json::array()}};
  Json parts = Json::object();
  for (const Json& tool : tools) {
    const std::string part = fmt::format("tool{}", parts.size());
    const std::string place = "#/$defs/" + part;
    FM_ASSIGN_OR_RETURN(parts[part], ParametersOf(tool));
    MoveRefs(place, &parts[part]);
    call["anyOf"].push_back(
        {{"type", "object"},
         {"properties",
          {{"name", {{"const", *FunctionName(tool)}}}, {"parameters", {{"$ref", place}}}}},
         {"required", {"name", "parameters"}}});
  }
  Json list = {{"type", "array"}, {"minItems", 1}, {"items", std::move(call)}};
  if (!several) list["maxItems"] = 1;
  list["$defs"] = std::move(parts);
  return list;
}

absl::StatusOr<Json> FormOfCalls(const Json& tools, const OutputRules& rules) {
  if (rules.choice == ToolChoice::kRequired) return ListOfCalls(tools, rules.parallel_calls);
  for (const Json& tool : tools) {
    if (*FunctionName(tool) == rules.named_tool) return ParametersOf(tool);
  }
  return BadField(kToolChoice, "tool_choice: no tool has the name '{}'", rules.named_tool);
}

absl::Status DemandCalls(const Json& tools, const ServedModel& model, ApiRequest* out) {
  FM_ASSIGN_OR_RETURN(const Json form, FormOfCalls(tools, out->output));
  if (out->request.constraint != nullptr) {
    return BadField(kToolChoice,
                    "tool_choice: the output can have one form only, and another field asks for "
                    "one too; use auto");
  }
  if (!model.options().compile_schema) {
    return BadField(kToolChoice, "tool_choice: this model has no tokenizer.json");
  }
  ServedModelOptions::Constraint constraint = model.options().compile_schema(form);
  if (!constraint.ok()) {
    return BadField("tools", "tools: {}; tool_choice auto does without the schemas",
                    Message(constraint.status()));
  }
  out->request.constraint = *std::move(constraint);
  return absl::OkStatus();
}

absl::Status CheckModelKnowsTools(const ServedModel& model, ToolChoice choice) {
  const ServedModelOptions& options = model.options();
  if (!options.template_has_tools) {
    return BadField("tools",
                    "tools: the chat template of this model does not show tools to it; leave them "
                    "out, or give a template that does with --chat-template");
  }
  if (choice != ToolChoice::kAuto || options.tool_format != nullptr ||
      options.tool_calls_stay_text) {
    return absl::OkStatus();
  }
  return BadField("tools",
                  "tools: how this model writes calls is not known; name its format with "
                  "--tool-call-parser, or give a tool_choice of required or a function's name");
}

}  // namespace

absl::Status CheckTools(const Fields& fields) {
  const Json* tools = fields.Get("tools");
  if (tools == nullptr) return absl::OkStatus();
  std::set<std::string_view> names;
  for (const Json& tool : *tools) {
    const std::string* name = FunctionName(tool);
    if (name == nullptr || !tool.contains("type") || tool["type"] != "function") {
      return BadField("tools", "tools: each must be {{type: function, function: {{name, ...}}}}");
    }
    // Parsers take no other names out of a text.
    if (name->empty() || name->size() > kMaxToolName ||
        !std::all_of(name->begin(), name->end(), IsNameCharacter)) {
      return BadField("tools",
                      "tools: the name '{}' is not one of 1 to {} letters, digits, _ - . : /",
                      name->substr(0, kMaxToolName), kMaxToolName);
    }
    if (!names.insert(*name).second) {
      return BadField("tools", "tools: two have the name '{}'", *name);
    }
  }
  return absl::OkStatus();
}

absl::Status ReadTools(const Fields& fields, const ServedModel& model, ApiRequest* out) {
  OutputRules& rules = out->output;
  rules.reasoning = model.options().reasoning_format;
  rules.tools = model.options().tool_format;
  rules.parallel_calls = fields.Boolean("parallel_tool_calls", true);
  FM_RETURN_IF_ERROR(CheckTools(fields));
  FM_RETURN_IF_ERROR(ReadChoice(fields, &rules));
  const Json* tools = fields.Get("tools");
  const bool none = tools == nullptr || tools->empty();
  if (none && (rules.choice == ToolChoice::kRequired || rules.choice == ToolChoice::kNamed)) {
    return BadField(kToolChoice, "tool_choice: there are no tools to call");
  }
  if (none) rules.choice = ToolChoice::kNone;
  if (rules.choice == ToolChoice::kNone) return absl::OkStatus();
  FM_RETURN_IF_ERROR(CheckModelKnowsTools(model, rules.choice));
  rules.schemas = std::make_shared<const ToolSchemas>(*tools);
  if (rules.choice != ToolChoice::kAuto) return DemandCalls(*tools, model, out);
  // An output with a form of its own has no calls: what looks like one is a string of the form.
  if (rules.tools == nullptr || out->request.constraint != nullptr) {
    rules.choice = ToolChoice::kNone;
  }
  return absl::OkStatus();
}

}  // namespace folkmoot
