// SPDX-License-Identifier: Apache-2.0
#include "runtime/grammar/regex_class.h"

#include <algorithm>

#include "runtime/tokenizer/utf8.h"

namespace folkmoot {
namespace {

const std::vector<CodePointSet::Range> kDigits = {{'0', '9'}};
const std::vector<CodePointSet::Range> kWord = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
// What every dialect takes for white space, and what any of them does (ECMA-262, Python).
const std::vector<CodePointSet::Range> kSpace = {{'\t', '\r'}, {' ', ' '}};
const std::vector<CodePointSet::Range> kAnySpace = {
    {'\t', '\r'},     {0x1C, ' '},      {0x85, 0x85},     {0xA0, 0xA0},
    {0x1680, 0x1680}, {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F},
    {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};

CodePointSet Single(char32_t code) { return CodePointSet({{code, code}}); }

// The code point if the set is one character.
std::optional<char32_t> OnlyMember(const CodePointSet& set) {
  if (set.ranges().size() != 1 || set.ranges()[0].first != set.ranges()[0].second) {
    return std::nullopt;
  }
  return set.ranges()[0].first;
}

}  // namespace

CodePointSet RegexDot() {
  return CodePointSet({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}).Complement();
}

bool RegexReader::Take(std::string_view text) {
  if (!Looks(text)) return false;
  at_ += text.size();
  return true;
}

absl::Status RegexReader::Error(std::string_view what) const {
  return InvalidArgument("regular expression, at byte {}: {}", at_, what);
}

absl::StatusOr<char32_t> RegexReader::TakeCharacter() {
  const Utf8Char c = ReadUtf8(regex_, at_);
  if (c.state != Utf8State::kValid) return Error("not valid UTF-8");
  at_ += c.length;
  return c.code;
}

std::optional<int64_t> RegexReader::TakeNumber() {
  constexpr int64_t kLimit = 1'000'000'000;
  if (AtEnd() || Peek() < '0' || Peek() > '9') return std::nullopt;
  int64_t value = 0;
  for (; !AtEnd() && Peek() >= '0' && Peek() <= '9'; ++at_) {
    value = std::min(kLimit, value * 10 + (Peek() - '0'));
  }
  return value;
}

absl::StatusOr<char32_t> RegexReader::TakeHex(int digits) {
  char32_t value = 0;
  for (int i = 0; i < digits; ++i, ++at_) {
    const char c = AtEnd() ? '\0' : Peek();
    if (c >= '0' && c <= '9') {
      value = value * 16 + static_cast<char32_t>(c - '0');
    } else if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')) {
      value = value * 16 + static_cast<char32_t>((c | 0x20) - 'a' + 10);
    } else {
      return Error("a hexadecimal digit was expected here");
    }
  }
  return value;
}

absl::StatusOr<char32_t> RegexReader::TakeUnicodeEscape() {
  if (Take("{")) {
    const size_t close = regex_.find('}', at_);
    if (close == std::string_view::npos || close == at_ || close - at_ > 6) {
      return Error("\\u{...} takes 1 to 6 hexadecimal digits");
    }
    FM_ASSIGN_OR_RETURN(const char32_t code, TakeHex(static_cast<int>(close - at_)));
    ++at_;
    if (code > CodePointSet::kLast) return Error("there is no such character");
    return code;
  }
  FM_ASSIGN_OR_RETURN(const char32_t high, TakeHex(4));
  if (high < 0xD800 || high > 0xDFFF) return high;
  if (high > 0xDBFF || !Take("\\u")) return Error("half a surrogate pair");
  FM_ASSIGN_OR_RETURN(const char32_t low, TakeHex(4));
  if (low < 0xDC00 || low > 0xDFFF) return Error("half a surrogate pair");
  return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
}

absl::StatusOr<CodePointSet> RegexReader::TakeEscape(bool in_negation) {
  if (AtEnd()) return Error("the backslash escapes nothing");
  const char c = Peek();
  if (static_cast<unsigned char>(c) >= 0x80 || c < ' ') {
    FM_ASSIGN_OR_RETURN(const char32_t code, TakeCharacter());
    return Single(code);
  }
  if (c == 'b' || c == 'B') return Error("word boundaries (\\b, \\B) are not supported");
  if (c == 'p' || c == 'P') return Error("Unicode properties (\\p) are not supported");
  if (c == 'k' || (c >= '1' && c <= '9')) return Error("back references are not supported");
  ++at_;
  switch (c) {
    case 'd':
      return CodePointSet(kDigits);
    case 'D':
      return CodePointSet(kDigits).Complement();
    case 'w':
      return CodePointSet(kWord);
    case 'W':
      return CodePointSet(kWord).Complement();
    case 's':
      return CodePointSet(in_negation ? kAnySpace : kSpace);
    case 'S':
      return CodePointSet(in_negation ? kSpace : kAnySpace).Complement();
    case 't':
      return Single('\t');
    case 'n':
      return Single('\n');
    case 'r':
      return Single('\r');
    case 'f':
      return Single('\f');
    case 'v':
      return Single('\v');
    case '0':
      if (!AtEnd() && Peek() >= '0' && Peek() <= '9') {
        return Error("octal escapes are not supported");
      }
      return Single(0);
    case 'x': {
      FM_ASSIGN_OR_RETURN(const char32_t code, TakeHex(2));
      return Single(code);
    }
    case 'u': {
      FM_ASSIGN_OR_RETURN(const char32_t code, TakeUnicodeEscape());
      if (code >= 0xD800 && code <= 0xDFFF) return Error("half a surrogate pair");
      return Single(code);
    }
    default:
      break;
  }
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
    --at_;
    return Error(fmt::format("the escape \\{} is not supported", c));
  }
  return Single(static_cast<char32_t>(c));
}

absl::StatusOr<CodePointSet> RegexReader::TakeClassItem(bool in_negation) {
  if (AtEnd()) return Error("the class [ is not closed");
  if (Looks("[:") || Looks("[=") || Looks("[.")) {
    return Error("POSIX classes are not supported");
  }
  if (!Take("\\")) {
    FM_ASSIGN_OR_RETURN(const char32_t code, TakeCharacter());
    return Single(code);
  }
  if (Take("b")) return Single('\b');
  return TakeEscape(in_negation);
}

absl::StatusOr<CodePointSet> RegexReader::TakeClass() {
  const bool negated = Take("^");
  if (Looks("]")) return Error("a class cannot begin with ]; write \\]");
  CodePointSet set;
  bool space = false, no_space = false;
  while (!Take("]")) {
    space = space || Looks("\\s");
    no_space = no_space || Looks("\\S");
    FM_ASSIGN_OR_RETURN(const CodePointSet item, TakeClassItem(negated));
    if (!Looks("-") || Looks("-]")) {
      set = set.Union(item);
      continue;
    }
    ++at_;
    FM_ASSIGN_OR_RETURN(const CodePointSet last, TakeClassItem(negated));
    const auto from = OnlyMember(item);
    const auto to = OnlyMember(last);
    if (!from || !to) return Error("a range needs a character at both ends");
    if (*from > *to) return Error("this range goes backwards");
    set = set.Union(CodePointSet({{*from, *to}}));
  }
  if (space && no_space) set = CodePointSet::All();  // the usual way to write everything
  return negated ? set.Complement() : set;
}

}  // namespace folkmoot
