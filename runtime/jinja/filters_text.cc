// SPDX-License-Identifier: Apache-2.0
// Filters that make texts from texts.
#include <algorithm>

#include "runtime/jinja/filters.h"
#include "runtime/jinja/methods.h"
#include "runtime/jinja/operators.h"
#include "runtime/jinja/unicode_case.h"
#include "runtime/jinja/value_text.h"
#include "runtime/tokenizer/utf8.h"

namespace folkmoot::jinja {
namespace {

using Result = absl::StatusOr<Value>;

// The filters that are a method of str(value).
Result ByMethod(std::string_view method, const Value& value, const Arguments& arguments,
                Budget* budget) {
  FM_ASSIGN_OR_RETURN(const Value string, ToString(value, budget));
  return CallTextMethod(string, method, arguments, budget);
}
Result Trim(const Value& value, const Arguments& arguments, Budget* budget) {
  return ByMethod("strip", value, arguments, budget);
}
Result Upper(const Value& value, const Arguments& arguments, Budget* budget) {
  return ByMethod("upper", value, arguments, budget);
}
Result Lower(const Value& value, const Arguments& arguments, Budget* budget) {
  return ByMethod("lower", value, arguments, budget);
}
Result CapitalizeFilter(const Value& value, const Arguments& arguments, Budget* budget) {
  return ByMethod("capitalize", value, arguments, budget);
}

// Jinja's own: words begin after white space, '-', and opening brackets.
Result Title(const Value& value, const Arguments& /*arguments*/, Budget* budget) {
  FM_ASSIGN_OR_RETURN(const Text text, ToText(value, budget));
  FM_RETURN_IF_ERROR(budget->TextBytes(2 * text.size()));
  Text out;
  size_t hint = 0;
  bool in_word = false;
  for (size_t at = 0; at < text.size();) {
    const Utf8Char c = ReadUtf8(text.view(), at);
    const bool breaks = IsPythonSpace(c.code) || c.code == '-' || c.code == '(' || c.code == '{' ||
                        c.code == '[' || c.code == '<';
    AppendCased(text, at, c.length, in_word ? CaseChange::kLower : CaseChange::kUpper, &hint, &out);
    in_word = !breaks;
    at += c.length;
  }
  return Value::String(std::move(out));
}

Result Replace(const Value& value, const Arguments& arguments, Budget* budget) {
  FM_ASSIGN_OR_RETURN(const BoundArguments bound,
                      BoundArguments::Bind("replace", arguments, {"old", "new", "count"}, 2));
  FM_ASSIGN_OR_RETURN(const Text text, ToText(value, budget));
  FM_ASSIGN_OR_RETURN(const Text from, ToText(*bound.Get(0), budget));
  FM_ASSIGN_OR_RETURN(const Text to, ToText(*bound.Get(1), budget));
  const bool limited = bound.Has(2) && !bound.Get(2)->Is(Kind::kNone);
  int64_t count = -1;
  if (limited) {
    FM_ASSIGN_OR_RETURN(count, bound.Int(2, -1));
  }
  FM_ASSIGN_OR_RETURN(Text replaced, ReplaceText(text, from.view(), to, count, budget));
  return Value::String(std::move(replaced));
}

Result Indent(const Value& value, const Arguments& arguments, Budget* budget) {
  FM_ASSIGN_OR_RETURN(const BoundArguments bound,
                      BoundArguments::Bind("indent", arguments, {"width", "first", "blank"}));
  if (!value.Is(Kind::kString)) {
    return InvalidArgument("indent wants a string, not {}", TypeName(value));
  }
  Text indent;
  if (bound.Has(0) && bound.Get(0)->Is(Kind::kString)) {
    indent = bound.Get(0)->text();
  } else {
    FM_ASSIGN_OR_RETURN(const int64_t width, bound.Int(0, 4));
    if (width > 10000) return ResourceExhausted("indent: a width of {} is too large", width);
    indent = Text::Trusted(std::string(static_cast<size_t>(std::max<int64_t>(width, 0)), ' '));
  }
  const bool blank = bound.Truth(2, false);
  FM_RETURN_IF_ERROR(budget->TextBytes(value.view().size()));
  Text source = value.text();
  source.Append("\n", true);  // so that a line end at the very end opens an empty line
  const std::vector<Text> lines = SplitLines(source);
  Text out;
  if (bound.Truth(1, false)) out.Append(indent);
  for (size_t i = 0; i < lines.size(); ++i) {
    FM_RETURN_IF_ERROR(budget->TextBytes(lines[i].size() + indent.size() + 1));
    if (i > 0) out.Append("\n", true);
    if (i > 0 && (blank || !lines[i].empty())) out.Append(indent);
    out.Append(lines[i]);
    FM_RETURN_IF_ERROR(budget->CheckText(out.size()));
  }
  return Value::String(std::move(out), value.is_markup());
}

Result Format(const Value& value, const Arguments& arguments, Budget* budget) {
  if (!arguments.named.empty()) {
    if (!arguments.positional.empty()) {
      return InvalidArgument("format: arguments by position and by name cannot be mixed");
    }
    std::vector<std::pair<Value, Value>> items;
    for (const auto& [name, item] : arguments.named) {
      items.emplace_back(Value::String(Text::Trusted(name)), item);
    }
    FM_ASSIGN_OR_RETURN(const Value dict, Value::Dict(std::move(items)));
    FM_ASSIGN_OR_RETURN(const Value string, ToString(value, budget));
    return PercentFormat(string, dict, budget);
  }
  FM_ASSIGN_OR_RETURN(const Value string, ToString(value, budget));
  FM_ASSIGN_OR_RETURN(const Value tuple,
                      Value::Sequence(SequenceType::kTuple, arguments.positional));
  return PercentFormat(string, tuple, budget);
}

Result Center(const Value& value, const Arguments& arguments, Budget* budget) {
  FM_ASSIGN_OR_RETURN(const BoundArguments bound,
                      BoundArguments::Bind("center", arguments, {"width"}));
  Arguments width;
  width.positional.push_back(bound.Has(0) ? *bound.Get(0) : Value::Int(80));
  return ByMethod("center", value, width, budget);
}

// Jinja counts runs of word characters.
Result WordCount(const Value& value, const Arguments& /*arguments*/, Budget* budget) {
  FM_ASSIGN_OR_RETURN(const Text text, ToText(value, budget));
  FM_RETURN_IF_ERROR(budget->TextBytes(text.size()));
  int64_t words = 0;
  bool in_word = false;
  for (size_t at = 0; at < text.size();) {
    const Utf8Char c = ReadUtf8(text.view(), at);
    const bool part = IsLetter(c.code) || IsDecimal(c.code) || c.code == '_';
    if (part && !in_word) ++words;
    in_word = part;
    at += c.length;
  }
  return Value::Int(words);
}

Result Truncate(const Value& value, const Arguments& arguments, Budget* budget) {
  FM_ASSIGN_OR_RETURN(
      const BoundArguments bound,
      BoundArguments::Bind("truncate", arguments, {"length", "killwords", "end", "leeway"}));
  FM_ASSIGN_OR_RETURN(const int64_t most, bound.Int(0, 255));
  FM_ASSIGN_OR_RETURN(const Text end, bound.String(2, Text::Trusted("...")));
  FM_ASSIGN_OR_RETURN(const int64_t leeway, bound.Int(3, 5));
  FM_ASSIGN_OR_RETURN(const Text text, ToText(value, budget));
  FM_RETURN_IF_ERROR(budget->TextBytes(text.size()));
  FM_ASSIGN_OR_RETURN(const size_t length, Length(Value::String(text)));
  FM_ASSIGN_OR_RETURN(const size_t end_length, Length(Value::String(end)));
  if (static_cast<int64_t>(length) <= most + leeway) return Value::String(text);
  const int64_t keep = most - static_cast<int64_t>(end_length);
  if (keep < 0) return InvalidArgument("truncate: 'length' is less than the length of 'end'");
  size_t cut = 0;
  for (int64_t i = 0; i < keep; ++i) cut += ReadUtf8(text.view(), cut).length;
  if (!bound.Truth(1, false)) {
    const size_t space = text.view().substr(0, cut).rfind(' ');
    if (space != std::string_view::npos) cut = space;
  }
  Text out = text.Part(0, cut);
  out.Append(end);
  return Value::String(std::move(out));
}

Result Join(const Value& value, const Arguments& arguments, Budget* budget) {
  FM_ASSIGN_OR_RETURN(const BoundArguments bound,
                      BoundArguments::Bind("join", arguments, {"d", "attribute"}));
  Text separator;
  if (bound.Has(0)) {
    FM_ASSIGN_OR_RETURN(separator, ToText(*bound.Get(0), budget));
  }
  std::vector<Value> items;
  if (bound.Has(1) && !bound.Get(1)->Is(Kind::kNone)) {
    Arguments attribute;
    attribute.named.emplace_back("attribute", *bound.Get(1));
    FM_ASSIGN_OR_RETURN(const Value mapped, FindFilter("map")->function(value, attribute, budget));
    FM_ASSIGN_OR_RETURN(items, Items(mapped, budget));
  } else {
    FM_ASSIGN_OR_RETURN(items, Items(value, budget));
  }
  Text out;
  for (size_t i = 0; i < items.size(); ++i) {
    FM_ASSIGN_OR_RETURN(const Text item, ToText(items[i], budget));
    FM_RETURN_IF_ERROR(budget->TextBytes(item.size() + separator.size()));
    if (i > 0) out.Append(separator);
    out.Append(item);
    FM_RETURN_IF_ERROR(budget->CheckText(out.size()));
  }
  return Value::String(std::move(out));
}

constexpr FilterEntry kFilters[] = {
    {"capitalize", CapitalizeFilter},
    {"center", Center},
    {"format", Format},
    {"indent", Indent},
    {"join", Join},
    {"lower", Lower},
    {"replace", Replace},
    {"title", Title},
    {"trim", Trim},
    {"truncate", Truncate},
    {"upper", Upper},
    {"wordcount", WordCount},
};

}  // namespace

const FilterEntry* FindTextFilter(std::string_view name) {
  const auto found = std::find_if(std::begin(kFilters), std::end(kFilters),
                                  [name](const FilterEntry& entry) { return entry.name == name; });
  return found == std::end(kFilters) ? nullptr : found;
}

}  // namespace folkmoot::jinja
