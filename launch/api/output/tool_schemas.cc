// SPDX-License-Identifier: Apache-2.0
#include "launch/api/output/tool_schemas.h"

#include "launch/api/common/json_body.h"
#include "nlohmann/json.hpp"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

const Json* Member(const Json& json, const char* name) {
  if (!json.is_object()) return nullptr;
  const auto found = json.find(name);
  return found == json.end() ? nullptr : &*found;
}

std::set<std::string> TypesOf(const Json& schema) {
  const Json* type = Member(schema, "type");
  std::set<std::string> types;
  if (type == nullptr) return types;
  if (type->is_string()) types.insert(type->get<std::string>());
  if (!type->is_array()) return types;
  for (const Json& one : *type) {
    if (one.is_string()) types.insert(one.get<std::string>());
  }
  return types;
}

}  // namespace

ToolSchemas::ToolSchemas(const Json& tools) {
  for (const Json& tool : tools) {
    const Json& function = tool.at("function");
    const Json* parameters = Member(function, "parameters");
    const Json* properties = parameters == nullptr ? nullptr : Member(*parameters, "properties");
    if (properties == nullptr || !properties->is_object()) continue;
    const auto& name = function.at("name").get_ref<const std::string&>();
    for (const auto& [key, schema] : properties->items()) types_[{name, key}] = TypesOf(schema);
  }
}

std::string ToolSchemas::ValueJson(std::string_view tool, std::string_view name,
                                   std::string_view text) const {
  const auto found = types_.find({std::string(tool), std::string(name)});
  const std::set<std::string> types =
      found == types_.end() ? std::set<std::string>() : found->second;
  const bool null = text == "null" || text == "None";
  bool only_string = types.count("string") > 0 && types.size() == 1;
  if (types.count("string") > 0 && types.size() == 2 && types.count("null") > 0) {
    only_string = !null;
  }
  if (!only_string) {
    if (null) return "null";
    if (text == "True") return "true";
    if (text == "False") return "false";
    if (Json::accept(text)) return std::string(text);
  }
  std::string quoted;
  AppendQuoted(text, &quoted);
  return quoted;
}

}  // namespace folkmoot
