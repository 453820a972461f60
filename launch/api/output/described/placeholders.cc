// SPDX-License-Identifier: Apache-2.0
#include "launch/api/output/described/placeholders.h"

#include <optional>
#include <vector>

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

bool IsWordCharacter(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
}

// The words of "{a.b.c}".
std::optional<std::vector<std::string>> PathOf(std::string_view text) {
  if (text.size() < 3 || text.front() != '{' || text.back() != '}') return std::nullopt;
  std::vector<std::string> path(1);
  for (const char c : text.substr(1, text.size() - 2)) {
    if (c == '.' && !path.back().empty()) {
      path.emplace_back();
    } else if (IsWordCharacter(c)) {
      path.back() += c;
    } else {
      return std::nullopt;
    }
  }
  if (path.back().empty()) return std::nullopt;
  return path;
}

bool HasPlaceholder(std::string_view text) {
  for (size_t open = text.find('{'); open != std::string_view::npos;
       open = text.find('{', open + 1)) {
    const size_t close = text.find('}', open);
    if (close == std::string_view::npos) return false;
    if (PathOf(text.substr(open, close + 1 - open))) return true;
  }
  return false;
}

}  // namespace

absl::Status CheckPlaceholders(const std::string& where, const Json& transform) {
  if (transform.is_structured()) {
    for (const Json& part : transform) FM_RETURN_IF_ERROR(CheckPlaceholders(where, part));
  }
  if (!transform.is_string()) return absl::OkStatus();
  const std::string& text = transform.get_ref<const std::string&>();
  if (!HasPlaceholder(text) || PathOf(text)) return absl::OkStatus();
  return InvalidArgument("{}: transform \"{}\" mixes a placeholder with other text", where, text);
}

absl::StatusOr<Json> FillPlaceholders(const Json& transform, const Json& scope) {
  if (transform.is_structured()) {
    Json filled = transform;
    for (Json& part : filled) {
      FM_ASSIGN_OR_RETURN(Json value, FillPlaceholders(part, scope));
      part = std::move(value);
    }
    return filled;
  }
  if (!transform.is_string()) return transform;
  const auto path = PathOf(transform.get_ref<const std::string&>());
  if (!path) return transform;
  const Json* value = &scope;
  for (const std::string& word : *path) {
    const auto found = value->is_object() ? value->find(word) : value->end();
    if (!value->is_object() || found == value->end()) {
      return InvalidArgument("there is no {}", transform.get<std::string>());
    }
    value = &*found;
  }
  return *value;
}

}  // namespace folkmoot
