// SPDX-License-Identifier: Apache-2.0
// Edits of texts that methods and filters share.
#include <algorithm>

#include "runtime/jinja/methods.h"
#include "runtime/jinja/unicode_case.h"
#include "runtime/tokenizer/utf8.h"

namespace folkmoot::jinja {
namespace {

bool IsLineEnd(char32_t code) {
  return (code >= 0x0A && code <= 0x0D) || (code >= 0x1C && code <= 0x1E) || code == 0x85 ||
         code == 0x2028 || code == 0x2029;
}

bool HasCharacter(std::string_view characters, std::string_view character) {
  for (size_t at = 0; at < characters.size();) {
    const size_t length = ReadUtf8(characters, at).length;
    if (characters.substr(at, length) == character) return true;
    at += length;
  }
  return false;
}

}  // namespace

Text StripText(const Text& text, std::string_view characters, Side side) {
  const std::string_view view = text.view();
  size_t begin = 0;
  size_t end = view.size();
  const auto goes = [&](size_t at, size_t length) {
    if (characters.empty()) return IsPythonSpace(ReadUtf8(view, at).code);
    return HasCharacter(characters, view.substr(at, length));
  };
  while (side != Side::kRight && begin < end) {
    const size_t length = ReadUtf8(view, begin).length;
    if (!goes(begin, length)) break;
    begin += length;
  }
  while (side != Side::kLeft && begin < end) {
    const size_t start = CharacterStart(view, end);
    if (!goes(start, end - start)) break;
    end = start;
  }
  return text.Part(begin, end);
}

absl::StatusOr<Text> ReplaceText(const Text& text, std::string_view from, const Text& to,
                                 int64_t count, Budget* budget) {
  const std::string_view view = text.view();
  FM_RETURN_IF_ERROR(budget->TextBytes(view.size()));
  Text out;
  size_t done = 0;
  const auto insert = [&](size_t at) -> absl::Status {
    FM_RETURN_IF_ERROR(budget->TextBytes(to.size()));
    out.AppendPart(text, done, at);
    out.Append(to);
    done = at;
    if (out.size() > view.size()) FM_RETURN_IF_ERROR(budget->Steps(1));
    return budget->CheckText(out.size());
  };
  if (from.empty()) {  // between all characters, and at both ends
    for (size_t at = 0; count != 0; --count) {
      FM_RETURN_IF_ERROR(insert(at));
      if (at == view.size()) break;
      at += ReadUtf8(view, at).length;
    }
  } else {
    size_t found = view.find(from);
    for (; count != 0 && found != std::string_view::npos; --count) {
      FM_RETURN_IF_ERROR(insert(found));
      done = found + from.size();
      found = view.find(from, done);
    }
  }
  out.AppendPart(text, done, view.size());
  return out;
}

std::vector<Text> SplitLines(const Text& text) {
  std::vector<Text> lines;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const Utf8Char c = ReadUtf8(text.view(), at);
    const size_t end = at;
    at += c.length;
    if (!IsLineEnd(c.code)) continue;
    if (c.code == '\r' && at < text.size() && text.view()[at] == '\n') ++at;
    lines.push_back(text.Part(begin, end));
    begin = at;
  }
  if (begin < text.size()) lines.push_back(text.Part(begin, text.size()));
  return lines;
}

}  // namespace folkmoot::jinja
