// SPDX-License-Identifier: Apache-2.0
#include "runtime/grammar/schema_keywords.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::pair<std::string_view, uint32_t> kTypes[] = {
    {"string", SchemaType::kString}, {"integer", SchemaType::kInteger},
    {"number", SchemaType::kNumber}, {"boolean", SchemaType::kBoolean},
    {"null", SchemaType::kNull},     {"array", SchemaType::kArray},
    {"object", SchemaType::kObject}};

constexpr std::pair<std::string_view, uint32_t> kTypedKeywords[] = {
    {"minLength", SchemaType::kString},        {"maxLength", SchemaType::kString},
    {"pattern", SchemaType::kString},          {"format", SchemaType::kString},
    {"minimum", SchemaType::kNumber},          {"maximum", SchemaType::kNumber},
    {"exclusiveMinimum", SchemaType::kNumber}, {"exclusiveMaximum", SchemaType::kNumber},
    {"multipleOf", SchemaType::kNumber},       {"items", SchemaType::kArray},
    {"prefixItems", SchemaType::kArray},       {"additionalItems", SchemaType::kArray},
    {"minItems", SchemaType::kArray},          {"maxItems", SchemaType::kArray},
    {"uniqueItems", SchemaType::kArray},       {"properties", SchemaType::kObject},
    {"required", SchemaType::kObject},         {"additionalProperties", SchemaType::kObject},
    {"minProperties", SchemaType::kObject},    {"maxProperties", SchemaType::kObject}};

constexpr std::string_view kOtherAssertions[] = {"type",  "enum",  "const", "$ref",
                                                 "anyOf", "oneOf", "allOf"};

constexpr std::string_view kRefused[] = {"not",
                                         "if",
                                         "then",
                                         "else",
                                         "contains",
                                         "minContains",
                                         "maxContains",
                                         "dependencies",
                                         "dependentSchemas",
                                         "extends",
                                         "disallow",
                                         "dependentRequired",
                                         "divisibleBy",
                                         "$dynamicRef",
                                         "$recursiveRef",
                                         "propertyNames",
                                         "patternProperties",
                                         "unevaluatedItems",
                                         "unevaluatedProperties"};

bool IsOneOf(std::string_view keyword, std::initializer_list<std::string_view> list) {
  return std::find(list.begin(), list.end(), keyword) != list.end();
}

// Property names of `other` that `schema` does not list would be its additional properties.
bool ListsAllPropertiesOf(const Json& schema, const Json& other) {
  if (!other.contains("properties") || !other["properties"].is_object()) return true;
  const Json none = Json::object();
  const Json& own = schema.contains("properties") ? schema["properties"] : none;
  for (const auto& [name, value] : other["properties"].items()) {
    if (!own.contains(name)) return false;
  }
  return true;
}

absl::StatusOr<Json> MergeProperties(const Json& a, const Json& b, std::string_view path) {
  if (!a.is_object() || !b.is_object()) return SchemaError(path, "properties", "not an object");
  Json merged = a;
  for (const auto& [name, value] : b.items()) {
    if (!merged.contains(name)) {
      merged[name] = value;
    } else if (merged[name] != value) {
      merged[name] = Json{{"allOf", Json::array({merged[name], value})}};
    }
  }
  return merged;
}

absl::StatusOr<Json> MergeTypes(const Json& a, const Json& b, std::string_view path) {
  FM_ASSIGN_OR_RETURN(const uint32_t left, SchemaType::Declared(Json{{"type", a}}, path));
  FM_ASSIGN_OR_RETURN(const uint32_t right, SchemaType::Declared(Json{{"type", b}}, path));
  Json both = Json::array();
  uint32_t rest = left & right;
  for (const std::string_view name :
       {"number", "integer", "string", "boolean", "null", "array", "object"}) {
    const uint32_t type = SchemaType::Named(name);
    if ((rest & type) != type) continue;
    both.push_back(name);
    rest &= ~type;
  }
  if (both.empty()) return SchemaError(path, "type", "the schemas that apply here share no type");
  return both;
}

// Both schemas have the keyword, with different values.
absl::StatusOr<Json> MergeValues(std::string_view keyword, const Json& a, const Json& b,
                                 std::string_view path) {
  if (keyword == "properties") return MergeProperties(a, b, path);
  if (keyword == "type") return MergeTypes(a, b, path);
  if (keyword == "required" && a.is_array() && b.is_array()) {
    Json all = a;
    for (const Json& name : b) {
      if (std::find(all.begin(), all.end(), name) == all.end()) all.push_back(name);
    }
    return all;
  }
  if (keyword == "allOf" && a.is_array() && b.is_array()) {
    Json all = a;
    for (const Json& schema : b) all.push_back(schema);
    return all;
  }
  if (keyword == "enum" && a.is_array() && b.is_array()) {
    Json both = Json::array();
    for (const Json& value : a) {
      if (std::find(b.begin(), b.end(), value) != b.end()) both.push_back(value);
    }
    return both;
  }
  if (a.is_number() && b.is_number()) {
    if (IsOneOf(keyword,
                {"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"})) {
      return a < b ? b : a;
    }
    if (IsOneOf(keyword,
                {"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"})) {
      return a < b ? a : b;
    }
  }
  return SchemaError(path, keyword, "two schemas that apply here both set it; not supported");
}

