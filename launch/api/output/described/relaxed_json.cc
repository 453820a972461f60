// SPDX-License-Identifier: Apache-2.0
#include "launch/api/output/described/relaxed_json.h"

#include <algorithm>
#include <charconv>
#include <vector>

#include "launch/api/output/call_syntax.h"
#include "launch/api/output/python_call.h"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

// Around the number of a text that was taken out.
constexpr char kOpen = '\x01';
constexpr char kClose = '\x02';

std::string TakeTextsOut(std::string_view text, const std::pair<std::string, std::string>& delims,
                         std::vector<std::string>* texts) {
  std::string out;
  size_t at = 0;
  while (true) {
    const size_t open = text.find(delims.first, at);
    if (open == std::string_view::npos) break;
    const size_t begin = open + delims.first.size();
    const size_t close = text.find(delims.second, begin);
    if (close == std::string_view::npos) break;
    out += text.substr(at, open - at);
    out += fmt::format("{}{}{}", kOpen, texts->size(), kClose);
    texts->emplace_back(text.substr(begin, close - begin));
    at = close + delims.second.size();
  }
  out += text.substr(at);
  return out;
}

// Behind the string that begins with the quote at `begin`; npos: it does not end.
size_t EndOfString(std::string_view text, size_t begin) {
  for (size_t at = begin + 1; at < text.size(); ++at) {
    if (text[at] == '\\') {
      ++at;
    } else if (text[at] == '"') {
      return at + 1;
    }
  }
  return std::string_view::npos;
}

// Letters of any script count: bytes of characters beyond ASCII.
bool IsWordByte(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' ||
         (c & 0x80) != 0;
}

std::string QuoteKeys(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    if (text[at] == '"') {
      const size_t end = EndOfString(text, at);
      if (end != std::string_view::npos) {
        out += text.substr(at, end - at);
        at = end;
        continue;
      }
    }
    out += text[at++];
    if (out.back() != '{' && out.back() != ',') continue;
    const size_t key = std::min(text.find_first_not_of(kBlanks, at), text.size());
    size_t end = key;
    while (end < text.size() && IsWordByte(text[end])) ++end;
    const size_t colon = std::min(text.find_first_not_of(kBlanks, end), text.size());
    if (end == key || colon == text.size() || text[colon] != ':') continue;
    out += fmt::format("\"{}\":", text.substr(key, end - key));
    at = colon + 1;
  }
  return out;
}

std::string PutTextsBack(std::string_view text, const std::vector<std::string>& texts) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    if (text[at] != kOpen) {
      out += text[at++];
      continue;
    }
    const size_t close = text.find(kClose, at);
    size_t number = 0;
    std::from_chars(text.data() + at + 1, text.data() + close, number);
    out += Json(texts[number]).dump();
    at = close + 1;
  }
  return out;
}

}  // namespace

std::optional<std::string> StrictJson(std::string_view text,
                                      std::span<const std::pair<std::string, std::string>> delims,
                                      bool unquoted_keys) {
  if (!delims.empty() &&
      (text.find(kOpen) != std::string_view::npos || text.find(kClose) != std::string_view::npos)) {
    return std::nullopt;
  }
  std::string working(text);
  std::vector<std::string> texts;
  for (const auto& pair : delims) working = TakeTextsOut(working, pair, &texts);
  if (unquoted_keys) working = QuoteKeys(working);
  return texts.empty() ? working : PutTextsBack(working, texts);
}

std::optional<Json> ParseFlatJson(std::string_view text) {
  int depth = 0;
  for (size_t at = 0; at < text.size() && depth <= kMaxNesting; ++at) {
    if (text[at] == '"') at = std::min(EndOfString(text, at), text.size()) - 1;
    if (text[at] == '[' || text[at] == '{') ++depth;
    if (text[at] == ']' || text[at] == '}') --depth;
  }
  if (depth > kMaxNesting) return std::nullopt;
  Json value = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) return std::nullopt;
  return value;
}

absl::StatusOr<Json> ReadPythonCalls(std::string_view text) {
  const auto skip = [&] {
    while (!text.empty() && IsJsonSpace(text.front())) text.remove_prefix(1);
  };
  const auto take = [&](char c) {
    skip();
    if (text.empty() || text.front() != c) return false;
    text.remove_prefix(1);
    return true;
  };
  Json calls = Json::array();
  if (!take('[')) return InvalidArgument("not a list of calls");
  if (!take(']')) {
    do {
      skip();
      std::string name, arguments;
      const Reading call = PythonCall().Read(text, /*last=*/true, &name, &arguments);
      if (call.is != Reading::Is::kDone) return InvalidArgument("not a list of calls");
      text.remove_prefix(call.length);
      const std::optional<Json> parsed = ParseFlatJson(arguments);
      if (!parsed) return InvalidArgument("arguments that are not JSON");
      calls.push_back({{"name", std::move(name)}, {"arguments", *parsed}});
    } while (take(','));
    if (!take(']')) return InvalidArgument("not a list of calls");
  }
  skip();
  if (!text.empty()) return InvalidArgument("text behind a list of calls");
  return calls;
}

}  // namespace folkmoot
