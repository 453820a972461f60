// SPDX-License-Identifier: Apache-2.0
// The target of a request line.
#pragma once

#include <string>
#include <string_view>

#include "runtime/status.h"

namespace folkmoot {

struct RequestTarget {
  std::string path;   // percent-decoded once
  std::string query;  // as sent, without '?'
};

// Origin form ("/v1/models?x=1"), absolute form ("http://host/v1/models") and "*". One reading
// only: refused are broken percent codes, control characters, backslashes, segments "." and ".."
// (also encoded ones) and what is not UTF-8 once decoded.
absl::StatusOr<RequestTarget> ParseTarget(std::string_view target);

// RFC 3629: no overlong forms, no surrogates.
bool IsUtf8(std::string_view text);

}  // namespace folkmoot
