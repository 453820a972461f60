// SPDX-License-Identifier: Apache-2.0
#include "launch/api/output/tool_schemas.h"

#include <set>
#include <utility>

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

// The schema of a member, or with a null `name` that of an element; null: nothing is declared.
// References are followed once, as above; `budget` bounds what is looked at.
const Json* ChildOf(const Json& schema, const Json& root, const std::string* name, bool follow,
                    int* budget) {
  if (--*budget < 0) return nullptr;
  const Json* child = nullptr;
  if (name == nullptr) {
    child = Member(schema, "items");
  } else if (const Json* properties = Member(schema, "properties"); properties != nullptr) {
    child = Member(*properties, name->c_str());
  }
  if (child == nullptr && name != nullptr) child = Member(schema, "additionalProperties");
  if (child != nullptr && child->is_object()) return child;
  if (const Json* ref = Member(schema, "$ref"); ref != nullptr && follow) {
    const Json* target = Target(root, *ref);
    return target == nullptr ? nullptr : ChildOf(*target, root, name, /*follow=*/false, budget);
  }
  for (const char* branches : {"anyOf", "oneOf", "allOf"}) {
    const Json* all = Member(schema, branches);
    if (all == nullptr || !all->is_array()) continue;
    for (const Json& branch : *all) {
      child = ChildOf(branch, root, name, follow, budget);
      if (child != nullptr) return child;
    }
  }
  return nullptr;
}

constexpr int kMaxSchemas = 1000;

}  // namespace

bool ValueSchema::Has(const std::string& type) const {
  if (schema_ == nullptr) return false;
  return TypesOf(*schema_, *root_, /*follow=*/true, kMaxDepth).count(type) > 0;
}

ValueSchema ValueSchema::Member(std::string_view name) const {
  if (schema_ == nullptr) return {};
  int budget = kMaxSchemas;
  const std::string text(name);
  return {ChildOf(*schema_, *root_, &text, /*follow=*/true, &budget), root_};
}

ValueSchema ValueSchema::Element() const {
  if (schema_ == nullptr) return {};
  int budget = kMaxSchemas;
  return {ChildOf(*schema_, *root_, nullptr, /*follow=*/true, &budget), root_};
}

std::string ValueSchema::TextJson(std::string_view text) const {
  const Types types =
      schema_ == nullptr ? Types() : TypesOf(*schema_, *root_, /*follow=*/true, kMaxDepth);
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

ToolSchemas::ToolSchemas(const Json& tools) {
  Json parameters = Json::object();
  for (const Json& tool : tools) {
    const Json& function = tool.at("function");
    const Json* declared = Member(function, "parameters");
    const bool says = declared != nullptr && declared->is_object();
    parameters[function.at("name").get_ref<const std::string&>()] =
        says ? *declared : Json::object();
  }
  parameters_ = std::make_shared<const Json>(std::move(parameters));
}

bool ToolSchemas::Has(std::string_view tool) const {
  return parameters_ != nullptr && parameters_->contains(tool);
}

ValueSchema ToolSchemas::Arguments(std::string_view tool) const {
  if (parameters_ == nullptr) return {};
  const Json* declared = Member(*parameters_, std::string(tool).c_str());
  return {declared, declared};
}

}  // namespace folkmoot
