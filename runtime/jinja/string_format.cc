// SPDX-License-Identifier: Apache-2.0
// "%s" % x and "{}".format(x), in the parts that templates use. The format's own text keeps its
// provenance, and so does each string that it takes in.
#include <algorithm>
#include <cmath>
#include <optional>

#include "runtime/jinja/access.h"
#include "runtime/jinja/methods.h"
#include "runtime/jinja/operators.h"
#include "runtime/jinja/value_text.h"
#include "runtime/tokenizer/utf8.h"

namespace folkmoot::jinja {
namespace {

// Fields wider than this are refused.
constexpr size_t kMaxWidth = 10000;

struct FormatSpec {
  std::string fill = " ";
  char align = '\0';  // '<', '>', '^', '='; 0: by type
  char sign = '-';
  bool comma = false;
  size_t width = 0;
  std::optional<size_t> precision;
  char type = '\0';
};

absl::StatusOr<size_t> ReadSize(std::string_view text, size_t* at) {
  size_t size = 0;
  for (; *at < text.size() && text[*at] >= '0' && text[*at] <= '9'; ++*at) {
    size = size * 10 + static_cast<size_t>(text[*at] - '0');
    if (size > kMaxWidth) return ResourceExhausted("a format wants a field above {}", kMaxWidth);
  }
  return size;
}

bool IsAlign(char c) { return c == '<' || c == '>' || c == '^' || c == '='; }

absl::StatusOr<FormatSpec> ParseSpec(std::string_view text) {
  FormatSpec spec;
  size_t at = 0;
  if (!text.empty()) {
    const size_t first = ReadUtf8(text, 0).length;
    if (first < text.size() && IsAlign(text[first])) {
      spec.fill = text.substr(0, first);
      spec.align = text[first];
      at = first + 1;
    } else if (IsAlign(text[0])) {
      spec.align = text[0];
      at = 1;
    }
  }
  if (at < text.size() && (text[at] == '+' || text[at] == '-' || text[at] == ' ')) {
    spec.sign = text[at++];
  }
  if (at < text.size() && text[at] == '0') {
    if (spec.align == '\0') {
      spec.fill = "0";
      spec.align = '=';
    }
    ++at;
  }
  FM_ASSIGN_OR_RETURN(spec.width, ReadSize(text, &at));
  if (at < text.size() && text[at] == ',') {
    spec.comma = true;
    ++at;
  }
  if (at < text.size() && text[at] == '.') {
    ++at;
    FM_ASSIGN_OR_RETURN(const size_t precision, ReadSize(text, &at));
    spec.precision = precision;
  }
  if (at < text.size()) spec.type = text[at++];
  if (at != text.size()) return InvalidArgument("invalid format specifier '{}'", text);
  return spec;
}

void AddCommas(std::string* digits) {
  const size_t dot = std::min(digits->find_first_not_of("0123456789"), digits->size());
  for (size_t at = dot; at > 3;) {
    at -= 3;
    digits->insert(at, ",");
  }
}

// A number without its sign.
absl::StatusOr<std::string> Magnitude(const Value& value, const FormatSpec& spec) {
  const bool integer = value.is_integer();
  switch (spec.type) {
    case 'd':
    case 'x':
    case 'X':
    case 'o':
    case 'b': {
      if (!integer) break;
      const uint64_t number = value.as_int() < 0 ? ~static_cast<uint64_t>(value.as_int()) + 1
                                                 : static_cast<uint64_t>(value.as_int());
      if (spec.type == 'x') return fmt::format("{:x}", number);
      if (spec.type == 'X') return fmt::format("{:X}", number);
      if (spec.type == 'o') return fmt::format("{:o}", number);
      if (spec.type == 'b') return fmt::format("{:b}", number);
      return fmt::format("{}", number);
    }
    case 'f':
    case 'F':
      return fmt::format("{:.{}f}", std::fabs(value.as_double()), spec.precision.value_or(6));
    case 'e':
      return fmt::format("{:.{}e}", std::fabs(value.as_double()), spec.precision.value_or(6));
    case 'g':
      return fmt::format("{:.{}g}", std::fabs(value.as_double()), spec.precision.value_or(6));
    case '%':
      return fmt::format("{:.{}f}%", std::fabs(value.as_double() * 100),
                         spec.precision.value_or(6));
    case '\0':
      if (spec.precision) {
        return fmt::format("{:.{}g}", std::fabs(value.as_double()), *spec.precision);
      }
      return FormatFloat(std::fabs(value.as_double()));
    default:
      break;
  }
  return InvalidArgument("unknown format code '{}' for an object of type '{}'", spec.type,
                         TypeName(value));
}

absl::StatusOr<Text> FormatNumber(const Value& value, FormatSpec spec, std::string* sign) {
  if (spec.type == '\0' && value.is_integer()) spec.type = 'd';
  FM_ASSIGN_OR_RETURN(std::string digits, Magnitude(value, spec));
  if (spec.comma) AddCommas(&digits);
  const bool negative = value.is_integer() ? value.as_int() < 0 : std::signbit(value.as_double());
  *sign = negative ? "-" : spec.sign == '-' ? "" : std::string(1, spec.sign);
  return value.outside() ? Text::Untrusted(std::move(digits)) : Text::Trusted(std::move(digits));
}

// Puts `body` into a field of the wanted width.
Text Padded(const Text& body, const std::string& sign, const FormatSpec& spec, char align) {
  const size_t length = *Length(Value::String(body)) + sign.size();
  const size_t missing = spec.width > length ? spec.width - length : 0;
  const size_t left = align == '<' ? 0 : align == '^' ? missing / 2 : missing;
  Text out;
  const auto fill = [&](size_t count) {
    for (size_t i = 0; i < count; ++i) out.Append(spec.fill, true);
  };
  if (align == '=') out.Append(sign, true);
  fill(left);
  if (align != '=') out.Append(sign, true);
  out.Append(body);
  fill(missing - left);
  return out;
}

absl::StatusOr<Text> FormatValue(const Value& value, const FormatSpec& spec, Budget* budget) {
  FM_RETURN_IF_ERROR(budget->TextBytes(spec.width));
  const bool plain_bool = value.Is(Kind::kBool) && spec.type == '\0';
  if (value.is_number() && !plain_bool) {
    std::string sign;
    FM_ASSIGN_OR_RETURN(const Text digits, FormatNumber(value, spec, &sign));
    return Padded(digits, sign, spec, spec.align == '\0' ? '>' : spec.align);
  }
  if (spec.type != '\0' && spec.type != 's') {
    return InvalidArgument("unknown format code '{}' for an object of type '{}'", spec.type,
                           TypeName(value));
  }
  FM_ASSIGN_OR_RETURN(Text text, ToText(value, budget));
  FM_RETURN_IF_ERROR(budget->TextBytes(text.size()));
  if (spec.precision) {
    const Value stop = Value::Int(static_cast<int64_t>(*spec.precision));
    FM_ASSIGN_OR_RETURN(const Value part, Slice(Value::String(std::move(text)), Value::None(), stop,
                                                Value::None(), budget));
    text = part.text();
  }
  return Padded(text, "", spec, spec.align == '\0' ? '<' : spec.align);
}

absl::StatusOr<Text> EscapedIf(bool markup, const Value& value, Budget* budget) {
  FM_ASSIGN_OR_RETURN(const Value string, ToString(value, budget));
  return markup ? EscapeHtml(string) : string.text();
}

// One conversion of a %-format: after the '%'.
struct PercentField {
  std::string key;
  bool has_key = false;
  FormatSpec spec;
};

absl::StatusOr<PercentField> ParsePercent(std::string_view text, size_t* at) {
  PercentField field;
  if (*at < text.size() && text[*at] == '(') {
    const size_t close = text.find(')', *at);
    if (close == std::string_view::npos) return InvalidArgument("incomplete format key");
    field.key = text.substr(*at + 1, close - *at - 1);
    field.has_key = true;
    *at = close + 1;
  }
  field.spec.align = '>';
  for (; *at < text.size(); ++*at) {
    const char flag = text[*at];
    if (flag == '-') {
      field.spec.align = '<';
    } else if (flag == '0' && field.spec.align != '<') {
      field.spec.align = '=';
      field.spec.fill = "0";
    } else if (flag == '+' || flag == ' ') {
      field.spec.sign = flag;
    } else {
      break;
    }
  }
  FM_ASSIGN_OR_RETURN(field.spec.width, ReadSize(text, at));
  if (*at < text.size() && text[*at] == '.') {
    ++*at;
    FM_ASSIGN_OR_RETURN(const size_t precision, ReadSize(text, at));
    field.spec.precision = precision;
  }
  if (*at == text.size()) return InvalidArgument("incomplete format");
  field.spec.type = text[(*at)++];
  return field;
}

absl::StatusOr<Text> PercentValue(const Value& value, FormatSpec spec, bool markup,
                                  Budget* budget) {
  if (spec.type == 's' || spec.type == 'r') {
    Text text;
    if (spec.type == 's') {
      FM_ASSIGN_OR_RETURN(text, EscapedIf(markup, value, budget));
    } else {
      FM_ASSIGN_OR_RETURN(std::string repr, Repr(value, budget));
      text = Text::Untrusted(std::move(repr));
    }
    spec.type = '\0';
    if (spec.align == '=') {
      spec.align = '>';
      spec.fill = " ";
    }
    return FormatValue(Value::String(std::move(text)), spec, budget);
  }
  if (!value.is_number()) {
    return InvalidArgument("%{} format: a number is required, not {}", spec.type, TypeName(value));
  }
  const bool integer = spec.type == 'd' || spec.type == 'i' || spec.type == 'u';
  if (integer) spec.type = 'd';
  if (integer && value.Is(Kind::kFloat)) {
    if (!(std::fabs(value.as_double()) < 9e18)) return InvalidArgument("a number is too large");
    return FormatValue(Value::Int(static_cast<int64_t>(value.as_double()), value.outside()), spec,
                       budget);
  }
  if (value.Is(Kind::kBool)) return FormatValue(Value::Int(value.as_int()), spec, budget);
  return FormatValue(value, spec, budget);
}

// What follows the name of a replacement field: .attribute and [item].
absl::StatusOr<Value> FieldPath(Value value, std::string_view path, Budget* budget) {
  while (!path.empty()) {
    FM_RETURN_IF_ERROR(budget->Steps(1));
    const bool item = path[0] == '[';
    const size_t end = item ? path.find(']') : std::min(path.find_first_of(".[", 1), path.size());
    if (end == std::string_view::npos || (!item && path[0] != '.')) {
      return InvalidArgument("invalid replacement field");
    }
    const std::string name(path.substr(1, end - 1));
    if (item && !name.empty() && name.find_first_not_of("0123456789") == std::string::npos &&
        name.size() < 10) {
      FM_ASSIGN_OR_RETURN(value, GetItem(value, Value::Int(std::stoi(name)), budget));
    } else if (item) {
      FM_ASSIGN_OR_RETURN(value, GetItem(value, Value::String(Text::Trusted(name)), budget));
    } else {
      FM_ASSIGN_OR_RETURN(value, GetAttribute(value, name, budget));
    }
    path.remove_prefix(item ? end + 1 : end);
  }
  return value;
}

absl::StatusOr<Value> FieldValue(std::string_view field, const Arguments& arguments, size_t* next,
                                 Budget* budget) {
  const size_t end = std::min(field.find_first_of(".["), field.size());
  const std::string_view name = field.substr(0, end);
  const bool numeric =
      name.find_first_not_of("0123456789") == std::string_view::npos && name.size() < 10;
  if (numeric) {
    const size_t index = name.empty() ? (*next)++ : std::stoul(std::string(name));
    if (index >= arguments.positional.size()) {
      return InvalidArgument("replacement index {} out of range for positional arguments", index);
    }
    return FieldPath(arguments.positional[index], field.substr(end), budget);
  }
  for (const auto& [key, value] : arguments.named) {
    if (key == name) return FieldPath(value, field.substr(end), budget);
  }
  return InvalidArgument("format() got no argument '{}'", name);
}

// One "{...}" of a format, without the braces.
absl::StatusOr<Text> BraceField(std::string_view field, const Value& format,
                                const Arguments& arguments, size_t* next, Budget* budget) {
  const size_t colon = std::min(field.find(':'), field.size());
  std::string_view name = field.substr(0, colon);
  const std::string_view spec_text = colon < field.size() ? field.substr(colon + 1) : "";
  char conversion = '\0';
  if (const size_t bang = name.find('!'); bang != std::string_view::npos) {
    if (bang + 2 != name.size()) return InvalidArgument("invalid conversion in a format");
    conversion = name.back();
    name = name.substr(0, bang);
  }
  FM_ASSIGN_OR_RETURN(Value value, FieldValue(name, arguments, next, budget));
  FM_ASSIGN_OR_RETURN(const FormatSpec spec, ParseSpec(spec_text));
  if (conversion == 'r' || conversion == 'a') {
    FM_ASSIGN_OR_RETURN(std::string repr, Repr(value, budget));
    value = Value::String(Text::Untrusted(std::move(repr)));
  } else if (conversion == 's') {
    FM_ASSIGN_OR_RETURN(value, ToString(value, budget));
  } else if (conversion != '\0') {
    return InvalidArgument("unknown conversion '{}' in a format", conversion);
  }
  FM_ASSIGN_OR_RETURN(Text text, FormatValue(value, spec, budget));
  return format.is_markup() ? EscapeHtml(Value::String(std::move(text), value.is_markup())) : text;
}

}  // namespace

absl::StatusOr<Value> PercentFormat(const Value& format, const Value& arguments, Budget* budget) {
  const Text& text = format.text();
  const std::string_view view = text.view();
  FM_RETURN_IF_ERROR(budget->TextBytes(view.size()));
  std::vector<Value> values = {arguments};
  if (arguments.IsSequence(SequenceType::kTuple)) values = arguments.sequence().items;
  size_t next = 0;
  Text out;
  for (size_t at = 0; at < view.size();) {
    const size_t percent = std::min(view.find('%', at), view.size());
    out.AppendPart(text, at, percent);
    if (percent == view.size()) break;
    at = percent + 1;
    FM_ASSIGN_OR_RETURN(const PercentField field, ParsePercent(view, &at));
    if (field.spec.type == '%') {
      out.AppendPart(text, at - 1, at);
      continue;
    }
    Value value;
    if (field.has_key) {
      if (!arguments.Is(Kind::kDict)) return InvalidArgument("format requires a mapping");
      const Value* found = arguments.dict().Find(field.key);
      if (found == nullptr) return InvalidArgument("the format's key '{}' is missing", field.key);
      value = *found;
      next = values.size();
    } else {
      if (next >= values.size()) return InvalidArgument("not enough arguments for format string");
      value = values[next++];
    }
    FM_ASSIGN_OR_RETURN(const Text part,
                        PercentValue(value, field.spec, format.is_markup(), budget));
    FM_RETURN_IF_ERROR(budget->CheckText(out.size() + part.size()));
    out.Append(part);
  }
  if (next < values.size() && !arguments.Is(Kind::kDict)) {
    return InvalidArgument("not all arguments converted during string formatting");
  }
  return Value::String(std::move(out), format.is_markup());
}

absl::StatusOr<Value> BraceFormat(const Value& format, const Arguments& arguments, Budget* budget) {
  const Text& text = format.text();
  const std::string_view view = text.view();
  FM_RETURN_IF_ERROR(budget->TextBytes(view.size()));
  size_t next = 0;
  Text out;
  for (size_t at = 0; at < view.size();) {
    const size_t brace = std::min(view.find_first_of("{}", at), view.size());
    out.AppendPart(text, at, brace);
    if (brace == view.size()) break;
    if (brace + 1 < view.size() && view[brace + 1] == view[brace]) {
      out.AppendPart(text, brace, brace + 1);
      at = brace + 2;
      continue;
    }
    const size_t close = view.find('}', brace);
    if (view[brace] == '}' || close == std::string_view::npos) {
      return InvalidArgument("a single '{}' in a format string", view[brace]);
    }
    const std::string_view field = view.substr(brace + 1, close - brace - 1);
    if (field.find('{') != std::string_view::npos) {
      return InvalidArgument("nested replacement fields are not supported");
    }
    FM_ASSIGN_OR_RETURN(const Text part, BraceField(field, format, arguments, &next, budget));
    FM_RETURN_IF_ERROR(budget->CheckText(out.size() + part.size()));
    out.Append(part);
    at = close + 1;
  }
  return Value::String(std::move(out), format.is_markup());
}

}  // namespace folkmoot::jinja
