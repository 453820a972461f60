// SPDX-License-Identifier: Apache-2.0
// A small HTTP/1.1 client on an IoLoop, for the project's own tools: JSON out, JSON or server-sent
// events back. Plain TCP only. Answers are parsed by Boost.Beast.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "launch/http/http.h"
#include "launch/http/io_loop.h"
#include "runtime/status.h"

namespace folkmoot {

struct HttpUrl {
  std::string host;
  uint16_t port = 80;
  std::string path;  // "" or "/v1"; without the last '/'
};

// "http://host:port/path", the scheme optional, "[::1]" for IPv6. https is refused: put a proxy
// that speaks TLS in between.
absl::StatusOr<HttpUrl> ParseHttpUrl(std::string_view url);

// Takes an event stream apart. Events end with a blank line (LF or CR LF); several "data:" lines of
// one are joined by LF; comments and other fields are skipped.
class SseReader {
 public:
  // `on_event(data)` for every event that these bytes complete.
  void Feed(std::string_view bytes, const std::function<void(std::string_view)>& on_event);

 private:
  void Line(std::string_view line, const std::function<void(std::string_view)>& on_event);

  std::string line_;  // not yet ended
  std::string data_;
  bool has_data_ = false;
};

struct HttpCall {
  std::string method = "POST";
  std::string target;  // "/v1/completions"
  HttpHeaders headers;
  std::string body;
  // For each event of a text/event-stream answer with status 200, as it arrives.
  std::function<void(std::string_view data)> on_event;
};

struct HttpResult {
  absl::Status status;  // of the transport; the rest counts only when it is OK
  int http_status = 0;
  std::string body;  // of an answer that was not given to on_event
};

// Keeps connections open and uses them again. On the loop's thread only.
class HttpClient {
 public:
  // Resolves the name now.
  static absl::StatusOr<std::unique_ptr<HttpClient>> Create(IoLoop& loop, const HttpUrl& server);
  // Calls under way end; their `done` is not called.
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // `done` is called once, never from within Send. Any number of calls may be under way, each on a
  // connection of its own.
  void Send(HttpCall call, std::function<void(HttpResult)> done);

 private:
  struct Parts;
  explicit HttpClient(std::shared_ptr<Parts> parts);
  std::shared_ptr<Parts> parts_;
};

}  // namespace folkmoot
