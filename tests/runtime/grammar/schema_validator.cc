// SPDX-License-Identifier: Apache-2.0
#include "tests/runtime/grammar/schema_validator.h"

#include <algorithm>
#include <cmath>
#include <string>

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

bool HasType(const Json& value, const std::string& type) {
  if (type == "integer") {
    return value.is_number() && value.get<double>() == std::floor(value.get<double>());
  }
  if (type == "number") return value.is_number();
  return value.type_name() == type;
}

bool NumberIsValid(const Json& value, const Json& schema) {
  if (!value.is_number()) return true;
  const auto has = [&](const char* keyword) { return schema.contains(keyword); };
  if (has("minimum") && value < schema["minimum"]) return false;
  if (has("maximum") && value > schema["maximum"]) return false;
  if (has("exclusiveMinimum") && value <= schema["exclusiveMinimum"]) return false;
  if (has("exclusiveMaximum") && value >= schema["exclusiveMaximum"]) return false;
  return !has("multipleOf") || !value.is_number_integer() ||
         value.get<int64_t>() % schema["multipleOf"].get<int64_t>() == 0;
}

bool StringIsValid(const Json& value, const Json& schema) {
  if (!value.is_string()) return true;
  const auto& text = value.get_ref<const std::string&>();
  const auto length =
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; });
  return length >= schema.value("minLength", 0) && length <= schema.value("maxLength", 1 << 30);
}

bool ArrayIsValid(const Json& value, const Json& schema, const Json& root) {
  if (!value.is_array()) return true;
  const auto size = static_cast<int>(value.size());
  if (size < schema.value("minItems", 0) || size > schema.value("maxItems", 1 << 30)) return false;
  const Json prefix = schema.value("prefixItems", Json::array());
  for (size_t i = 0; i < value.size(); ++i) {
    if (i < prefix.size()) {
      if (!IsValid(value[i], prefix[i], root)) return false;
    } else if (schema.contains("items") && !IsValid(value[i], schema["items"], root)) {
      return false;
    }
  }
  return true;
}

bool ObjectIsValid(const Json& value, const Json& schema, const Json& root) {
  if (!value.is_object()) return true;
  const auto size = static_cast<int>(value.size());
  if (size < schema.value("minProperties", 0)) return false;
  if (size > schema.value("maxProperties", 1 << 30)) return false;
  for (const Json& name : schema.value("required", Json::array())) {
    if (!value.contains(name.get<std::string>())) return false;
  }
  const Json properties = schema.value("properties", Json::object());
  for (const auto& [name, member] : value.items()) {
    if (properties.contains(name)) {
      if (!IsValid(member, properties[name], root)) return false;
    } else if (schema.contains("additionalProperties") &&
               !IsValid(member, schema["additionalProperties"], root)) {
      return false;
    }
  }
  return true;
}

bool CombinationIsValid(const Json& value, const Json& schema, const Json& root) {
  const auto count = [&](const char* keyword) {
    return std::count_if(schema[keyword].begin(), schema[keyword].end(),
                         [&](const Json& branch) { return IsValid(value, branch, root); });
  };
  if (schema.contains("anyOf") && count("anyOf") == 0) return false;
  if (schema.contains("oneOf") && count("oneOf") != 1) return false;
  return !schema.contains("allOf") ||
         count("allOf") == static_cast<int64_t>(schema["allOf"].size());
}

}  // namespace

bool IsValid(const Json& value, const Json& schema, const Json& root) {
  if (schema.is_boolean()) return schema.get<bool>();
  if (schema.contains("$ref")) {
    const auto ref = schema["$ref"].get<std::string>();
    if (!IsValid(value, root.at(Json::json_pointer(ref.substr(1))), root)) return false;
  }
  if (schema.contains("type")) {
    const Json types = schema["type"].is_array() ? schema["type"] : Json::array({schema["type"]});
    if (std::none_of(types.begin(), types.end(),
                     [&](const Json& type) { return HasType(value, type); })) {
      return false;
    }
  }
  if (schema.contains("const") && value != schema["const"]) return false;
  if (schema.contains("enum") &&
      std::find(schema["enum"].begin(), schema["enum"].end(), value) == schema["enum"].end()) {
    return false;
  }
  return CombinationIsValid(value, schema, root) && NumberIsValid(value, schema) &&
         StringIsValid(value, schema) && ArrayIsValid(value, schema, root) &&
         ObjectIsValid(value, schema, root);
}

}  // namespace folkmoot
