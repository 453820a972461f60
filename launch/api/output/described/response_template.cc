// SPDX-License-Identifier: Apache-2.0
#include "launch/api/output/described/response_template.h"

#include <algorithm>
#include <set>

#include "launch/api/output/described/placeholders.h"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

absl::Status CheckKeys(const std::string& where, const Json& object,
                       const std::set<std::string>& known) {
  if (!object.is_object()) return InvalidArgument("{} must be an object", where);
  for (const auto& [key, value] : object.items()) {
    if (!known.contains(key)) {
      return InvalidArgument("{}: unknown key \"{}\" ({} are known)", where, key,
                             fmt::join(known, ", "));
    }
  }
  return absl::OkStatus();
}

// A mark: texts under `key`, or an expression under `key`_pattern; none under neither.
absl::StatusOr<std::optional<PythonRegex>> ReadMark(const std::string& where, const Json& object,
                                                    const std::string& key) {
  const auto literal = object.find(key);
  const auto pattern = object.find(key + "_pattern");
  if (literal != object.end() && pattern != object.end()) {
    return InvalidArgument("{}: {} and {}_pattern contradict each other", where, key, key);
  }
  absl::StatusOr<PythonRegex> regex = InvalidArgument("not set");
  if (pattern != object.end()) {
    if (!pattern->is_string()) return InvalidArgument("{}: {}_pattern must be a text", where, key);
    regex = PythonRegex::Compile(pattern->get<std::string>());
  } else if (literal != object.end()) {
    const Json list = literal->is_array() ? *literal : Json::array({*literal});
    std::vector<std::string> texts;
    for (const Json& text : list) {
      if (!text.is_string() || text == "") {
        return InvalidArgument("{}: {} must be a text or a list of texts, none empty", where, key);
      }
      texts.push_back(text);
    }
    if (texts.empty()) return InvalidArgument("{}: {} has no texts", where, key);
    regex = PythonRegex::AnyOf(std::move(texts));
  } else {
    return std::optional<PythonRegex>();
  }
  if (!regex.ok()) return InvalidArgument("{}: {}: {}", where, key, Message(regex.status()));
  return std::optional<PythonRegex>(*std::move(regex));
}

ResponseField::Use UseOf(std::string_view name) {
  if (name == "content") return ResponseField::Use::kContent;
  if (name == "tool_calls") return ResponseField::Use::kToolCalls;
  const bool thought = name == "reasoning_content" || name == "reasoning" || name == "thinking";
  return thought ? ResponseField::Use::kReasoning : ResponseField::Use::kOther;
}

absl::Status CheckUse(const std::string& where, const ResponseField& field) {
  const bool told_as_text =
      field.use == ResponseField::Use::kContent || field.use == ResponseField::Use::kReasoning;
  if (told_as_text && (!field.reader.is_text() || !field.transform.is_null())) {
    return InvalidArgument("{}: it must be a text (content \"text\", no transform)", where);
  }
  const auto captures = [](const std::optional<PythonRegex>& mark) {
    return mark && mark->has_groups();
  };
  if (field.transform.is_null() && (captures(field.open) || captures(field.close))) {
    return InvalidArgument(
        "{}: its marks have named groups, and there is no transform that uses "
        "them",
        where);
  }
  return absl::OkStatus();
}

absl::StatusOr<ResponseField> ReadField(const std::string& name, const Json& json) {
  const std::string where = fmt::format("response_template: field \"{}\"", name);
  FM_RETURN_IF_ERROR(
      CheckKeys(where, json,
                {"open", "open_pattern", "close", "close_pattern", "content", "content_args",
                 "repeats", "join", "optional", "transform", "transform_each"}));
  const Json content = json.value("content", Json("text"));
  if (!content.is_string()) return InvalidArgument("{}: content must be a text", where);
  FM_ASSIGN_OR_RETURN(RegionReader reader,
                      RegionReader::Make(where, content.get<std::string>(),
                                         json.value("content_args", Json::object())));
  ResponseField field{
      .name = name, .use = UseOf(name), .open = {}, .close = {}, .reader = std::move(reader)};
  FM_ASSIGN_OR_RETURN(field.open, ReadMark(where, json, "open"));
  FM_ASSIGN_OR_RETURN(field.close, ReadMark(where, json, "close"));
  if (const auto join = json.find("join"); join != json.end() && !join->is_null()) {
    if (!join->is_string()) return InvalidArgument("{}: join must be a text", where);
    field.join = join->get<std::string>();
  }
  field.transform = json.value("transform", Json(nullptr));
  field.transform_each = json.value("transform_each", Json(false)) == true;
  FM_RETURN_IF_ERROR(CheckPlaceholders(where, field.transform));
  FM_RETURN_IF_ERROR(CheckUse(where, field));
  return field;
}

void CollectTexts(const Json& json, std::vector<std::string>* texts) {
  if (json.is_string()) {
    texts->push_back(json.get<std::string>());
    std::erase(texts->back(), '\\');
  }
  if (json.is_structured()) {
    for (const Json& part : json) CollectTexts(part, texts);
  }
}

}  // namespace

absl::StatusOr<std::shared_ptr<const ResponseTemplate>> ResponseTemplate::Parse(const Json& json) {
  const std::string where = "response_template";
  FM_RETURN_IF_ERROR(CheckKeys(
      where, json, {"version", "defaults", "fields", "start_anchor", "start_anchor_pattern"}));
  if (json.value("version", Json(1)) != 1) {
    return InvalidArgument("{}: version {} is not known (1 is)", where, json["version"].dump());
  }
  const Json fields = json.value("fields", Json::object());
  if (!fields.is_object() || fields.empty()) {
    return InvalidArgument("{}: fields must be an object that is not empty", where);
  }
  std::shared_ptr<ResponseTemplate> result(new ResponseTemplate());
  const ResponseField* outside = nullptr;
  result->fields_.reserve(fields.size());
  for (const auto& [name, field] : fields.items()) {
    FM_ASSIGN_OR_RETURN(ResponseField read, ReadField(name, field));
    result->fields_.push_back(std::move(read));
    if (result->fields_.back().open) continue;
    if (outside != nullptr) {
      return InvalidArgument("{}: fields \"{}\" and \"{}\" both have no opening mark", where,
                             outside->name, name);
    }
    outside = &result->fields_.back();
  }
  FM_ASSIGN_OR_RETURN(result->start_, ReadMark(where, json, "start_anchor"));
  if (!result->start_) return InvalidArgument("{}: start_anchor is missing", where);
  CollectTexts(json, &result->texts_);
  return result;
}

bool ResponseTemplate::Has(ResponseField::Use use) const {
  return std::any_of(fields_.begin(), fields_.end(),
                     [&](const ResponseField& field) { return field.use == use; });
}

std::string_view ResponseTemplate::Begun(std::string_view prompt) const {
  PythonRegex::Match match;
  size_t from = 0;
  std::optional<size_t> end;
  while (from <= prompt.size() &&
         start_->Search(prompt, from, /*last=*/true, &match) == PythonRegex::Found::kYes) {
    end = match.end;
    from = std::max(match.end, match.begin + 1);
  }
  return end ? prompt.substr(*end) : std::string_view();
}

bool ResponseTemplate::Mentions(std::string_view text) const {
  return std::any_of(texts_.begin(), texts_.end(),
                     [&](const std::string& one) { return one.find(text) != std::string::npos; });
}

}  // namespace folkmoot
