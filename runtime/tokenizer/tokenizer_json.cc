// SPDX-License-Identifier: Apache-2.0
#include "runtime/tokenizer/tokenizer_json.h"

#include <absl/strings/ascii.h>

#include <algorithm>

#include "runtime/tokenizer/utf8.h"

namespace folkmoot {
namespace {

std::string_view TypeName(simdjson::dom::element element) {
  switch (element.type()) {
    case simdjson::dom::element_type::ARRAY:
      return "an array";
    case simdjson::dom::element_type::OBJECT:
      return "an object";
    case simdjson::dom::element_type::STRING:
      return "a string";
    case simdjson::dom::element_type::BOOL:
      return "true or false";
    case simdjson::dom::element_type::NULL_VALUE:
      return "null";
    default:
      return "a number";
  }
}

// The same JSON with a fraction behind every integer of 19 digits or more: as floating-point
// numbers they have no bound.
std::string WithLargeIntegersAsFloats(std::string_view json) {
  std::string out;
  out.reserve(json.size() + 16);
  bool in_string = false;
  for (size_t at = 0; at < json.size();) {
    const char c = json[at];
    const size_t begin = at;
    if (in_string) {
      in_string = c != '"';
      at += c == '\\' && at + 1 < json.size() ? 2 : 1;
      out += json.substr(begin, at - begin);
      continue;
    }
    in_string = c == '"';
    const auto is_number = [&] {
      return absl::ascii_isdigit(static_cast<unsigned char>(json[at])) || json[at] == '-';
    };
    constexpr std::string_view kFraction = ".eE+";
    bool whole = true;
    while (at < json.size() && (is_number() || kFraction.find(json[at]) != kFraction.npos)) {
      whole &= is_number();
      ++at;
    }
    if (at == begin) {
      out += json[at++];
      continue;
    }
    out += json.substr(begin, at - begin);
    if (whole && at - begin >= 19) out += ".0";
  }
  return out;
}

}  // namespace

std::optional<JsonNode> JsonNode::Find(std::string_view key) const {
  simdjson::dom::element value;
  if (!element_.is_object() || element_[key].get(value) != simdjson::SUCCESS || value.is_null()) {
    return std::nullopt;
  }
  return JsonNode(value, Below(key), file_);
}

absl::StatusOr<JsonNode> JsonNode::Get(std::string_view key) const {
  std::optional<JsonNode> node = Find(key);
  if (!node) return Error("\"{}\" is missing", key);
  return *std::move(node);
}

absl::StatusOr<std::string_view> JsonNode::AsString() const {
  std::string_view value;
  if (element_.get(value) != simdjson::SUCCESS) {
    return Error("must be a string, is {}", TypeName(element_));
  }
  return value;
}

absl::StatusOr<int64_t> JsonNode::AsInt() const {
  int64_t value = 0;
  if (element_.get(value) != simdjson::SUCCESS) {
    return Error("must be an integer, is {}", TypeName(element_));
  }
  return value;
}

absl::StatusOr<std::vector<JsonNode>> JsonNode::AsArray() const {
  simdjson::dom::array array;
  if (element_.get(array) != simdjson::SUCCESS) {
    return Error("must be an array, is {}", TypeName(element_));
  }
  std::vector<JsonNode> nodes;
  nodes.reserve(array.size());
  for (simdjson::dom::element item : array) {
    nodes.emplace_back(item, fmt::format("{}[{}]", path_, nodes.size()), file_);
  }
  return nodes;
}

absl::StatusOr<std::vector<std::pair<std::string, JsonNode>>> JsonNode::AsMembers() const {
  simdjson::dom::object object;
  if (element_.get(object) != simdjson::SUCCESS) {
    return Error("must be an object, is {}", TypeName(element_));
  }
  std::vector<std::pair<std::string, JsonNode>> members;
  for (const simdjson::dom::key_value_pair field : object) {
    members.emplace_back(field.key, JsonNode(field.value, Below(field.key), file_));
  }
  return members;
}

absl::StatusOr<std::string> JsonNode::String(std::string_view key) const {
  FM_ASSIGN_OR_RETURN(const JsonNode node, Get(key));
  FM_ASSIGN_OR_RETURN(const std::string_view value, node.AsString());
  return std::string(value);
}

absl::StatusOr<int64_t> JsonNode::Int(std::string_view key) const {
  FM_ASSIGN_OR_RETURN(const JsonNode node, Get(key));
  return node.AsInt();
}

absl::StatusOr<std::vector<JsonNode>> JsonNode::Array(std::string_view key) const {
  FM_ASSIGN_OR_RETURN(const JsonNode node, Get(key));
  return node.AsArray();
}

absl::StatusOr<bool> JsonNode::Bool(std::string_view key) const {
  FM_ASSIGN_OR_RETURN(const JsonNode node, Get(key));
  bool value = false;
  if (node.element_.get(value) != simdjson::SUCCESS) {
    return node.Error("must be true or false, is {}", TypeName(node.element_));
  }
  return value;
}

absl::StatusOr<bool> JsonNode::Bool(std::string_view key, bool if_absent) const {
  if (!Find(key)) return if_absent;
  return Bool(key);
}

absl::StatusOr<std::string> JsonNode::Character(std::string_view key) const {
  FM_ASSIGN_OR_RETURN(std::string value, String(key));
  if (value.empty() || ReadUtf8(value, 0).length != value.size()) {
    return Error("\"{}\" must be one character, is \"{}\"", key, value);
  }
  return value;
}

absl::Status JsonNode::AllowOnly(std::initializer_list<std::string_view> keys) const {
  simdjson::dom::object object;
  if (element_.get(object) != simdjson::SUCCESS) {
    return Error("must be an object, is {}", TypeName(element_));
  }
  for (const simdjson::dom::key_value_pair field : object) {
    if (field.key != "type" && std::find(keys.begin(), keys.end(), field.key) == keys.end()) {
      return Error("unknown key \"{}\"; it may change the ids, so it is not ignored", field.key);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<JsonDocument>> JsonDocument::Parse(std::string_view json,
                                                                  std::string_view name) {
  auto document = std::make_unique<JsonDocument>();
  document->name_ = name;
  simdjson::error_code error =
      document->parser_.parse(json.data(), json.size()).get(document->root_);
  if (error == simdjson::NUMBER_ERROR) {
    // Integers beyond 64 bits: Transformers writes 10^30 as the model_max_length of models that
    // have none.
    const std::string floats = WithLargeIntegersAsFloats(json);
    error = document->parser_.parse(floats.data(), floats.size()).get(document->root_);
  }
  if (error != simdjson::SUCCESS) {
    return InvalidArgument("{}: not JSON: {}", name, simdjson::error_message(error));
  }
  if (!document->root_.is_object()) {
    return InvalidArgument("{}: must hold a JSON object, holds {}", name,
                           TypeName(document->root_));
  }
  return document;
}

}  // namespace folkmoot
