// SPDX-License-Identifier: Apache-2.0
// Answers as bytes.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "launch/http/http.h"

namespace folkmoot {

struct ResponseHead {
  int status = 200;
  std::string_view content_type;  // empty: no such header
  std::optional<size_t> length;   // else chunked, or up to the end of the connection
  bool chunked = false;
  bool close = false;
};

// Status line, our headers and `headers`, and the blank line. Line ends and other control
// characters within a header are left out: nobody splits our answers.
std::string HeadText(const ResponseHead& head, const HttpHeaders& headers);

// One chunk of a chunked body; nothing for no data, which would end the body.
void AppendChunk(std::string_view data, std::string* out);
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";

// "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, 5.6.7).
std::string HttpDate(int64_t unix_seconds);

// The client's X-Request-Id is taken over when it is 1 to 128 visible ASCII characters.
bool IsSaneRequestId(std::string_view id);

}  // namespace folkmoot
