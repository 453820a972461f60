// SPDX-License-Identifier: Apache-2.0
// The JSON that a client sent, within limits, and errors that say which field is wrong.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "launch/http/http.h"
#include "nlohmann/json_fwd.hpp"
#include "runtime/status.h"

namespace folkmoot {

struct JsonLimits {
  int depth = 64;
  size_t values = size_t{2} << 20;  // numbers, strings, objects ... of the whole text
  size_t members = 4096;            // of one object
};

// The object that a body holds; of equal keys the last counts. InvalidArgument: not JSON, not
// UTF-8, a number outside double's range, beyond the limits, or not an object. Needs memory in
// proportion to the text and no stack in proportion to its depth.
absl::StatusOr<nlohmann::ordered_json> ParseBody(std::string_view body,
                                                 const JsonLimits& limits = {});

// UTF-8 for certain: what is not becomes U+FFFD.
std::string Dump(const nlohmann::ordered_json& json);
// A JSON string with its quotes. Appends.
void AppendQuoted(std::string_view text, std::string* out);

// `status` with the field ("param") and the machine-readable code of OpenAI's error object.
absl::Status WithParam(absl::Status status, std::string_view param);
absl::Status WithCode(absl::Status status, std::string_view code);
std::string ParamOf(const absl::Status& status);
std::string CodeOf(const absl::Status& status);

template <typename... Args>
absl::Status BadField(std::string_view param, fmt::format_string<Args...> format, Args&&... args) {
  return WithParam(InvalidArgument(format, std::forward<Args>(args)...), param);
}

// InvalidArgument 400, NotFound 404, ResourceExhausted 429, Unavailable 503, DeadlineExceeded 504,
// all else 500. 504 and 500 carry x-should-retry: false, for they would happen again.
HttpResponse ToErrorResponse(const absl::Status& status);

}  // namespace folkmoot
