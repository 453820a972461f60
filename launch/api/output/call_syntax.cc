// SPDX-License-Identifier: Apache-2.0
#include "launch/api/output/call_syntax.h"

#include <algorithm>

namespace folkmoot {

Reading CallSyntax::ReadArguments(std::string_view text, bool /*last*/, std::string* json) {
  for (size_t i = 0; i < text.size(); ++i) {
    switch (extent_.Advance(text[i])) {
      case JsonExtent::State::kInside:
        break;
      case JsonExtent::State::kEnd:
        json->append(text.substr(0, i + 1));
        return Reading::Done(i + 1);
      case JsonExtent::State::kBad:
        extent_.Reset();
        return Reading::No();
    }
  }
  json->append(text);
  return Reading::More(text.size());
}

Reading Expect(std::string_view text, std::string_view literal, size_t* at) {
  const size_t begin = SkipSpace(text, *at);
  const std::string_view rest = text.substr(begin);
  if (!rest.starts_with(literal)) {
    return literal.starts_with(rest) ? Reading::More() : Reading::No();
  }
  *at = begin + literal.size();
  return Reading::Done(*at);
}

Reading ReadParts(std::string_view text, bool last, std::span<const std::string_view> parts) {
  size_t end = 0;
  for (const std::string_view part : parts) {
    const Reading reading = Expect(text, part, &end);
    if (reading.is == Reading::Is::kMore && !last) return reading;
  }
  return Reading::Done(end);
}

size_t PartialMarker(std::string_view text, std::string_view marker) {
  for (size_t n = std::min(text.size(), marker.size() - 1); n > 0; --n) {
    if (text.ends_with(marker.substr(0, n))) return n;
  }
  return 0;
}

bool IsJsonSpace(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

size_t SkipSpace(std::string_view text, size_t from) {
  const std::string_view within = text.substr(0, from + kMaxSpace);
  while (from < within.size() && IsJsonSpace(within[from])) ++from;
  return from;
}

bool IsNameCharacter(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         std::string_view("_-.:/").find(c) != std::string_view::npos;
}

bool ReadName(std::string_view text, size_t* at, std::string* name) {
  const size_t begin = *at;
  while (*at < text.size() && *at - begin <= kMaxToolName && IsNameCharacter(text[*at])) ++*at;
  *name = text.substr(begin, *at - begin);
  return name->size() <= kMaxToolName;
}

}  // namespace folkmoot
