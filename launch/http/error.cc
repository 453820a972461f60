// SPDX-License-Identifier: Apache-2.0
#include "launch/http/http.h"
#include "nlohmann/json.hpp"

namespace folkmoot {
namespace {

std::string_view ErrorType(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 408:
      return "timeout_error";
    case 429:
      return "rate_limit_error";
    case 503:
      return "unavailable_error";
    default:
      return status >= 500 ? "server_error" : "invalid_request_error";
  }
}

nlohmann::ordered_json OrNull(std::string_view text) {
  if (text.empty()) return nullptr;
  return text;
}

}  // namespace

HttpResponse ErrorResponse(int status, std::string_view message, std::string_view param,
                           std::string_view code) {
  const nlohmann::ordered_json body = {{"error",
                                        {{"message", message},
                                         {"type", ErrorType(status)},
                                         {"param", OrNull(param)},
                                         {"code", OrNull(code)}}}};
  HttpResponse response;
  response.status = status;
  // A message may quote what the client sent: never throw on bytes that are not UTF-8.
  response.body = body.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  // Clients repeat a 5xx by themselves; of these only 503 may end otherwise next time.
  if (status >= 500 && status != 503) response.headers.emplace_back("x-should-retry", "false");
  if (status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

std::string_view HttpRequest::Header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) return value;
  }
  return {};
}

}  // namespace folkmoot
