// SPDX-License-Identifier: Apache-2.0
// Filters for values of any kind, and numbers.
#include "runtime/jinja/filters.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "runtime/jinja/access.h"
#include "runtime/jinja/methods.h"
#include "runtime/jinja/operators.h"
#include "runtime/jinja/unicode_case.h"
#include "runtime/jinja/value_text.h"

namespace folkmoot::jinja {
namespace {

using Result = absl::StatusOr<Value>;

Result Default(const Value& value, const Arguments& arguments, Budget* /*budget*/) {
  FM_ASSIGN_OR_RETURN(const BoundArguments bound,
                      BoundArguments::Bind("default", arguments, {"default_value", "boolean"}));
  const bool replaced = value.Is(Kind::kUndefined) || (bound.Truth(1, false) && !value.Truth());
  if (!replaced) return value;
  return bound.Has(0) ? *bound.Get(0) : Value::String(Text());
}

Result CountItems(const Value& value, const Arguments& arguments, Budget* budget) {
  FM_ASSIGN_OR_RETURN(const BoundArguments none, BoundArguments::Bind("length", arguments, {}));
  if (value.Is(Kind::kString)) FM_RETURN_IF_ERROR(budget->TextBytes(value.view().size()));
  FM_ASSIGN_OR_RETURN(const size_t length, Length(value));
  return Value::Int(static_cast<int64_t>(length));
}

Result MakeString(const Value& value, const Arguments& /*arguments*/, Budget* budget) {
  return ToString(value, budget);
}

Result Safe(const Value& value, const Arguments& /*arguments*/, Budget* budget) {
  FM_ASSIGN_OR_RETURN(Text text, ToText(value, budget));
  return Value::String(std::move(text), true);
}

Result Escape(const Value& value, const Arguments& /*arguments*/, Budget* budget) {
  FM_ASSIGN_OR_RETURN(const Value string, ToString(value, budget));
  FM_RETURN_IF_ERROR(budget->TextBytes(6 * string.view().size()));
  return Value::String(EscapeHtml(string), true);
}

Result TemplateJson(const Value& value, const Arguments& arguments, Budget* budget) {
  FM_ASSIGN_OR_RETURN(const BoundArguments bound,
                      BoundArguments::Bind("tojson", arguments,
                                           {"ensure_ascii", "indent", "separators", "sort_keys"}));
  JsonOptions options;
  options.ensure_ascii = bound.Truth(0, false);
  options.sort_keys = bound.Truth(3, false);
  if (bound.Has(1) && !bound.Get(1)->Is(Kind::kNone)) {
    options.item_separator = ",";
    if (bound.Get(1)->Is(Kind::kString)) {
      options.indent = bound.Get(1)->text().bytes();
    } else {
      FM_ASSIGN_OR_RETURN(const int64_t indent, bound.Int(1, 0));
      if (indent > 100) return ResourceExhausted("tojson: an indent of {} is too large", indent);
      options.indent = std::string(static_cast<size_t>(std::max<int64_t>(indent, 0)), ' ');
    }
  }
  if (bound.Has(2) && !bound.Get(2)->Is(Kind::kNone)) {
    FM_ASSIGN_OR_RETURN(const std::vector<Value> separators, Items(*bound.Get(2), budget));
    if (separators.size() != 2 || !separators[0].Is(Kind::kString) ||
        !separators[1].Is(Kind::kString)) {
      return InvalidArgument("tojson: 'separators' must be two strings");
    }
    options.item_separator = separators[0].text().bytes();
    options.key_separator = separators[1].text().bytes();
  }
  FM_ASSIGN_OR_RETURN(std::string json, ToJson(value, options, budget));
  return Value::String(Text::Untrusted(std::move(json)));
}

absl::Status NoConversion(const Value& value) {
  return InvalidArgument("{}", value.undefined_hint());
}

// Text of a number without white space and underscores between digits; empty when there is none.
std::string NumberText(const Value& string) {
  std::string text = StripText(string.text(), "", Side::kBoth).bytes();
  if (text.find("__") != std::string::npos || text.starts_with('_') || text.ends_with('_')) {
    return {};
  }
  std::erase(text, '_');
  return text;
}

bool ParseFloat(const std::string& text, double* number) {
  if (text.empty() || text.find_first_of("xXpP(") != std::string::npos) return false;
  char* end = nullptr;
  *number = std::strtod(text.c_str(), &end);
  return end == text.c_str() + text.size();
}

Result ToFloat(const Value& value, const Arguments& arguments, Budget* /*budget*/) {
  FM_ASSIGN_OR_RETURN(const BoundArguments bound,
                      BoundArguments::Bind("float", arguments, {"default"}));
  if (value.Is(Kind::kUndefined)) return NoConversion(value);
  if (value.is_number()) return Value::Float(value.as_double(), value.outside());
  double number = 0;
  if (value.Is(Kind::kString) && ParseFloat(NumberText(value), &number)) {
    return Value::Float(number, true);
  }
  return bound.Has(0) ? *bound.Get(0) : Value::Float(0.0);
}

Result ToInt(const Value& value, const Arguments& arguments, Budget* /*budget*/) {
  FM_ASSIGN_OR_RETURN(const BoundArguments bound,
                      BoundArguments::Bind("int", arguments, {"default", "base"}));
  FM_ASSIGN_OR_RETURN(const int64_t base, bound.Int(1, 10));
  if (base < 2 || base > 36) return InvalidArgument("int: base must be from 2 to 36");
  const Value otherwise = bound.Has(0) ? *bound.Get(0) : Value::Int(0);
  if (value.Is(Kind::kUndefined)) return NoConversion(value);
  if (value.is_integer()) return Value::Int(value.as_int(), value.outside());
  double real = 0;
  if (value.Is(Kind::kFloat)) {
    real = value.as_double();
  } else if (value.Is(Kind::kString)) {
    std::string text = NumberText(value);
    int64_t number = 0;
    const size_t plus = text.starts_with('+') ? 1 : 0;
    const auto [end, error] = std::from_chars(text.data() + plus, text.data() + text.size(), number,
                                              static_cast<int>(base));
    if (error == std::errc() && end == text.data() + text.size()) return Value::Int(number, true);
    if (!ParseFloat(text, &real)) return otherwise;
  } else {
    return otherwise;
  }
  if (!(std::fabs(real) < 9e18)) return otherwise;
  return Value::Int(static_cast<int64_t>(real), true);
}

Result Absolute(const Value& value, const Arguments& /*arguments*/, Budget* /*budget*/) {
  if (!value.is_number()) return Negate(value);  // gives the error
  if (value.as_double() < 0) return Negate(value);
  return value.Is(Kind::kBool) ? Value::Int(value.as_int()) : value;
}

Result Round(const Value& value, const Arguments& arguments, Budget* /*budget*/) {
  FM_ASSIGN_OR_RETURN(const BoundArguments bound,
                      BoundArguments::Bind("round", arguments, {"precision", "method"}));
  FM_ASSIGN_OR_RETURN(const int64_t precision, bound.Int(0, 0));
  FM_ASSIGN_OR_RETURN(const Text method, bound.String(1, Text::Trusted("common")));
  if (!value.is_number()) {
    return InvalidArgument("round wants a number, not {}", TypeName(value));
  }
  if (precision < -300 || precision > 300) return InvalidArgument("round: bad precision");
  const double number = value.as_double();
  if (method.view() == "common") {
    if (value.is_integer() && precision >= 0) return value;
    if (precision >= 0) {  // correctly rounded decimals, ties to even digits as printed
      const std::string digits = fmt::format("{:.{}f}", number, precision);
      return Value::Float(std::strtod(digits.c_str(), nullptr), value.outside());
    }
  } else if (method.view() != "ceil" && method.view() != "floor") {
    return InvalidArgument("round: method must be common, ceil or floor");
  }
  const double scale = std::pow(10.0, static_cast<double>(precision));
  const double scaled = number * scale;
  const double rounded = method.view() == "ceil"    ? std::ceil(scaled)
                         : method.view() == "floor" ? std::floor(scaled)
                                                    : std::nearbyint(scaled);
  if (value.is_integer() && method.view() == "common") {
    return Value::Int(static_cast<int64_t>(rounded / scale), value.outside());
  }
  return Value::Float(rounded / scale, value.outside());
}

// |attr: the attribute, never an item.
Result Attribute(const Value& value, const Arguments& arguments, Budget* budget) {
  FM_ASSIGN_OR_RETURN(const BoundArguments bound,
                      BoundArguments::Bind("attr", arguments, {"name"}, 1));
  FM_ASSIGN_OR_RETURN(const Text name, bound.String(0, Text()));
  if (value.Is(Kind::kDict) && !HasMethod(value, name.view())) {
    return Value::Undefined(fmt::format("'dict object' has no attribute '{}'", name.view()));
  }
  return GetAttribute(value, name.view(), budget);
}

constexpr FilterEntry kFilters[] = {
    {"abs", Absolute},      {"attr", Attribute},      {"count", CountItems},
    {"d", Default},         {"default", Default},     {"e", Escape},
    {"escape", Escape},     {"float", ToFloat},       {"int", ToInt},
    {"length", CountItems}, {"round", Round},         {"safe", Safe},
    {"string", MakeString}, {"tojson", TemplateJson},
};

}  // namespace

const FilterEntry* FindFilter(std::string_view name) {
  const auto found = std::find_if(std::begin(kFilters), std::end(kFilters),
                                  [name](const FilterEntry& entry) { return entry.name == name; });
  if (found != std::end(kFilters)) return found;
  if (const FilterEntry* entry = FindTextFilter(name)) return entry;
  return FindSequenceFilter(name);
}

}  // namespace folkmoot::jinja
