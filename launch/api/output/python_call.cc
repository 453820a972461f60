// SPDX-License-Identifier: Apache-2.0
#include "launch/api/output/python_call.h"

#include <algorithm>

#include "launch/api/common/json_body.h"
#include "launch/api/output/literal_cursor.h"
#include "nlohmann/json.hpp"
#include "runtime/tokenizer/utf8.h"

namespace folkmoot {
namespace {

// Python's literals to JSON, appended to a string. False: not one of those that are read.
class Literals : LiteralCursor {
 public:
  explicit Literals(std::string_view whole) : LiteralCursor{whole} {}

  // f(a=1, b=2), all of it.
  bool Call(std::string* name, std::string* json) {
    SkipBlanks();
    if (!ReadName(text, &at, name) || name->empty() || !Take('(')) return false;
    *json = "{";
    while (!Take(')')) {
      if (json->size() > 1) {
        if (!Take(',')) return false;
        if (Take(')')) break;
        json->append(", ");
      }
      std::string key;
      SkipBlanks();
      if (!ReadName(text, &at, &key) || key.empty() || !Take('=')) return false;
      AppendQuoted(key, json);
      json->append(": ");
      if (!Value(0, json)) return false;
    }
    json->append("}");
    return ended();
  }
  // A value, all of it.
  bool Value(std::string* json) { return Value(0, json) && ended(); }

 private:
  bool Word(std::string_view word) {
    if (!text.substr(at).starts_with(word)) return false;
    at += word.size();
    return true;
  }

  bool Value(int depth, std::string* json) {
    SkipBlanks();
    if (ended() || depth == kMaxNesting) return false;
    const char c = text[at];
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
    if (ended()) return false;
    const char quote = text[at];
    if (quote != '"' && quote != '\'') return false;
    for (++at; at < text.size(); ++at) {
      if (text[at] == quote) {
        ++at;
        return true;
      }
      if (text[at] != '\\') {
        value->push_back(text[at]);
      } else if (!Escape(value)) {
        return false;
      }
    }
    return false;
  }

  // At a backslash; leaves the last character of the escape to be passed.
  bool Escape(std::string* value) {
    if (++at == text.size()) return false;
    const char c = text[at];
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
    const std::string hex(text.substr(at + 1, digits));
    const bool good = hex.size() == digits &&
                      hex.find_first_not_of("0123456789abcdefABCDEF") == std::string::npos;
    if (!good) return false;
    const auto code = static_cast<char32_t>(std::stoul(hex, nullptr, 16));
    const bool character = code <= 0x10FFFF && (code < 0xD800 || code >= 0xE000);
    AppendUtf8(character ? code : char32_t{0xFFFD}, value);
    at += digits;
    return true;
  }

  bool Number(std::string* json) {
    const size_t begin = at;
    while (at < text.size() && (IsNameCharacter(text[at]) || text[at] == '+')) ++at;
    std::string number(text.substr(begin, at - begin));
    std::erase(number, '_');
    if (!nlohmann::json::accept(number)) return false;
    json->append(number);
    return true;
  }
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
