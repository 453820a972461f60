// SPDX-License-Identifier: Apache-2.0
#include "runtime/jinja/value_from_json.h"

#include <array>
#include <limits>
#include <nlohmann/json.hpp>

#include "runtime/tokenizer/utf8.h"

namespace folkmoot::jinja {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<std::string_view, 8> kRoles = {"system",   "user",      "assistant", "tool",
                                                    "function", "developer", "ipython",   "model"};
constexpr std::array<const char*, 3> kReasoningKeys = {"reasoning_content", "thinking",
                                                       "reasoning"};

Value KeyValue(const std::string& key) { return Value::String(Text::Untrusted(RepairUtf8(key))); }

absl::StatusOr<Value> Convert(const Json& json, int nesting) {
  if (nesting > Value::kMaxNesting) {
    return ResourceExhausted("the conversation nests values deeper than {} levels",
                             Value::kMaxNesting);
  }
  switch (json.type()) {
    case Json::value_t::boolean:
      return Value::Bool(json.get<bool>());
    case Json::value_t::number_integer:
      return Value::Int(json.get<int64_t>(), true);
    case Json::value_t::number_unsigned: {
      const uint64_t number = json.get<uint64_t>();
      if (number <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        return Value::Int(static_cast<int64_t>(number), true);
      }
      return Value::LargeInt(number, true);
    }
    case Json::value_t::number_float:
      return Value::Float(json.get<double>(), true);
    case Json::value_t::string:
      return Value::String(Text::Untrusted(RepairUtf8(json.get_ref<const std::string&>())));
    case Json::value_t::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const Json& item : json) {
        FM_ASSIGN_OR_RETURN(Value value, Convert(item, nesting + 1));
        items.push_back(std::move(value));
      }
      return Value::List(std::move(items));
    }
    case Json::value_t::object: {
      std::vector<std::pair<Value, Value>> items;
      items.reserve(json.size());
      for (const auto& [key, item] : json.items()) {
        FM_ASSIGN_OR_RETURN(Value value, Convert(item, nesting + 1));
        items.emplace_back(KeyValue(key), std::move(value));
      }
      return Value::Dict(std::move(items));
    }
    default:
      return Value::None();
  }
}

// The members of a message, with "role" trusted where it may be.
absl::Status AppendMembers(const Json& message, const char* except,
                           std::vector<std::pair<Value, Value>>* members) {
  for (const auto& [key, item] : message.items()) {
    if (except != nullptr && key == except) continue;
    FM_ASSIGN_OR_RETURN(Value value, Convert(item, 3));
    if (key == "role" && value.Is(Kind::kString)) {
      for (const std::string_view role : kRoles) {
        if (value.view() == role) value = Value::String(Text::Trusted(std::string(role)));
      }
    }
    members->emplace_back(KeyValue(key), std::move(value));
  }
  return absl::OkStatus();
}

absl::StatusOr<Value> MessageFromJson(const Json& message) {
  const Json* reasoning = nullptr;
  for (const char* key : kReasoningKeys) {
    const auto found = message.find(key);
    if (found != message.end() && !found->is_null()) {
      reasoning = &*found;
      break;
    }
  }
  std::vector<std::pair<Value, Value>> members;
  if (reasoning == nullptr) {
    FM_RETURN_IF_ERROR(AppendMembers(message, nullptr, &members));
    return Value::Dict(std::move(members));
  }
  // The order of the keys is Python's for {"thinking": r, **message, "reasoning_content": r}.
  FM_ASSIGN_OR_RETURN(const Value value, Convert(*reasoning, 3));
  const auto thinking = message.find("thinking");
  if (thinking == message.end()) {
    members.emplace_back(KeyValue("thinking"), value);
    FM_RETURN_IF_ERROR(AppendMembers(message, nullptr, &members));
  } else {
    FM_ASSIGN_OR_RETURN(Value own, Convert(*thinking, 3));
    members.emplace_back(KeyValue("thinking"), std::move(own));
    FM_RETURN_IF_ERROR(AppendMembers(message, "thinking", &members));
  }
  for (auto& [key, item] : members) {
    if (key.view() == "reasoning_content") {
      item = value;
      return Value::Dict(std::move(members));
    }
  }
  members.emplace_back(KeyValue("reasoning_content"), value);
  return Value::Dict(std::move(members));
}

}  // namespace

absl::StatusOr<Value> ValueFromJson(const Json& json) { return Convert(json, 1); }

absl::StatusOr<Value> MessagesFromJson(const Json& json) {
  if (!json.is_array()) return Convert(json, 1);
  std::vector<Value> messages;
  messages.reserve(json.size());
  for (const Json& message : json) {
    FM_ASSIGN_OR_RETURN(Value value,
                        message.is_object() ? MessageFromJson(message) : Convert(message, 2));
    messages.push_back(std::move(value));
  }
  return Value::List(std::move(messages));
}

}  // namespace folkmoot::jinja
