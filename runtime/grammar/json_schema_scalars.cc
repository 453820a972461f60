// SPDX-License-Identifier: Apache-2.0
// Strings and numbers of a JSON schema.
#include <algorithm>
#include <string>

#include "runtime/grammar/json_schema_compiler.h"
#include "runtime/grammar/number_form.h"
#include "runtime/grammar/regex_parser.h"
#include "runtime/grammar/schema_keywords.h"
#include "runtime/grammar/string_formats.h"

namespace folkmoot {

JsonSchemaCompiler::Result JsonSchemaCompiler::CompileString(const Json& schema,
                                                             const std::string& path) {
  FM_ASSIGN_OR_RETURN(const auto min, SchemaCount(schema, "minLength", path));
  FM_ASSIGN_OR_RETURN(const auto max, SchemaCount(schema, "maxLength", path));
  if (min && *min > kMaxRegexRepeat) {
    return SchemaError(path, "minLength", fmt::format("more than {}", kMaxRegexRepeat));
  }
  if (min && max && *min > *max) return SchemaError(path, "minLength", "larger than maxLength");
  const int64_t low = min.value_or(0);
  // A longer string is allowed, but not one that nobody can count.
  const int64_t high = max ? std::min(*max, std::max(low, kMaxRegexRepeat)) : Grammar::kNoLimit;
  if (schema.contains("pattern") || schema.contains("format")) {
    return CompilePattern(schema, path, low, high);
  }
  if (!min && !max) return values_.String();
  return grammar_.Seq({grammar_.Literal("\""),
                       grammar_.Repeat(values_.StringCharacter(), low, high),
                       grammar_.Literal("\"")});
}

JsonSchemaCompiler::Result JsonSchemaCompiler::CompilePattern(const Json& schema,
                                                              const std::string& path, int64_t min,
                                                              int64_t max) {
  const bool has_pattern = schema.contains("pattern");
  const char* keyword = has_pattern ? "pattern" : "format";
  if (has_pattern && schema.contains("format")) {
    return SchemaError(path, "format", "not supported beside pattern");
  }
  if (!schema[keyword].is_string()) return SchemaError(path, keyword, "must be a string");
  std::string regex = schema[keyword].get<std::string>();
  if (!has_pattern) {
    regex = StringFormatRegex(regex);
    if (regex.empty()) {
      return SchemaError(path, keyword,
                         fmt::format("this format is not supported ({} are)", StringFormatNames()));
    }
  }
  absl::StatusOr<RegexForm> form = ParseRegex(regex, RegexText::kJsonString, &grammar_);
  if (!form.ok()) {
    return Annotate(form.status(), fmt::format("JSON schema, {}/{}", path, keyword));
  }
  Grammar::Expr expr = form->expr;
  const bool fits =
      form->min_chars >= min && (max == Grammar::kNoLimit ||
                                 (form->max_chars != Grammar::kNoLimit && form->max_chars <= max));
  if (!fits) {
    if (!form->repeated_class) {
      return SchemaError(path, keyword,
                         "not supported beside minLength or maxLength that restrict it further, "
                         "unless it is one character class with a quantifier");
    }
    const int64_t low = std::max(min, form->min_chars);
    const bool pattern_limits =
        form->max_chars != Grammar::kNoLimit && (max == Grammar::kNoLimit || form->max_chars < max);
    const int64_t high = pattern_limits ? form->max_chars : max;
    if (high != Grammar::kNoLimit && low > high) {
      return SchemaError(path, keyword, "contradicts minLength or maxLength");
    }
    expr = grammar_.Repeat(*form->repeated_class, low, high);
  }
  return grammar_.Seq({grammar_.Literal("\""), expr, grammar_.Literal("\"")});
}

JsonSchemaCompiler::Result JsonSchemaCompiler::CompileNumber(const Json& schema, bool integer,
                                                             const std::string& path) {
  NumberBounds bounds{.integer = integer};
  const auto read = [&](const char* keyword, std::optional<DecimalNumber>* out) -> absl::Status {
    if (!schema.contains(keyword)) return absl::OkStatus();
    if (!schema[keyword].is_number()) return SchemaError(path, keyword, "must be a number");
    absl::StatusOr<DecimalNumber> number = DecimalNumber::Of(schema[keyword]);
    if (!number.ok()) return SchemaError(path, keyword, Message(number.status()));
    *out = *std::move(number);
    return absl::OkStatus();
  };
  const auto read_bound = [&](const char* keyword, const char* exclusive, bool lower,
                              std::optional<DecimalNumber>* bound, bool* excluded) -> absl::Status {
    FM_RETURN_IF_ERROR(read(keyword, bound));
    if (!schema.contains(exclusive)) return absl::OkStatus();
    if (schema[exclusive].is_boolean()) {  // draft 4
      *excluded = schema[exclusive].get<bool>();
      return absl::OkStatus();
    }
    std::optional<DecimalNumber> other;
    FM_RETURN_IF_ERROR(read(exclusive, &other));
    const bool inclusive_is_narrower = *bound && (lower ? schema[keyword] > schema[exclusive]
                                                        : schema[keyword] < schema[exclusive]);
    if (inclusive_is_narrower) return absl::OkStatus();
    *bound = other;
    *excluded = true;
    return absl::OkStatus();
  };
  FM_RETURN_IF_ERROR(
      read_bound("minimum", "exclusiveMinimum", true, &bounds.min, &bounds.min_excluded));
  FM_RETURN_IF_ERROR(
      read_bound("maximum", "exclusiveMaximum", false, &bounds.max, &bounds.max_excluded));
  FM_RETURN_IF_ERROR(read("multipleOf", &bounds.multiple_of));
  if (bounds.multiple_of && (bounds.multiple_of->negative || bounds.multiple_of->is_zero())) {
    return SchemaError(path, "multipleOf", "must be larger than zero");
  }
  absl::StatusOr<Grammar::Expr> form = NumberForm(bounds, &grammar_);
  if (!form.ok()) return SchemaError(path, "multipleOf", Message(form.status()));
  return form;
}

}  // namespace folkmoot
