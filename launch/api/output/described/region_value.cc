// SPDX-License-Identifier: Apache-2.0
#include "launch/api/output/described/region_value.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "launch/api/output/described/relaxed_json.h"
#include "runtime/tokenizer/utf8.h"

namespace folkmoot {
namespace {

using Json = RegionReader::Json;

constexpr std::array<std::string_view, 8> kContents = {
    "text", "int", "float", "bool", "json", "xml-inline", "kv-lines", "python-call-list"};

// All of `text` is a number.
template <typename T>
bool ReadNumber(std::string_view text, T* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size();
}

bool BooleanOr(const Json& object, const char* key, bool if_absent) {
  const auto found = object.find(key);
  return found == object.end() || !found->is_boolean() ? if_absent : found->get<bool>();
}

absl::Status ReadString(const std::string& where, const Json& object, const char* key,
                        std::string* out) {
  const auto found = object.find(key);
  if (found == object.end()) return absl::OkStatus();
  if (!found->is_string() || found->get_ref<const std::string&>().empty()) {
    return InvalidArgument("{}: {} must be a text that is not empty", where, key);
  }
  *out = found->get<std::string>();
  return absl::OkStatus();
}

}  // namespace

std::string_view StripLeft(std::string_view text) {
  return text.substr(std::min(text.find_first_not_of(kBlanks), text.size()));
}

std::string_view StripRight(std::string_view text) {
  return text.substr(0, text.find_last_not_of(kBlanks) + 1);
}

absl::StatusOr<RegionReader> RegionReader::Make(const std::string& where, std::string_view content,
                                                const Json& arguments) {
  const auto found = std::find(kContents.begin(), kContents.end(), content);
  if (found == kContents.end()) {
    return InvalidArgument("{}: content \"{}\" is not known ({} are)", where, content,
                           fmt::join(kContents, ", "));
  }
  if (!arguments.is_object()) return InvalidArgument("{}: content_args must be an object", where);
  RegionReader reader;
  reader.kind_ = static_cast<Kind>(found - kContents.begin());
  FM_RETURN_IF_ERROR(reader.ReadArguments(where, arguments));
  return reader;
}

absl::Status RegionReader::ReadArguments(const std::string& where, const Json& arguments) {
  strip_ = BooleanOr(arguments, "strip", true);
  unquoted_keys_ = BooleanOr(arguments, "unquoted_keys", false);
  allow_non_json_ = BooleanOr(arguments, "allow_non_json", false);
  merge_duplicates_ = BooleanOr(arguments, "merge_duplicates", false);
  FM_RETURN_IF_ERROR(ReadString(where, arguments, "line_sep", &line_sep_));
  FM_RETURN_IF_ERROR(ReadString(where, arguments, "kv_sep", &kv_sep_));
  for (const Json& pair : arguments.value("string_delims", Json::array())) {
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_string() || !pair[1].is_string() ||
        pair[0] == "" || pair[1] == "") {
      return InvalidArgument("{}: string_delims must be pairs of texts", where);
    }
    string_delims_.emplace_back(pair[0], pair[1]);
  }
  if (kind_ == Kind::kXmlInline) {
    std::string pattern;
    FM_RETURN_IF_ERROR(ReadString(where, arguments, "tag_pattern", &pattern));
    absl::StatusOr<PythonRegex> regex = PythonRegex::Compile(pattern);
    if (!regex.ok()) return InvalidArgument("{}: tag_pattern: {}", where, Message(regex.status()));
    if (!regex->has_group("key")) {
      return InvalidArgument("{}: tag_pattern must have a group named \"key\"", where);
    }
    tag_pattern_ = std::make_shared<const PythonRegex>(*std::move(regex));
  }
  const auto value = arguments.find("value_parser");
  if (value == arguments.end() || value->is_null()) return absl::OkStatus();
  if (!value->is_object()) return InvalidArgument("{}: value_parser must be an object", where);
  std::string name = "text";
  FM_RETURN_IF_ERROR(ReadString(where + ": value_parser", *value, "name", &name));
  FM_ASSIGN_OR_RETURN(RegionReader reader,
                      Make(where + ": value_parser", name, value->value("args", Json::object())));
  value_reader_ = std::make_shared<const RegionReader>(std::move(reader));
  return absl::OkStatus();
}

