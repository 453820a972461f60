// SPDX-License-Identifier: Apache-2.0
#include "launch/api/request/field_reader.h"

#include <cmath>
#include <limits>

#include "launch/api/common/json_body.h"
#include "nlohmann/json.hpp"
#include "runtime/check.h"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMaxUnknown = 64;  // noted per request

absl::Status WrongType(std::string_view param, std::string_view expected, const Json& json) {
  return BadField(param, "{}: expected {}, got {}", param, expected, json.type_name());
}

// The value as an integer where it is one: 3 or 3.0, in the range of int64.
std::optional<int64_t> AsInteger(const Json& json) {
  if (json.is_number_unsigned()) {
    const auto value = json.get<uint64_t>();
    if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
    return static_cast<int64_t>(value);
  }
  if (json.is_number_integer()) return json.get<int64_t>();
  if (!json.is_number_float()) return std::nullopt;
  const auto value = json.get<double>();
  constexpr double kExact = 9007199254740992.0;  // 2^53
  if (!(std::abs(value) <= kExact) || value != std::floor(value)) return std::nullopt;
  return static_cast<int64_t>(value);
}

absl::Status CheckSize(size_t size, const FieldSpec& field, std::string_view unit,
                       std::string_view param) {
  const auto count = static_cast<double>(size);
  if (count >= field.min && count <= field.max) return absl::OkStatus();
  return BadField(param, "{}: {} {}, expected {} to {}", param, size, unit, field.min, field.max);
}

absl::Status CheckNumber(const Json& json, const FieldSpec& field, std::string_view param) {
  if (!json.is_number()) return WrongType(param, "a number", json);
  const auto value = json.get<double>();
  if (value >= field.min && value <= field.max) return absl::OkStatus();
  return BadField(param, "{}: {} is out of range, expected {} to {}", param, value, field.min,
                  field.max);
}

absl::Status CheckStrings(const Json& json, const FieldSpec& field, std::string_view param) {
  if (json.is_string()) return absl::OkStatus();
  if (!json.is_array()) return WrongType(param, "a string or a list of strings", json);
  FM_RETURN_IF_ERROR(CheckSize(json.size(), field, "strings", param));
  for (const Json& item : json) {
    if (!item.is_string()) return WrongType(param, "a list of strings", item);
  }
  return absl::OkStatus();
}

absl::Status CheckList(const Json& json, const FieldSpec& field, std::string_view param) {
  if (!json.is_array()) return WrongType(param, "a list", json);
  return CheckSize(json.size(), field, "entries", param);
}

absl::Status CheckValue(const Json& json, const FieldSpec& field, std::string_view param) {
  switch (field.type) {
    case FieldType::kInteger:
      return ReadInteger(json, field.min, field.max, param).status();
    case FieldType::kNumber:
      return CheckNumber(json, field, param);
    case FieldType::kBoolean:
      return json.is_boolean() ? absl::OkStatus() : WrongType(param, "true or false", json);
    case FieldType::kString:
      if (!json.is_string()) return WrongType(param, "a string", json);
      return CheckSize(json.get_ref<const std::string&>().size(), field, "bytes", param);
    case FieldType::kStrings:
      return CheckStrings(json, field, param);
    case FieldType::kIntegers:
    case FieldType::kArray:
      return CheckList(json, field, param);
    case FieldType::kObject:
      if (!json.is_object()) return WrongType(param, "an object", json);
      return CheckSize(json.size(), field, "members", param);
    case FieldType::kAny:
      return absl::OkStatus();
  }
  return absl::OkStatus();
}

// A value that asks for nothing: clients send such defaults for fields that they do not use.
bool AsksForNothing(const Json& json) {
  if (json.is_boolean()) return !json.get<bool>();
  if (json.is_number()) return json.get<double>() == 0;
  if (json.is_string()) return json.get_ref<const std::string&>().empty();
  return json.is_structured() && json.empty();
}

}  // namespace

absl::StatusOr<Fields> Fields::Check(const Json& json, Endpoint endpoint, std::string_view prefix) {
  Fields fields(json, endpoint, prefix);
  for (const auto& [name, value] : json.items()) {
    const FieldSpec* field = FindField(name, endpoint);
    if (field == nullptr) {
      if (fields.unknown_.size() < kMaxUnknown) fields.unknown_.push_back(name);
      continue;
    }
    if (value.is_null() || field->use == FieldUse::kIgnored) continue;
    const std::string param = fields.Path(name);
    if (field->use == FieldUse::kRefused) {
      if (AsksForNothing(value)) continue;
      return BadField(param, "{} is not supported{}{}", param, field->note.empty() ? "" : ": ",
                      field->note);
    }
    FM_RETURN_IF_ERROR(CheckValue(value, *field, param));
  }
  return fields;
}

std::string Fields::Path(std::string_view name) const { return prefix_ + std::string(name); }

const Json* Fields::Get(std::string_view name) const {
  const FieldSpec* field = FindField(name, endpoint_);
  FM_CHECK(field != nullptr && field->use == FieldUse::kAccepted);
  const auto found = json_->find(std::string(name));
  return found == json_->end() || found->is_null() ? nullptr : &*found;
}

std::optional<int64_t> Fields::Integer(std::string_view name) const {
  const Json* json = Get(name);
  return json == nullptr ? std::nullopt : AsInteger(*json);
}

std::optional<double> Fields::Number(std::string_view name) const {
  const Json* json = Get(name);
  if (json == nullptr) return std::nullopt;
  return json->get<double>();
}

std::optional<std::string> Fields::String(std::string_view name) const {
  const Json* json = Get(name);
  if (json == nullptr) return std::nullopt;
  return json->get<std::string>();
}

bool Fields::Boolean(std::string_view name, bool fallback) const {
  const Json* json = Get(name);
  return json == nullptr ? fallback : json->get<bool>();
}

std::vector<std::string> Fields::Strings(std::string_view name) const {
  const Json* json = Get(name);
  if (json == nullptr) return {};
  if (json->is_string()) return {json->get<std::string>()};
  return json->get<std::vector<std::string>>();
}

absl::StatusOr<int64_t> ReadInteger(const Json& json, double min, double max,
                                    std::string_view param) {
  if (!json.is_number()) return WrongType(param, "an integer", json);
  const std::optional<int64_t> value = AsInteger(json);
  const auto wide = static_cast<double>(value.value_or(0));
  if (!value || wide < min || wide > max) {
    return BadField(param, "{}: {} is not an integer from {} to {}", param, Dump(json), min, max);
  }
  return *value;
}

absl::StatusOr<std::vector<int32_t>> ReadIds(const Json& json, int64_t vocab,
                                             std::string_view param) {
  if (!json.is_array()) return WrongType(param, "a list of token ids", json);
  std::vector<int32_t> ids;
  ids.reserve(json.size());
  for (const Json& item : json) {
    const std::optional<int64_t> id = AsInteger(item);
    if (!id || *id < 0 || *id >= vocab) {
      return BadField(param, "{}: {} is not a token id of this model, which has 0 to {}", param,
                      item.is_number() ? Dump(item) : std::string(item.type_name()), vocab - 1);
    }
    ids.push_back(static_cast<int32_t>(*id));
  }
  return ids;
}

}  // namespace folkmoot