absl::Status CheckMergeable(const Json& a, const Json& b, std::string_view path) {
  for (const auto& [one, other] : {std::pair(&a, &b), std::pair(&b, &a)}) {
    if (one->contains("additionalProperties") && (*one)["additionalProperties"] != true &&
        !ListsAllPropertiesOf(*one, *other)) {
      return SchemaError(path, "additionalProperties",
                         "not supported beside another schema with further properties");
    }
    if (one->contains("prefixItems") && other->contains("items")) {
      return SchemaError(path, "prefixItems", "not supported beside another schema with items");
    }
    for (const char* keyword : {"exclusiveMinimum", "exclusiveMaximum"}) {
      if (one->contains(keyword) && (*one)[keyword].is_boolean() &&
          (other->contains("minimum") || other->contains("maximum"))) {
        return SchemaError(path, keyword, "a boolean is not supported beside another schema");
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

uint32_t SchemaType::Named(std::string_view name) {
  for (const auto& [known, bits] : kTypes) {
    if (known == name) return bits;
  }
  return 0;
}

uint32_t SchemaType::OfValue(const Json& value) {
  if (value.is_string()) return kString;
  if (value.is_boolean()) return kBoolean;
  if (value.is_null()) return kNull;
  if (value.is_array()) return kArray;
  if (value.is_object()) return kObject;
  if (value.is_number_float() && value.get<double>() != std::trunc(value.get<double>())) {
    return kFraction;
  }
  return kInteger;
}

absl::StatusOr<uint32_t> SchemaType::Declared(const Json& schema, std::string_view path) {
  if (!schema.contains("type")) return kAll;
  const Json& type = schema["type"];
  uint32_t types = 0;
  for (const Json& name : type.is_array() ? type : Json::array({type})) {
    const uint32_t bits = name.is_string() ? Named(name.get_ref<const std::string&>()) : 0;
    if (bits == 0) {
      return SchemaError(path, "type",
                         "must be one or a list of string, integer, number, boolean, null, array "
                         "and object");
    }
    types |= bits;
  }
  if (types == 0) return SchemaError(path, "type", "the list is empty");
  return types;
}

uint32_t SchemaType::Implied(const Json& schema) {
  uint32_t types = 0;
  for (const auto& [keyword, bits] : kTypedKeywords) {
    if (schema.contains(keyword)) types |= bits;
  }
  return types == 0 ? kAll : types;
}

bool IsRefusedKeyword(std::string_view keyword) {
  return std::find(std::begin(kRefused), std::end(kRefused), keyword) != std::end(kRefused);
}

bool IsSchemaAssertion(std::string_view keyword) {
  for (const auto& [known, bits] : kTypedKeywords) {
    if (known == keyword) return true;
  }
  return IsRefusedKeyword(keyword) ||
         std::find(std::begin(kOtherAssertions), std::end(kOtherAssertions), keyword) !=
             std::end(kOtherAssertions);
}

absl::Status SchemaError(std::string_view path, std::string_view keyword, std::string_view what) {
  return InvalidArgument("JSON schema, {}{}{}: {}", path, keyword.empty() ? "" : "/", keyword,
                         what);
}

absl::StatusOr<std::optional<int64_t>> SchemaCount(const Json& schema, const char* keyword,
                                                   std::string_view path) {
  if (!schema.contains(keyword)) return std::optional<int64_t>();
  const Json& value = schema[keyword];
  if (value.is_number() && SchemaType::OfValue(value) == SchemaType::kInteger) {
    constexpr double kLargest = 1e15;  // far above every limit
    const double count = std::min(value.get<double>(), kLargest);
    if (count >= 0) return std::optional<int64_t>(static_cast<int64_t>(count));
  }
  return SchemaError(path, keyword, "must be an integer that is not negative");
}

absl::StatusOr<Json> MergeSchemas(const Json& a, const Json& b, std::string_view path) {
  FM_RETURN_IF_ERROR(CheckMergeable(a, b, path));
  Json merged = Json::object();
  for (const auto& [keyword, value] : a.items()) {
    if (IsSchemaAssertion(keyword)) merged[keyword] = value;
  }
  for (const auto& [keyword, value] : b.items()) {
    if (!IsSchemaAssertion(keyword)) continue;
    if (!merged.contains(keyword)) {
      merged[keyword] = value;
    } else if (merged[keyword] != value) {
      FM_ASSIGN_OR_RETURN(merged[keyword], MergeValues(keyword, merged[keyword], value, path));
    }
  }
  return merged;
}

}  // namespace folkmoot
