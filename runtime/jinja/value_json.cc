// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "runtime/jinja/value_text.h"
#include "runtime/tokenizer/utf8.h"

namespace folkmoot::jinja {
namespace {

class JsonWriter {
 public:
  JsonWriter(const JsonOptions& options, Budget* budget) : options_(options), budget_(budget) {}

  absl::StatusOr<std::string> Run(const Value& value) {
    FM_RETURN_IF_ERROR(Write(value, 0));
    FM_RETURN_IF_ERROR(budget_->TextBytes(out_.size()));
    return std::move(out_);
  }

 private:
  absl::Status Write(const Value& value, size_t level) {
    FM_RETURN_IF_ERROR(budget_->Steps(1));
    switch (value.kind()) {
      case Kind::kNone:
        out_ += "null";
        return absl::OkStatus();
      case Kind::kBool:
        out_ += value.as_bool() ? "true" : "false";
        return absl::OkStatus();
      case Kind::kInt:
        out_ += fmt::format_int(value.as_int()).str();
        return absl::OkStatus();
      case Kind::kFloat:
        out_ += value.large_int() ? FormatNumber(value) : Float(value.as_double());
        return absl::OkStatus();
      case Kind::kString:
        FM_RETURN_IF_ERROR(budget_->TextBytes(out_.size() / 16 + value.view().size()));
        WriteString(value.view());
        return absl::OkStatus();
      case Kind::kSequence:
        if (value.IsSequence(SequenceType::kList) || value.IsSequence(SequenceType::kTuple)) {
          return WriteList(value.sequence().items, level);
        }
        break;
      case Kind::kDict:
        return WriteDict(value.dict(), level);
      default:
        break;
    }
    return InvalidArgument("object of type {} is not JSON serializable", TypeName(value));
  }

  static std::string Float(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
    return FormatFloat(value);
  }

  void NewLine(size_t level) {
    if (!options_.indent) return;
    out_ += '\n';
    for (size_t i = 0; i < level; ++i) out_ += *options_.indent;
  }

  absl::Status WriteList(const std::vector<Value>& items, size_t level) {
    out_ += '[';
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_ += options_.item_separator;
      NewLine(level + 1);
      FM_RETURN_IF_ERROR(Write(items[i], level + 1));
    }
    if (!items.empty()) NewLine(level);
    out_ += ']';
    return absl::OkStatus();
  }

  // The text of a key, as json.dumps makes it.
  absl::StatusOr<std::string> Key(const Value& key) const {
    switch (key.kind()) {
      case Kind::kString:
        return key.text().bytes();
      case Kind::kBool:
        return key.as_bool() ? "true" : "false";
      case Kind::kNone:
        return "null";
      case Kind::kInt:
        return fmt::format_int(key.as_int()).str();
      case Kind::kFloat:
        return Float(key.as_double());
      default:
        return InvalidArgument("keys must be str, int, float, bool or None, not {}", TypeName(key));
    }
  }

  absl::Status WriteDict(const DictObject& dict, size_t level) {
    std::vector<const std::pair<Value, Value>*> items;
    for (const auto& item : dict.items) items.push_back(&item);
    if (options_.sort_keys) {
      absl::Status error;
      std::stable_sort(items.begin(), items.end(), [&](const auto* a, const auto* b) {
        const absl::StatusOr<int> order = Compare(a->first, b->first, budget_);
        if (!order.ok()) error = order.status();
        return order.ok() && *order < 0;
      });
      FM_RETURN_IF_ERROR(error);
    }
    out_ += '{';
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_ += options_.item_separator;
      NewLine(level + 1);
      FM_ASSIGN_OR_RETURN(const std::string key, Key(items[i]->first));
      WriteString(key);
      out_ += options_.key_separator;
      FM_RETURN_IF_ERROR(Write(items[i]->second, level + 1));
    }
    if (!items.empty()) NewLine(level);
    out_ += '}';
    return absl::OkStatus();
  }

  void WriteEscape(char32_t unit) {
    fmt::format_to(std::back_inserter(out_), "\\u{:04x}", static_cast<uint32_t>(unit));
  }

  void WriteString(std::string_view text) {
    out_ += '"';
    size_t done = 0;
    for (size_t at = 0; at < text.size();) {
      const char c = text[at];
      const bool plain = static_cast<uint8_t>(c) >= 0x20 && c != '"' && c != '\\' &&
                         (!options_.ensure_ascii || static_cast<uint8_t>(c) < 0x7F);
      if (plain) {
        ++at;
        continue;
      }
      out_.append(text, done, at - done);
      const Utf8Char character = ReadUtf8(text, at);
      WriteSpecial(character.code);
      at += character.length;
      done = at;
    }
    out_.append(text, done, text.size() - done);
    out_ += '"';
  }

  void WriteSpecial(char32_t code) {
    static constexpr std::string_view kPlain = "\"\\\n\r\t\f\b";
    static constexpr std::string_view kLetters = "\"\\nrtfb";
    const size_t found =
        code < 0x80 ? kPlain.find(static_cast<char>(code)) : std::string_view::npos;
    if (found != std::string_view::npos) {
      out_ += '\\';
      out_ += kLetters[found];
    } else if (code >= 0x10000) {
      WriteEscape(0xD800 + ((code - 0x10000) >> 10));
      WriteEscape(0xDC00 + ((code - 0x10000) & 0x3FF));
    } else {
      WriteEscape(code);
    }
  }

  const JsonOptions& options_;
  Budget* budget_;
  std::string out_;
};

}  // namespace

absl::StatusOr<std::string> ToJson(const Value& value, const JsonOptions& options, Budget* budget) {
  return JsonWriter(options, budget).Run(value);
}

}  // namespace folkmoot::jinja
