// SPDX-License-Identifier: Apache-2.0
#include "runtime/jinja/lexer.h"

#include <algorithm>
#include <array>
#include <optional>

#include "runtime/jinja/unicode_case.h"
#include "runtime/tokenizer/utf8.h"

namespace folkmoot::jinja {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsNameStart(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         (static_cast<uint8_t>(c) & 0x80) != 0;
}
bool IsNamePart(char c) { return IsNameStart(c) || IsDigit(c); }

std::string NormalizeNewlines(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      text += source[i];
      continue;
    }
    text += '\n';
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

class TemplateLexer {
 public:
  explicit TemplateLexer(std::string_view source) : text_(NormalizeNewlines(source)) {}

  absl::StatusOr<std::vector<TemplateToken>> Run() {
    while (true) {
      const size_t open = FindTag(at_);
      if (open == std::string::npos) break;
      FM_RETURN_IF_ERROR(Tag(open));
    }
    AddData(at_, text_.size());
    at_ = text_.size();
    Add(TokenType::kEnd, "");
    return std::move(tokens_);
  }

 private:
  template <typename... Args>
  absl::Status Error(fmt::format_string<Args...> format, Args&&... args) const {
    return InvalidArgument("line {}: {}", line_, fmt::format(format, std::forward<Args>(args)...));
  }

  char At(size_t position) const { return position < text_.size() ? text_[position] : '\0'; }
  bool Has(size_t position, std::string_view word) const {
    return std::string_view(text_).substr(std::min(position, text_.size())).starts_with(word);
  }
  size_t SkipSpace(size_t position) const { return SkipSpaces(text_, position); }

  void Add(TokenType type, std::string text) { tokens_.push_back({type, std::move(text), line_}); }
  void AddData(size_t begin, size_t end) {
    if (begin < end) Add(TokenType::kData, text_.substr(begin, end - begin));
  }
  void MoveTo(size_t position) {
    line_ +=
        static_cast<int>(std::count(text_.begin() + static_cast<std::ptrdiff_t>(at_),
                                    text_.begin() + static_cast<std::ptrdiff_t>(position), '\n'));
    at_ = position;
  }

  // Jinja forgives a comment or raw block that opens at the very end.
  absl::Status MoveToEnd() {
    MoveTo(text_.size());
    return absl::OkStatus();
  }

  size_t FindTag(size_t from) const {
    for (size_t at = text_.find('{', from); at != std::string::npos; at = text_.find('{', at + 1)) {
      const char next = At(at + 1);
      if (next == '%' || next == '{' || next == '#') return at;
    }
    return std::string::npos;
  }

  // Where the text before a tag ends that opens at `open` with `sign` ('-', '+' or another).
  size_t DataEnd(size_t begin, size_t open, char sign, bool is_variable) const {
    if (sign == '-') return TrimSpacesRight(text_, begin, open);
    if (sign == '+' || is_variable) return open;
    // lstrip_blocks: white space alone between the start of the line and the tag goes.
    const size_t newline = std::string_view(text_).substr(begin, open - begin).rfind('\n');
    const bool in_data = newline != std::string_view::npos;
    const size_t line = in_data ? begin + newline + 1 : begin;
    const bool starts_line = in_data || begin == 0 || text_[begin - 1] == '\n';
    return starts_line && SkipSpace(line) >= open ? line : open;
  }

  // After the end of a block or comment tag whose "%}" or "#}" is at `close`.
  size_t AfterTrimmedEnd(size_t close, char sign) const {
    const size_t after = close + 2;
    if (sign == '-') return SkipSpace(after);
    return sign != '+' && At(after) == '\n' ? after + 1 : after;
  }

  absl::Status Tag(size_t open) {
    const char kind = At(open + 1);
    const char sign = At(open + 2);
    const size_t inner = open + 2 + (sign == '-' || sign == '+' ? 1 : 0);
    AddData(at_, DataEnd(at_, open, sign, kind == '{'));
    MoveTo(open);
    if (kind == '#') return Comment(inner);
    if (kind == '%') {
      if (const auto body = KeywordTag(inner, "raw", false)) return Raw(*body);
    }
    Add(kind == '{' ? TokenType::kVariableBegin : TokenType::kBlockBegin, "");
    MoveTo(inner);
    return Inside(kind == '{');
  }

