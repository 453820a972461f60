// SPDX-License-Identifier: Apache-2.0
#include "runtime/jinja/value_text.h"

#include <algorithm>
#include <cmath>

#include "runtime/jinja/ast.h"
#include "runtime/jinja/unicode_case.h"
#include "runtime/tokenizer/utf8.h"

namespace folkmoot::jinja {
namespace {

void AppendHex(char32_t code, int digits, char letter, std::string* out) {
  fmt::format_to(std::back_inserter(*out), "\\{}{:0{}x}", letter, static_cast<uint32_t>(code),
                 digits);
}

void AppendStringRepr(std::string_view text, std::string* out) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const bool has_double = text.find('"') != std::string_view::npos;
  const char quote = has_single && !has_double ? '"' : '\'';
  *out += quote;
  for (size_t at = 0; at < text.size();) {
    const Utf8Char c = ReadUtf8(text, at);
    if (c.code == static_cast<char32_t>(quote) || c.code == '\\') {
      *out += '\\';
      *out += text[at];
    } else if (c.code == '\n') {
      *out += "\\n";
    } else if (c.code == '\r') {
      *out += "\\r";
    } else if (c.code == '\t') {
      *out += "\\t";
    } else if (IsPrintable(c.code)) {
      out->append(text, at, c.length);
    } else if (c.code < 0x100) {
      AppendHex(c.code, 2, 'x', out);
    } else if (c.code < 0x10000) {
      AppendHex(c.code, 4, 'u', out);
    } else {
      AppendHex(c.code, 8, 'U', out);
    }
    at += c.length;
  }
  *out += quote;
}

// Writes repr() of one value after the other into one string.
class ReprWriter {
 public:
  ReprWriter(Budget* budget, std::string* out) : budget_(budget), out_(out) {}

  absl::Status Write(const Value& value) {
    FM_RETURN_IF_ERROR(budget_->Steps(1));
    if (++depth_ > Value::kMaxNesting) return ResourceExhausted("repr() of a value without end");
    FM_RETURN_IF_ERROR(WriteOne(value));
    --depth_;
    return absl::OkStatus();
  }

 private:
  absl::Status WriteOne(const Value& value) {
    switch (value.kind()) {
      case Kind::kUndefined:
        *out_ += "Undefined";
        return absl::OkStatus();
      case Kind::kNone:
        *out_ += "None";
        return absl::OkStatus();
      case Kind::kBool:
        *out_ += value.as_bool() ? "True" : "False";
        return absl::OkStatus();
      case Kind::kInt:
      case Kind::kFloat:
        *out_ += FormatNumber(value);
        return absl::OkStatus();
      case Kind::kString:
        FM_RETURN_IF_ERROR(budget_->TextBytes(out_->size() / 16 + value.view().size()));
        if (value.is_markup()) *out_ += "Markup(";
        AppendStringRepr(value.view(), out_);
        if (value.is_markup()) *out_ += ")";
        return absl::OkStatus();
      case Kind::kSequence:
        return WriteSequence(value.sequence());
      case Kind::kDict:
        return WritePairs(value.dict());
      case Kind::kNamespace:
        return WriteNamespace(value.name_space());
      case Kind::kLoop:
        *out_ +=
            fmt::format("<LoopContext {}/{}>", value.loop().index + 1, value.loop().items->size());
        return absl::OkStatus();
      case Kind::kCallable:
        *out_ += value.callable().macro != nullptr
                     ? fmt::format("<Macro '{}'>", value.callable().macro->name)
                     : "<function>";
        return absl::OkStatus();
    }
    return absl::OkStatus();
  }

