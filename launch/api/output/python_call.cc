// SPDX-License-Identifier: Apache-2.0
#include "launch/api/output/python_call.h"

#include <algorithm>

#include "launch/api/common/json_body.h"
#include "nlohmann/json.hpp"
#include "runtime/tokenizer/utf8.h"

namespace folkmoot {
namespace {

// Python's literals to JSON, appended to a string. False: not one of those that are read.
class Literals {
 public:
  explicit Literals(std::string_view text) : text_(text) {}

  // f(a=1, b=2), all of it.
  bool Call(std::string* name, std::string* json) {
    SkipBlanks();
    if (!ReadName(text_, &at_, name) || name->empty() || !Take('(')) return false;
    *json = "{";
    while (!Take(')')) {
      if (json->size() > 1) {
        if (!Take(',')) return false;
        if (Take(')')) break;
        json->append(", ");
      }
      std::string key;
      SkipBlanks();
      if (!ReadName(text_, &at_, &key) || key.empty() || !Take('=')) return false;
      AppendQuoted(key, json);
      json->append(": ");
      if (!Value(0, json)) return false;
    }
    json->append("}");
    return at_ == text_.size();
  }
  // A value, all of it.
  bool Value(std::string* json) { return Value(0, json) && at_ == text_.size(); }

 private:
  void SkipBlanks() {
    while (at_ < text_.size() && IsJsonSpace(text_[at_])) ++at_;
  }
  bool Take(char c) {
    SkipBlanks();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool Word(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }

  bool Value(int depth, std::string* json) {
    SkipBlanks();
    if (at_ == text_.size() || depth == kMaxNesting) return false;
    const char c = text_[at_];
    if (c == '"' || c == '\'') {
      std::string value;
      if (!String(&value)) return false;
      AppendQuoted(value, json);
      return true;
    }
    if (Take('[')) return List(']', depth, json);
    if (Take('(')) return List(')', depth, json);
    if (Take('{')) return Dictionary(depth, json);
    for (const auto& [python, same] : {std::pair("True", "true"),
                                       {"False", "false"},
                                       {"None", "null"},
                                       {"true", "true"},
                                       {"false", "false"},
                                       {"null", "null"}}) {
      if (!Word(python)) continue;
      json->append(same);
      return true;
    }
    return Number(json);
  }

  bool List(char end, int depth, std::string* json) {
    json->append("[");
    for (bool first = true; !Take(end); first = false) {
      if (!first) {
        if (!Take(',')) return false;
        if (Take(end)) break;
        json->append(", ");
      }
      if (!Value(depth + 1, json)) return false;
    }
    json->append("]");
    return true;
  }

  bool Dictionary(int depth, std::string* json) {
    json->append("{");
    for (bool first = true; !Take('}'); first = false) {
      if (!first) {
        if (!Take(',')) return false;
        if (Take('}')) break;
        json->append(", ");
      }
      std::string key;
      SkipBlanks();
      if (!String(&key)) return false;
      AppendQuoted(key, json);
      json->append(": ");
      if (!Take(':') || !Value(depth + 1, json)) return false;
    }
    json->append("}");
    return true;
  }

  bool String(std::string* value) {
    if (at_ == text_.size()) return false;
    const char quote = text_[at_];
    if (quote != '"' && quote != '\'') return false;
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == quote) {
        ++at_;
        return true;
      }
      if (text_[at_] != '\\') {
        value->push_back(text_[at_]);
      } else if (!Escape(value)) {
        return false;
      }
    }
    return false;
  }

  // At a backslash; leaves the last character of the escape to be passed.
  bool Escape(std::string* value) {
    if (++at_ == text_.size()) return false;
    const char c = text_[at_];
    constexpr std::string_view kLetters = "abfnrtv\\'\"";
    constexpr std::string_view kMeant = "\a\b\f\n\r\t\v\\'\"";
    if (const size_t found = kLetters.find(c); found != std::string_view::npos) {
      value->push_back(kMeant[found]);
      return true;
    }
    const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits == 0) {  // Python keeps what it does not know
      value->append({'\\', c});
      return true;
    }
    const std::string hex(text_.substr(at_ + 1, digits));
    const bool good = hex.size() == digits &&
                      hex.find_first_not_of("0123456789abcdefABCDEF") == std::string::npos;
    if (!good) return false;
    const auto code = static_cast<char32_t>(std::stoul(hex, nullptr, 16));
    const bool character = code <= 0x10FFFF && (code < 0xD800 || code >= 0xE000);
    AppendUtf8(character ? code : char32_t{0xFFFD}, value);
    at_ += digits;
    return true;
  }

  bool Number(std::string* json) {
    const size_t begin = at_;
    while (at_ < text_.size() && (IsNameCharacter(text_[at_]) || text_[at_] == '+')) ++at_;
    std::string number(text_.substr(begin, at_ - begin));
    std::erase(number, '_');
    if (!nlohmann::json::accept(number)) return false;
    json->append(number);
    return true;
  }

  const std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

// The parenthesis that closes the first one.
Reading PythonCall::FindEnd(std::string_view text, size_t begin, bool last) {
  for (size_t i = std::max(begin, scanned_); i < text.size(); ++i) {
    const char c = text[i];
    if (quote_ != 0) {
      if (c == quote_ && !escaped_) quote_ = 0;
      escaped_ = !escaped_ && c == '\\';
      continue;
    }
    if (depth_ == 0 && c != '(' && !IsNameCharacter(c) && !IsJsonSpace(c)) return Reading::No();
    if (depth_ == 0 && i - begin > kMaxToolName) return Reading::No();
    if (depth_ > 0 && (c == '"' || c == '\'')) quote_ = c;
    if (c == '(' || c == '[' || c == '{') ++depth_;
    if ((c == ')' || c == ']' || c == '}') && --depth_ == 0) return Reading::Done(i + 1);
  }
  scanned_ = text.size();
  return last ? Reading::No() : Reading::More();
}

Reading PythonCall::Read(std::string_view text, bool last, std::string* name,
                         std::string* arguments) {
  const size_t begin = SkipSpace(text, 0);
  if (begin == text.size()) return last ? Reading::No() : Reading::More();
  const Reading end = FindEnd(text, begin, last);
  if (end.is == Reading::Is::kMore) return end;
  *this = PythonCall();
  if (end.is == Reading::Is::kNo) return end;
  Literals literals(text.substr(begin, end.length - begin));
  return literals.Call(name, arguments) ? end : Reading::No();
}

bool AppendPythonContainer(std::string_view text, std::string* json) {
  if (text.empty() || std::string_view("[({").find(text.front()) == std::string_view::npos) {
    return false;
  }
  const size_t before = json->size();
  if (Literals(text).Value(json)) return true;
  json->resize(before);
  return false;
}

}  // namespace folkmoot
