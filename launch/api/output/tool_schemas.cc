// SPDX-License-Identifier: Apache-2.0
#include "launch/api/output/tool_schemas.h"

#include "launch/api/common/json_body.h"
#include "launch/api/output/python_call.h"
#include "nlohmann/json.hpp"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kMaxDepth = 8;

const Json* Member(const Json& json, const char* name) {
  if (!json.is_object()) return nullptr;
  const auto found = json.find(name);
  return found == json.end() ? nullptr : &*found;
}

using Types = std::set<std::string>;

// "#/$defs/X" and whatever else leads into the schema itself; null: nowhere.
const Json* Target(const Json& root, const Json& ref) {
  if (!ref.is_string() || !ref.get_ref<const std::string&>().starts_with("#/")) return nullptr;
  try {
    const Json::json_pointer place(ref.get_ref<const std::string&>().substr(1));
    return root.contains(place) ? &root.at(place) : nullptr;
  } catch (const Json::exception&) {
    return nullptr;
  }
}

// What a schema says by itself: type, or else the types of the values that it lists.
Types OwnTypes(const Json& schema) {
  Types types;
  if (const Json* type = Member(schema, "type"); type != nullptr) {
    if (type->is_string()) types.insert(type->get<std::string>());
    if (!type->is_array()) return types;
    for (const Json& one : *type) {
      if (one.is_string()) types.insert(one.get<std::string>());
    }
    return types;
  }
  if (const Json* value = Member(schema, "const"); value != nullptr) {
    return {value->type_name()};
  }
  if (const Json* values = Member(schema, "enum"); values != nullptr && values->is_array()) {
    for (const Json& one : *values) types.insert(one.type_name());
  }
  return types;
}

// None: anything. References are followed once: enough for what clients make of optional fields,
// and no circle is walked. `depth` bounds the rest.
Types TypesOf(const Json& schema, const Json& root, bool follow, int depth) {
  Types types = OwnTypes(schema);
  if (!types.empty() || depth == 0) return types;
  if (const Json* ref = Member(schema, "$ref"); ref != nullptr) {
    const Json* target = follow ? Target(root, *ref) : nullptr;
    return target == nullptr ? Types() : TypesOf(*target, root, /*follow=*/false, depth - 1);
  }
  for (const char* name : {"anyOf", "oneOf", "allOf"}) {
    const Json* branches = Member(schema, name);
    if (branches == nullptr || !branches->is_array()) continue;
    for (const Json& branch : *branches) {
      const Types more = TypesOf(branch, root, follow, depth - 1);
      // A branch that allows anything makes the choice do so; a part of allOf says nothing then.
      if (more.empty() && std::string_view(name) != "allOf") return {};
      types.insert(more.begin(), more.end());
    }
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
    for (const auto& [key, schema] : properties->items()) {
      types_[{name, key}] = TypesOf(schema, *parameters, /*follow=*/true, kMaxDepth);
    }
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
  std::string json;
  // Some templates show a model its own lists and objects as Python writes them.
  if (only_string || !AppendPythonContainer(text, &json)) AppendQuoted(text, &json);
  return json;
}

}  // namespace folkmoot
