// SPDX-License-Identifier: Apache-2.0
#include "launch/http/request_target.h"

#include <cstdint>

namespace folkmoot {
namespace {

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

absl::StatusOr<std::string> PercentDecode(std::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded.push_back(text[i]);
      continue;
    }
    const int high = i + 2 < text.size() ? HexValue(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? HexValue(text[i + 2]) : -1;
    if (high < 0 || low < 0) {
      return InvalidArgument("the path has a '%' without two hexadecimal digits");
    }
    decoded.push_back(static_cast<char>(high * 16 + low));
    i += 2;
  }
  return decoded;
}

absl::Status CheckPath(std::string_view path) {
  for (const char c : path) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte < 0x20 || byte == 0x7f || c == '\\') {
      return InvalidArgument("the path has a control character or a backslash");
    }
  }
  if (!IsUtf8(path)) return InvalidArgument("the path is not UTF-8");
  for (size_t begin = 1; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view segment = path.substr(begin, end - begin);
    if (segment == "." || segment == "..") {
      return InvalidArgument("the path has a segment '{}'", segment);
    }
    begin = end + 1;
  }
  return absl::OkStatus();
}

// "http://host/path" -> "/path", "http://host" -> "/".
std::string_view WithoutAuthority(std::string_view target) {
  const size_t scheme = target.starts_with("http://") ? 7 : target.starts_with("https://") ? 8 : 0;
  if (scheme == 0) return target;
  const size_t path = target.find_first_of("/?", scheme);
  return path == std::string_view::npos ? std::string_view("/") : target.substr(path);
}

}  // namespace

absl::StatusOr<RequestTarget> ParseTarget(std::string_view target) {
  if (target == "*") return RequestTarget{"*", ""};
  target = WithoutAuthority(target);
  const size_t mark = target.find('?');
  const std::string_view path = target.substr(0, mark);
  if (!target.starts_with('/') && !target.starts_with('?')) {
    return InvalidArgument("the request's target does not begin with '/'");
  }
  if (target.find('#') != std::string_view::npos) {
    return InvalidArgument("the request's target has a '#'");
  }
  RequestTarget parsed;
  FM_ASSIGN_OR_RETURN(parsed.path, PercentDecode(path.empty() ? "/" : path));
  FM_RETURN_IF_ERROR(CheckPath(parsed.path));
  if (mark != std::string_view::npos) parsed.query = target.substr(mark + 1);
  return parsed;
}

bool IsUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto first = static_cast<uint8_t>(text[i]);
    const size_t length = first < 0x80   ? 1
                          : first < 0xc2 ? 0
                          : first < 0xe0 ? 2
                          : first < 0xf0 ? 3
                          : first < 0xf5 ? 4
                                         : 0;
    if (length == 0 || i + length > text.size()) return false;
    for (size_t k = 1; k < length; ++k) {
      if ((static_cast<uint8_t>(text[i + k]) & 0xc0) != 0x80) return false;
    }
    const auto second = length > 1 ? static_cast<uint8_t>(text[i + 1]) : uint8_t{0};
    if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
        (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f)) {
      return false;
    }
    i += length;
  }
  return true;
}

}  // namespace folkmoot