  absl::Status Comment(size_t inner) {
    const size_t close = text_.find("#}", inner);
    if (close == std::string::npos && inner == text_.size()) return MoveToEnd();
    if (close == std::string::npos) return Error("a comment is not closed; '#}}' is missing");
    MoveTo(AfterTrimmedEnd(close, close > inner ? text_[close - 1] : '\0'));
    return absl::OkStatus();
  }

  // Whether `{% <word> %}` continues at `position`; where it ends.
  std::optional<size_t> KeywordTag(size_t position, std::string_view word, bool trims) const {
    size_t at = SkipSpace(position);
    if (!Has(at, word)) return std::nullopt;
    at = SkipSpace(at + word.size());
    if (Has(at, "-%}")) return SkipSpace(at + 3);
    if (trims && Has(at, "+%}")) return at + 3;
    if (!Has(at, "%}")) return std::nullopt;
    return trims ? AfterTrimmedEnd(at, '\0') : at + 2;
  }

  absl::Status Raw(size_t body) {
    if (body == text_.size()) return MoveToEnd();
    MoveTo(body);
    for (size_t open = text_.find("{%", body); open != std::string::npos;
         open = text_.find("{%", open + 1)) {
      const char sign = At(open + 2);
      const size_t inner = open + 2 + (sign == '-' || sign == '+' ? 1 : 0);
      if (const auto end = KeywordTag(inner, "endraw", true)) {
        AddData(body, DataEnd(body, open, sign, false));
        MoveTo(*end);
        return absl::OkStatus();
      }
    }
    return Error("'raw' is not closed; 'endraw' is missing");
  }

  // The tokens up to the end of the tag, or of the text.
  absl::Status Inside(bool is_variable) {
    brackets_.clear();
    while (at_ < text_.size()) {
      if (brackets_.empty()) {
        if (const auto end = TagEnd(is_variable)) {
          Add(is_variable ? TokenType::kVariableEnd : TokenType::kBlockEnd, "");
          MoveTo(*end);
          return absl::OkStatus();
        }
      }
      const size_t after_space = SkipSpace(at_);
      if (after_space > at_) {
        MoveTo(after_space);
        continue;
      }
      const char c = text_[at_];
      if (IsDigit(c)) {
        FM_RETURN_IF_ERROR(Number());
      } else if (IsNameStart(c)) {
        size_t end = at_;
        while (IsNamePart(At(end))) ++end;
        Add(TokenType::kName, text_.substr(at_, end - at_));
        MoveTo(end);
      } else if (c == '"' || c == '\'') {
        FM_RETURN_IF_ERROR(String(c));
      } else {
        FM_RETURN_IF_ERROR(Operator());
      }
    }
    return absl::OkStatus();
  }

  std::optional<size_t> TagEnd(bool is_variable) const {
    const bool minus = text_[at_] == '-';
    if (is_variable) {
      if (minus && Has(at_ + 1, "}}")) return SkipSpace(at_ + 3);
      if (Has(at_, "}}")) return at_ + 2;
      return std::nullopt;
    }
    if ((minus || text_[at_] == '+') && Has(at_ + 1, "%}")) {
      return AfterTrimmedEnd(at_ + 1, text_[at_]);
    }
    if (Has(at_, "%}")) return AfterTrimmedEnd(at_, '\0');
    return std::nullopt;
  }

  // Digits with single underscores between them, from `position`; returns their end.
  size_t Digits(size_t position) const {
    size_t at = position;
    while (IsDigit(At(at)) || (At(at) == '_' && at > position && IsDigit(At(at + 1)))) ++at;
    return at;
  }

  absl::Status Number() {
    const char prefix = static_cast<char>(At(at_ + 1) | 0x20);
    size_t end;
    bool is_float = false;
    if (text_[at_] == '0' && (prefix == 'x' || prefix == 'o' || prefix == 'b')) {
      end = at_ + 2;
      while (IsDigit(At(end)) || (prefix == 'x' && std::isxdigit(static_cast<uint8_t>(At(end))))) {
        ++end;
      }
    } else {
      end = Digits(at_);
      const bool may_be_float = at_ == 0 || text_[at_ - 1] != '.';
      if (may_be_float && At(end) == '.' && IsDigit(At(end + 1))) {
        end = Digits(end + 1);
        is_float = true;
      }
      if (may_be_float && (At(end) == 'e' || At(end) == 'E')) {
        const size_t digits = end + (At(end + 1) == '-' || At(end + 1) == '+' ? 2 : 1);
        if (IsDigit(At(digits))) {
          end = Digits(digits);
          is_float = true;
        }
      }
    }
    std::string number = text_.substr(at_, end - at_);
    std::erase(number, '_');
    Add(is_float ? TokenType::kFloat : TokenType::kInteger, std::move(number));
    MoveTo(end);
    return absl::OkStatus();
  }

