// SPDX-License-Identifier: Apache-2.0
// Structured output: the many spellings of "the text must have this form", made into one
// constraint.
#include "launch/api/common/json_body.h"
#include "launch/api/request/request_builder.h"
#include "nlohmann/json.hpp"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

// One form at most; `param` says who asked for it.
class ConstraintSlot {
 public:
  ConstraintSlot(const ServedModel& model, Request* out) : options_(model.options()), out_(out) {}

  absl::Status Regex(std::string_view pattern, const std::string& param) {
    return Set(param, [&] { return Call(options_.compile_regex, pattern); });
  }
  absl::Status Schema(const Json& schema, const std::string& param) {
    return Set(param, [&] { return Call(options_.compile_schema, schema); });
  }
  absl::Status JsonObject(const std::string& param) {
    return Set(param, [&] { return Call(options_.compile_json_object); });
  }
  absl::Status Choice(const std::vector<std::string>& choices, const std::string& param) {
    return Set(param, [&] { return Call(options_.compile_choice, choices); });
  }

 private:
  using Constraint = ServedModelOptions::Constraint;

  template <typename Function, typename... Args>
  static Constraint Call(const Function& function, const Args&... args) {
    if (!function) return InvalidArgument("this model has no tokenizer.json");
    return function(args...);
  }

  template <typename Compile>
  absl::Status Set(const std::string& param, const Compile& compile) {
    if (out_->constraint != nullptr) {
      return BadField(param, "{}: the output can have one form only, and '{}' asks for one too",
                      param, first_);
    }
    Constraint constraint = compile();
    if (!constraint.ok()) {
      return BadField(param, "{}: {}", param, Message(constraint.status()));
    }
    out_->constraint = *std::move(constraint);
    first_ = param;
    return absl::OkStatus();
  }

  const ServedModelOptions& options_;
  Request* out_;
  std::string first_;
};

// A schema as an object, or as a string that holds one.
absl::Status SetSchema(const Json& json, const std::string& param, ConstraintSlot* slot) {
  if (json.is_object()) return slot->Schema(json, param);
  if (!json.is_string()) return BadField(param, "{}: expected a JSON schema", param);
  absl::StatusOr<Json> schema = ParseBody(json.get_ref<const std::string&>());
  if (!schema.ok()) return BadField(param, "{}: the string is not a JSON schema", param);
  return slot->Schema(*schema, param);
}

absl::Status SetChoice(const Json& json, const std::string& param, ConstraintSlot* slot) {
  if (!json.is_array() || json.empty() || json.size() > 1024) {
    return BadField(param, "{}: expected a list of 1 to 1024 strings", param);
  }
  for (const Json& choice : json) {
    if (!choice.is_string()) return BadField(param, "{}: expected a list of strings", param);
  }
  return slot->Choice(json.get<std::vector<std::string>>(), param);
}

absl::Status SetRegex(const Json& json, const std::string& param, ConstraintSlot* slot) {
  if (!json.is_string()) return BadField(param, "{}: expected a string", param);
  return slot->Regex(json.get_ref<const std::string&>(), param);
}

absl::Status ReadStructuredOutputs(const Json& json, ConstraintSlot* slot) {
  for (const auto& [name, value] : json.items()) {
    const std::string param = "structured_outputs." + name;
    if (value.is_null() || value == false) continue;
    if (name == "choice") {
      FM_RETURN_IF_ERROR(SetChoice(value, param, slot));
    } else if (name == "regex") {
      FM_RETURN_IF_ERROR(SetRegex(value, param, slot));
    } else if (name == "json") {
      FM_RETURN_IF_ERROR(SetSchema(value, param, slot));
    } else if (name == "json_object") {
      if (value != true) return BadField(param, "{}: expected true or false", param);
      FM_RETURN_IF_ERROR(slot->JsonObject(param));
    } else {
      return BadField(param, "{} is not supported; use choice, regex, json or json_object", param);
    }
  }
  return absl::OkStatus();
}

absl::Status ReadResponseFormat(const Json& json, ConstraintSlot* slot) {
  const std::string param = "response_format";
  const auto type = json.find("type");
  if (type == json.end() || !type->is_string()) {
    return BadField(param, "response_format: expected a type");
  }
  if (*type == "text") return absl::OkStatus();
  if (*type == "json_object") return slot->JsonObject(param);
  if (*type != "json_schema") {
    return BadField(param,
                    "response_format: type '{}' is not supported; use text, json_object or "
                    "json_schema",
                    type->get_ref<const std::string&>());
  }
  const auto outer = json.find("json_schema");
  if (outer == json.end() || !outer->is_object()) {
    return BadField(param, "response_format: json_schema is missing");
  }
  const auto schema = outer->find("schema");
  if (schema == outer->end()) {
    return BadField(param, "response_format: json_schema.schema is missing");
  }
  return SetSchema(*schema, param, slot);
}

}  // namespace

absl::Status ReadConstraint(const Fields& fields, const ServedModel& model, Request* out) {
  ConstraintSlot slot(model, out);
  if (fields.endpoint() == kGenerateSampling) {
    if (const Json* regex = fields.Get("regex")) {
      FM_RETURN_IF_ERROR(SetRegex(*regex, fields.Path("regex"), &slot));
    }
    if (const Json* schema = fields.Get("json_schema")) {
      FM_RETURN_IF_ERROR(SetSchema(*schema, fields.Path("json_schema"), &slot));
    }
    return absl::OkStatus();
  }
  if (const Json* format = fields.Get("response_format")) {
    FM_RETURN_IF_ERROR(ReadResponseFormat(*format, &slot));
  }
  if (const Json* outputs = fields.Get("structured_outputs")) {
    FM_RETURN_IF_ERROR(ReadStructuredOutputs(*outputs, &slot));
  }
  if (const Json* schema = fields.Get("guided_json")) {
    FM_RETURN_IF_ERROR(SetSchema(*schema, "guided_json", &slot));
  }
  if (const Json* regex = fields.Get("guided_regex")) {
    FM_RETURN_IF_ERROR(SetRegex(*regex, "guided_regex", &slot));
  }
  if (const Json* choice = fields.Get("guided_choice")) {
    FM_RETURN_IF_ERROR(SetChoice(*choice, "guided_choice", &slot));
  }
  return absl::OkStatus();
}

}  // namespace folkmoot