bool RegionReader::has_plain_values() const {
  const bool pairs = kind_ == Kind::kXmlInline || kind_ == Kind::kKvLines;
  return pairs && (value_reader_ == nullptr || value_reader_->is_text());
}

std::string_view RegionReader::Strip(std::string_view text) const {
  return strip_ ? StripLeft(StripRight(text)) : text;
}

absl::StatusOr<Json> RegionReader::Read(std::string_view text) const {
  switch (kind_) {
    case Kind::kText:
      return Json(std::string(Strip(text)));
    case Kind::kInt: {
      int64_t value = 0;
      if (!ReadNumber(Strip(text), &value)) return InvalidArgument("not an integer");
      return Json(value);
    }
    case Kind::kFloat: {
      double value = 0;
      if (!ReadNumber(Strip(text), &value) || !std::isfinite(value)) {
        return InvalidArgument("not a number");
      }
      return Json(value);
    }
    case Kind::kBool: {
      std::string lower(Strip(text));
      for (char& c : lower) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 'a' - 'A' : c);
      return Json(lower == "true" || lower == "1");
    }
    case Kind::kJson:
      return ReadJson(text);
    case Kind::kXmlInline:
      return ReadXml(text);
    case Kind::kKvLines:
      return ReadLines(text);
    case Kind::kPythonCallList:
      return ReadPythonCalls(text);
  }
  return InvalidArgument("no such content");
}

absl::StatusOr<Json> RegionReader::ReadJson(std::string_view text) const {
  const std::optional<std::string> strict = StrictJson(text, string_delims_, unquoted_keys_);
  if (!strict) return InvalidArgument("characters that mark texts are in it");
  if (const std::optional<Json> value = ParseFlatJson(*strict)) return *value;
  if (allow_non_json_) return Json(std::string(Strip(text)));
  return InvalidArgument("not JSON");
}

absl::StatusOr<Json> RegionReader::ReadPart(std::string_view text) const {
  if (value_reader_ == nullptr) return Json(std::string(text));
  return value_reader_->Read(text);
}

absl::StatusOr<Json> RegionReader::ReadXml(std::string_view text) const {
  Json object = Json::object();
  std::vector<std::string> merged;
  PythonRegex::Match match;
  size_t from = 0;
  while (from <= text.size() &&
         tag_pattern_->Search(text, from, /*last=*/true, &match) == PythonRegex::Found::kYes) {
    from = match.end;
    if (match.end == match.begin) {  // an empty match: on behind the next character
      from += from < text.size() ? ReadUtf8(text, from).length : 1;
    }
    std::string key, value_text;
    for (auto& [name, group] : match.groups) {
      if (name == "key") key = group;
      if (name == "value") value_text = group;
    }
    FM_ASSIGN_OR_RETURN(Json value, ReadPart(value_text));
    if (merge_duplicates_ && object.contains(key)) {
      if (std::find(merged.begin(), merged.end(), key) == merged.end()) {
        object[key] = Json::array({object[key]});
        merged.push_back(key);
      }
      object[key].push_back(std::move(value));
    } else {
      object[key] = std::move(value);
    }
  }
  return object;
}

absl::StatusOr<Json> RegionReader::ReadLines(std::string_view text) const {
  Json object = Json::object();
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(line_sep_, at), text.size());
    const std::string_view line = Strip(text.substr(at, end - at));
    at = end + line_sep_.size();
    const size_t cut = line.find(kv_sep_);
    if (cut == std::string_view::npos) continue;
    FM_ASSIGN_OR_RETURN(Json value, ReadPart(Strip(line.substr(cut + kv_sep_.size()))));
    object[std::string(Strip(line.substr(0, cut)))] = std::move(value);
  }
  return object;
}

}  // namespace folkmoot