  absl::Status WriteItems(const std::vector<Value>& items) {
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) *out_ += ", ";
      FM_RETURN_IF_ERROR(Write(items[i]));
    }
    return absl::OkStatus();
  }

  absl::Status WriteSequence(const SequenceObject& sequence) {
    switch (sequence.type) {
      case SequenceType::kGenerator:
        *out_ += "<generator>";
        return absl::OkStatus();
      case SequenceType::kTuple:
        *out_ += '(';
        FM_RETURN_IF_ERROR(WriteItems(sequence.items));
        *out_ += sequence.items.size() == 1 ? ",)" : ")";
        return absl::OkStatus();
      case SequenceType::kRange: {
        const auto& items = sequence.items;
        const int64_t first = items.empty() ? 0 : items[0].as_int();
        const int64_t step = items.size() < 2 ? 1 : items[1].as_int() - first;
        const int64_t stop = items.empty() ? 0 : items.back().as_int() + (step > 0 ? 1 : -1);
        *out_ += step == 1 ? fmt::format("range({}, {})", first, stop)
                           : fmt::format("range({}, {}, {})", first, stop, step);
        return absl::OkStatus();
      }
      case SequenceType::kView:
      case SequenceType::kList:
        break;
    }
    const bool is_view = sequence.type == SequenceType::kView;
    if (is_view) *out_ += fmt::format("{}(", sequence.view_name);
    *out_ += '[';
    FM_RETURN_IF_ERROR(WriteItems(sequence.items));
    *out_ += is_view ? "])" : "]";
    return absl::OkStatus();
  }

  absl::Status WritePairs(const DictObject& dict) {
    *out_ += '{';
    for (size_t i = 0; i < dict.items.size(); ++i) {
      if (i > 0) *out_ += ", ";
      FM_RETURN_IF_ERROR(Write(dict.items[i].first));
      *out_ += ": ";
      FM_RETURN_IF_ERROR(Write(dict.items[i].second));
    }
    *out_ += '}';
    return absl::OkStatus();
  }

  absl::Status WriteNamespace(const NamespaceObject& object) {
    *out_ += "<Namespace {";
    for (size_t i = 0; i < object.attributes.size(); ++i) {
      if (i > 0) *out_ += ", ";
      AppendStringRepr(object.attributes[i].first, out_);
      *out_ += ": ";
      FM_RETURN_IF_ERROR(Write(object.attributes[i].second));
    }
    *out_ += "}>";
    return absl::OkStatus();
  }

  Budget* budget_;
  std::string* out_;
  int depth_ = 0;
};

}  // namespace

std::string FormatNumber(const Value& value) {
  if (value.Is(Kind::kInt)) return fmt::format_int(value.as_int()).str();
  const std::optional<uint64_t> large = value.large_int();
  return large ? fmt::format_int(*large).str() : FormatFloat(value.as_double());
}

std::string FormatFloat(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  std::string text = fmt::format("{}", value);  // the shortest digits that read back as `value`
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

absl::StatusOr<std::string> Repr(const Value& value, Budget* budget) {
  std::string out;
  FM_RETURN_IF_ERROR(ReprWriter(budget, &out).Write(value));
  FM_RETURN_IF_ERROR(budget->TextBytes(out.size()));
  return out;
}

absl::StatusOr<Text> ToText(const Value& value, Budget* budget) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return Text();
    case Kind::kString:
      return value.text();
    case Kind::kNone:
      return Text::Trusted("None");
    case Kind::kBool:
      return Text::Trusted(value.as_bool() ? "True" : "False");
    case Kind::kInt:
    case Kind::kFloat: {
      std::string digits = FormatNumber(value);
      return value.outside() ? Text::Untrusted(std::move(digits))
                             : Text::Trusted(std::move(digits));
    }
    default: {
      FM_ASSIGN_OR_RETURN(std::string repr, Repr(value, budget));
      return Text::Untrusted(std::move(repr));
    }
  }
}

absl::StatusOr<Value> ToString(const Value& value, Budget* budget) {
  if (value.Is(Kind::kString)) return value;
  FM_ASSIGN_OR_RETURN(Text text, ToText(value, budget));
  return Value::String(std::move(text));
}

Text EscapeHtml(const Value& string) {
  const Text& text = string.text();
  if (string.is_markup()) return text;
  Text out;
  for (size_t at = 0; at < text.size(); ++at) {
    size_t hint = 0;
    const char c = text.view()[at];
    const std::string_view entity = c == '&'    ? "&amp;"
                                    : c == '<'  ? "&lt;"
                                    : c == '>'  ? "&gt;"
                                    : c == '\'' ? "&#39;"
                                    : c == '"'  ? "&#34;"
                                                : "";
    if (entity.empty()) {
      out.AppendPart(text, at, at + 1);
    } else {
      out.Append(entity, text.IsTrusted(at, &hint));
    }
  }
  return out;
}

}  // namespace folkmoot::jinja
