// SPDX-License-Identifier: Apache-2.0
// Reading of tokenizer.json: a simdjson document whose nodes know where they stand, so that every
// error names the file and the place in it ("tokenizer.json: $.model.merges[7]: ...").
// Private to runtime/tokenizer.
#pragma once

#include <simdjson.h>

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/status.h"

namespace folkmoot {

// A value inside a JsonDocument, which must outlive it. A key with the value null counts as absent.
class JsonNode {
 public:
  JsonNode(simdjson::dom::element element, std::string path, const std::string* file)
      : element_(element), path_(std::move(path)), file_(file) {}

  simdjson::dom::element element() const { return element_; }

  template <typename... Args>
  absl::Status Error(fmt::format_string<Args...> format, Args&&... args) const {
    return InvalidArgument("{}: {}: {}", *file_, path_,
                           fmt::format(format, std::forward<Args>(args)...));
  }
  // Puts file and place in front of an error from below.
  absl::Status Locate(const absl::Status& status) const {
    return status.ok() ? status : Error("{}", Message(status));
  }

  bool IsString() const { return element_.is_string(); }
  std::optional<JsonNode> Find(std::string_view key) const;
  absl::StatusOr<JsonNode> Get(std::string_view key) const;

  absl::StatusOr<std::string_view> AsString() const;
  absl::StatusOr<int64_t> AsInt() const;
  absl::StatusOr<std::vector<JsonNode>> AsArray() const;
  absl::StatusOr<std::vector<std::pair<std::string, JsonNode>>> AsMembers() const;

  absl::StatusOr<std::string> String(std::string_view key) const;
  absl::StatusOr<int64_t> Int(std::string_view key) const;
  absl::StatusOr<std::vector<JsonNode>> Array(std::string_view key) const;
  absl::StatusOr<bool> Bool(std::string_view key) const;
  absl::StatusOr<bool> Bool(std::string_view key, bool if_absent) const;
  // Exactly one character (Unicode code point).
  absl::StatusOr<std::string> Character(std::string_view key) const;

  // Refuses keys that are not in the list ("type" always is).
  absl::Status AllowOnly(std::initializer_list<std::string_view> keys) const;

 private:
  std::string Below(std::string_view key) const { return fmt::format("{}.{}", path_, key); }

  simdjson::dom::element element_;
  std::string path_;
  const std::string* file_;
};

class JsonDocument {
 public:
  // `name` stands for the file in messages. Error: InvalidArgument when it is not a JSON object.
  static absl::StatusOr<std::unique_ptr<JsonDocument>> Parse(std::string_view json,
                                                             std::string_view name);

  JsonNode root() const { return JsonNode(root_, "$", &name_); }
  const std::string& name() const { return name_; }

 private:
  std::string name_;
  simdjson::dom::parser parser_;
  simdjson::dom::element root_;
};

}  // namespace folkmoot