  absl::Status Operator() {
    static constexpr std::array<std::string_view, 26> kOperators = {
        "**", "//", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
        "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
    for (const std::string_view word : kOperators) {
      if (!Has(at_, word)) continue;
      const char c = word[0];
      if (c == '(' || c == '[' || c == '{') {
        brackets_ += c == '(' ? ')' : c == '[' ? ']' : '}';
      } else if (c == ')' || c == ']' || c == '}') {
        if (brackets_.empty()) return Error("unexpected '{}'", c);
        if (brackets_.back() != c)
          return Error("unexpected '{}', expected '{}'", c, brackets_.back());
        brackets_.pop_back();
      }
      Add(TokenType::kOperator, std::string(word));
      MoveTo(at_ + word.size());
      return absl::OkStatus();
    }
    return Error("unexpected character '{}'", text_.substr(at_, ReadUtf8(text_, at_).length));
  }

  absl::Status String(char quote);
  absl::Status Escape(size_t* at, std::string* out) const;

  std::string text_;
  size_t at_ = 0;
  int line_ = 1;
  std::string brackets_;  // the closing ones that are due
  std::vector<TemplateToken> tokens_;
};

absl::Status TemplateLexer::String(char quote) {
  std::string value;
  size_t at = at_ + 1;
  while (true) {
    if (at >= text_.size()) return Error("a string is not closed; {} is missing", quote);
    const char c = text_[at];
    if (c == quote) break;
    if (c == '\\') {
      FM_RETURN_IF_ERROR(Escape(&at, &value));
    } else {
      value += c;
      ++at;
    }
  }
  Add(TokenType::kString, std::move(value));
  MoveTo(at + 1);
  return absl::OkStatus();
}

// One escape of a Python string literal, at the backslash.
absl::Status TemplateLexer::Escape(size_t* at, std::string* out) const {
  const char c = At(*at + 1);
  const auto number = [&](size_t begin, size_t most, unsigned base, size_t* used) {
    char32_t code = 0;
    for (*used = 0; *used < most; ++*used) {
      const char digit = At(begin + *used);
      if (!std::isxdigit(static_cast<uint8_t>(digit))) break;
      const unsigned value = IsDigit(digit) ? static_cast<unsigned>(digit - '0')
                                            : static_cast<unsigned>((digit | 0x20) - 'a') + 10;
      if (value >= base) break;
      code = code * base + value;
    }
    return code;
  };
  const auto put = [out](char32_t code) {
    const bool valid = code < 0x110000 && (code < 0xD800 || code > 0xDFFF);
    AppendUtf8(valid ? code : char32_t{0xFFFD}, out);
  };
  static constexpr std::string_view kLetters = "ntrabfv\\'\"\n";
  static constexpr std::array<std::string_view, 11> kMeanings = {"\n", "\t", "\r", "\a", "\b", "\f",
                                                                 "\v", "\\", "'",  "\"", ""};
  if (const size_t simple = kLetters.find(c); simple != std::string_view::npos && c != '\0') {
    *out += kMeanings[simple];
    *at += 2;
    return absl::OkStatus();
  }
  size_t used = 0;
  if (c >= '0' && c <= '7') {
    put(number(*at + 1, 3, 8, &used));
    *at += 1 + used;
    return absl::OkStatus();
  }
  const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
  if (digits > 0) {
    const char32_t code = number(*at + 2, digits, 16, &used);
    if (used != digits) return Error("'\\{}' wants {} hexadecimal digits", c, digits);
    put(code);
    *at += 2 + digits;
    return absl::OkStatus();
  }
  if (c == 'N') return Error("characters by name ('\\N{{...}}') are not supported; use '\\u'");
  *out += '\\';  // an escape that Python does not know stays as it is
  *at += 1;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<TemplateToken>> LexTemplate(std::string_view source) {
  return TemplateLexer(source).Run();
}

}  // namespace folkmoot::jinja
