// SPDX-License-Identifier: Apache-2.0
#include "runtime/grammar/schema_refs.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/grammar/schema_keywords.h"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kMaxExclusionDepth = 4;

int HexDigitValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// "~1" is "/", "~0" is "~", "%41" is "A".
std::string DecodePointerPart(std::string_view part) {
  std::string text;
  for (size_t i = 0; i < part.size(); ++i) {
    const bool percent = part[i] == '%' && i + 2 < part.size() && HexDigitValue(part[i + 1]) >= 0 &&
                         HexDigitValue(part[i + 2]) >= 0;
    if (percent) {
      text += static_cast<char>(HexDigitValue(part[i + 1]) * 16 + HexDigitValue(part[i + 2]));
      i += 2;
    } else {
      text += part[i];
    }
  }
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool tilde =
        text[i] == '~' && i + 1 < text.size() && (text[i + 1] == '0' || text[i + 1] == '1');
    decoded += tilde ? (text[i + 1] == '0' ? '~' : '/') : text[i];
    if (tilde) ++i;
  }
  return decoded;
}

const Json* FindPart(const Json& value, const std::string& part) {
  if (value.is_object()) {
    const auto found = value.find(part);
    return found == value.end() ? nullptr : &*found;
  }
  if (!value.is_array() || part.empty() || part.size() > 6 ||
      part.find_first_not_of("0123456789") != std::string::npos) {
    return nullptr;
  }
  const auto index = static_cast<size_t>(std::stoul(part));
  return index < value.size() ? &value[index] : nullptr;
}

class ExclusionProof {
 public:
  explicit ExclusionProof(const Json& root) : root_(root) {}

  bool Exclude(const Json& generated_or_ref, const Json& other_or_ref, int depth) const {
    const Json* generated = Follow(generated_or_ref);
    const Json* other = Follow(other_or_ref);
    if (generated == nullptr || other == nullptr || depth > kMaxExclusionDepth) return false;
    if ((Types(*generated, /*implied=*/true) & Types(*other, /*implied=*/false)) == 0) return true;
    return DifferentValues(*generated, *other) || DifferentObjects(*generated, *other, depth);
  }

 private:
  // Null: not an object, or its reference cannot be followed.
  const Json* Follow(const Json& schema) const {
    const Json* at = &schema;
    for (int i = 0; i < kMaxExclusionDepth; ++i) {
      if (!at->is_object()) return nullptr;
      const auto ref = at->find("$ref");
      if (ref == at->end()) return at;
      if (!ref->is_string()) return nullptr;
      const auto target = FindSchemaRef(root_, ref->get<std::string>());
      if (!target.ok()) return nullptr;
      at = *target;
    }
    return nullptr;
  }

  static Json Values(const Json& schema) {
    if (schema.contains("const")) return Json::array({schema["const"]});
    if (schema.contains("enum") && schema["enum"].is_array()) return schema["enum"];
    return Json::array();
  }

  static uint32_t Types(const Json& schema, bool implied) {
    const Json values = Values(schema);
    uint32_t types = 0;
    for (const Json& value : values) types |= SchemaType::OfValue(value);
    if (!values.empty()) return types;
    if (schema.contains("type")) {
      const auto declared = SchemaType::Declared(schema, "");
      return declared.ok() ? *declared : SchemaType::kAll;
    }
    const bool combined =
        schema.contains("anyOf") || schema.contains("oneOf") || schema.contains("allOf");
    return implied && !combined ? SchemaType::Implied(schema) : SchemaType::kAll;
  }

  static bool DifferentValues(const Json& generated, const Json& other) {
    const Json a = Values(generated);
    const Json b = Values(other);
    if (a.empty() || b.empty()) return false;
    return std::none_of(a.begin(), a.end(), [&](const Json& value) {
      return std::find(b.begin(), b.end(), value) != b.end();
    });
  }

  static bool Names(const Json& list, const std::string& name) {
    return list.is_array() && std::find(list.begin(), list.end(), name) != list.end();
  }
  static const Json& Member(const Json& schema, const char* keyword) {
    static const Json kNone = nullptr;
    const auto found = schema.find(keyword);
    return found == schema.end() ? kNone : *found;
  }

  bool DifferentObjects(const Json& generated, const Json& other, int depth) const {
    if (generated.contains("anyOf") || generated.contains("oneOf") || generated.contains("allOf")) {
      return false;
    }
    if (Types(generated, true) != SchemaType::kObject) return false;
    const Json& own = Member(generated, "properties");
    const Json& own_required = Member(generated, "required");
    const Json& its = Member(other, "properties");
    const Json& more = Member(generated, "additionalProperties");
    const bool closed = more.is_null() || more == false;
    // It wants a property that we never write.
    const Json& its_required = Member(other, "required");
    if (closed && own.is_object() && its_required.is_array()) {
      for (const Json& name : its_required) {
        if (name.is_string() && !own.contains(name.get_ref<const std::string&>()) &&
            !Names(own_required, name.get_ref<const std::string&>())) {
          return true;
        }
      }
    }
    if (!own_required.is_array()) return false;
    const bool refuses_more = Member(other, "additionalProperties") == false;
    for (const Json& entry : own_required) {
      if (!entry.is_string()) continue;
      const auto& name = entry.get_ref<const std::string&>();
      const bool listed = its.is_object() && its.contains(name);
      if (!listed && refuses_more) return true;
      if (listed && own.is_object() && own.contains(name) &&
          Exclude(own[name], its[name], depth + 1)) {
        return true;
      }
    }
    return false;
  }

  const Json& root_;
};

}  // namespace

absl::StatusOr<const Json*> FindSchemaRef(const Json& root, const std::string& ref) {
  if (ref != "#" && !ref.starts_with("#/")) {
    return InvalidArgument(
        "JSON schema: $ref \"{}\" is not supported: only references into the "
        "schema itself are (#/$defs/...)",
        ref);
  }
  const Json* at = &root;
  for (size_t begin = 2; begin <= ref.size();) {
    const size_t end = std::min(ref.find('/', begin), ref.size());
    at = FindPart(*at, DecodePointerPart(std::string_view(ref).substr(begin, end - begin)));
    if (at == nullptr) return InvalidArgument("JSON schema: $ref \"{}\" leads nowhere", ref);
    begin = end + 1;
  }
  return at;
}

bool SchemasExclude(const Json& root, const Json& generated, const Json& other) {
  return ExclusionProof(root).Exclude(generated, other, 0);
}

}  // namespace folkmoot
