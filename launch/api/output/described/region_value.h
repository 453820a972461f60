// SPDX-License-Identifier: Apache-2.0
// What a region of an answer holds, by the "content" of its field in a response template.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "launch/api/output/described/python_regex.h"
#include "nlohmann/json.hpp"
#include "runtime/status.h"

namespace folkmoot {

// Without the white space (of ASCII) at the beginning, and at the end.
std::string_view StripLeft(std::string_view text);
std::string_view StripRight(std::string_view text);

// "text", "int", "float", "bool", "json", "xml-inline", "kv-lines" or "python-call-list", with
// "content_args": the semantics of Transformers 5 (utils/chat_parsing). Immutable.
class RegionReader {
 public:
  using Json = nlohmann::ordered_json;

  // `where` begins messages. InvalidArgument: there is no such content, or arguments of it are not
  // what they must be.
  static absl::StatusOr<RegionReader> Make(const std::string& where, std::string_view content,
                                           const Json& arguments);

  // InvalidArgument: `text` is not what it must be.
  absl::StatusOr<Json> Read(std::string_view text) const;

  bool is_text() const { return kind_ == Kind::kText; }
  bool strips() const { return strip_; }
  // Whether values of arguments are plain text, whose types the tools declare.
  bool has_plain_values() const;

 private:
  enum class Kind { kText, kInt, kFloat, kBool, kJson, kXmlInline, kKvLines, kPythonCallList };

  RegionReader() = default;
  absl::Status ReadArguments(const std::string& where, const Json& arguments);
  std::string_view Strip(std::string_view text) const;
  absl::StatusOr<Json> ReadJson(std::string_view text) const;
  absl::StatusOr<Json> ReadXml(std::string_view text) const;
  absl::StatusOr<Json> ReadLines(std::string_view text) const;
  absl::StatusOr<Json> ReadPart(std::string_view text) const;

  Kind kind_ = Kind::kText;
  bool strip_ = true;
  // json
  bool unquoted_keys_ = false;
  bool allow_non_json_ = false;
  std::vector<std::pair<std::string, std::string>> string_delims_;
  // xml-inline
  std::shared_ptr<const PythonRegex> tag_pattern_;
  bool merge_duplicates_ = false;
  // kv-lines
  std::string line_sep_ = "\n", kv_sep_ = ":";
  // Of both: what reads a value; null: it is the text.
  std::shared_ptr<const RegionReader> value_reader_;
};

}  // namespace folkmoot
