// SPDX-License-Identifier: Apache-2.0
#include "runtime/jinja/unicode_case.h"

#include <utf8proc.h>

#include "runtime/tokenizer/utf8.h"

namespace folkmoot::jinja {
namespace {

utf8proc_category_t Category(char32_t code) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code));
}

// The upper case of those letters that become more than one character (Unicode SpecialCasing, the
// part that is met in Latin text).
std::string_view LongUpper(char32_t code, bool title) {
  switch (code) {
    case 0xDF:
      return title ? "Ss" : "SS";
    case 0x149:
      return "\xCA\xBCN";
    case 0x1F0:
      return "J\xCC\x8C";
    case 0xFB00:
      return title ? "Ff" : "FF";
    case 0xFB01:
      return title ? "Fi" : "FI";
    case 0xFB02:
      return title ? "Fl" : "FL";
    case 0xFB03:
      return title ? "Ffi" : "FFI";
    case 0xFB04:
      return title ? "Ffl" : "FFL";
    case 0xFB05:
    case 0xFB06:
      return title ? "St" : "ST";
    default:
      return {};
  }
}

// Whether the sigma at [begin, end) ends a word: a letter before it, none after.
bool IsFinalSigma(std::string_view text, size_t begin, size_t end) {
  if (begin == 0 || !IsLetter(ReadUtf8(text, CharacterStart(text, begin)).code)) return false;
  return end >= text.size() || !IsLetter(ReadUtf8(text, end).code);
}

}  // namespace

bool IsPythonSpace(char32_t code) { return IsWhiteSpace(code) || (code >= 0x1C && code <= 0x1F); }

size_t CharacterStart(std::string_view text, size_t end) {
  size_t begin = end - 1;
  while (begin > 0 && (static_cast<uint8_t>(text[begin]) & 0xC0) == 0x80) --begin;
  return begin;
}

size_t SkipSpaces(std::string_view text, size_t position) {
  while (position < text.size()) {
    const Utf8Char c = ReadUtf8(text, position);
    if (!IsPythonSpace(c.code)) break;
    position += c.length;
  }
  return position;
}

size_t TrimSpacesRight(std::string_view text, size_t begin, size_t end) {
  while (end > begin) {
    const size_t start = CharacterStart(text, end);
    if (!IsPythonSpace(ReadUtf8(text, start).code)) break;
    end = start;
  }
  return end;
}

bool IsLetter(char32_t code) {
  const utf8proc_category_t category = Category(code);
  return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL ||
         category == UTF8PROC_CATEGORY_LT || category == UTF8PROC_CATEGORY_LM ||
         category == UTF8PROC_CATEGORY_LO;
}
bool IsDecimal(char32_t code) { return Category(code) == UTF8PROC_CATEGORY_ND; }
bool IsUpperCase(char32_t code) { return Category(code) == UTF8PROC_CATEGORY_LU; }
bool IsLowerCase(char32_t code) { return Category(code) == UTF8PROC_CATEGORY_LL; }

bool IsPrintable(char32_t code) {
  if (code == ' ') return true;
  switch (Category(code)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return false;
    default:
      return true;
  }
}

void AppendCased(const Text& text, size_t position, size_t length, CaseChange change, size_t* hint,
                 Text* out) {
  const std::string_view view = text.view();
  const char32_t code = ReadUtf8(view, position).code;
  if (change == CaseChange::kSwap) {
    change = IsUpperCase(code) ? CaseChange::kLower : CaseChange::kUpper;
  }
  const bool trusted = text.IsTrusted(position, hint);
  const auto character = static_cast<utf8proc_int32_t>(code);
  utf8proc_int32_t changed = 0;
  if (change == CaseChange::kLower) {
    if (code == 0x130) return out->Append("i\xCC\x87", trusted);
    changed = utf8proc_tolower(character);
    if (code == 0x3A3 && IsFinalSigma(view, position, position + length)) changed = 0x3C2;
  } else {
    const bool title = change == CaseChange::kTitle;
    if (const std::string_view more = LongUpper(code, title); !more.empty()) {
      return out->Append(more, trusted);
    }
    changed = title ? utf8proc_totitle(character) : utf8proc_toupper(character);
  }
  std::string bytes;
  AppendUtf8(static_cast<char32_t>(changed), &bytes);
  out->Append(bytes, trusted);
}

Text ChangeCase(const Text& text, CaseChange change) {
  Text out;
  size_t hint = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t length = ReadUtf8(text.view(), at).length;
    AppendCased(text, at, length, change, &hint, &out);
    at += length;
  }
  return out;
}

Text Capitalize(const Text& text) {
  Text out;
  size_t hint = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t length = ReadUtf8(text.view(), at).length;
    AppendCased(text, at, length, at == 0 ? CaseChange::kTitle : CaseChange::kLower, &hint, &out);
    at += length;
  }
  return out;
}

}  // namespace folkmoot::jinja
