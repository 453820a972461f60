// SPDX-License-Identifier: Apache-2.0
// A request, its answer, and the table of routes: HTTP as the handlers see it. Everything here
// happens on the thread of the IoLoop.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace folkmoot {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;   // upper case
  std::string path;     // percent-decoded, without the query
  std::string query;    // as sent, without '?'
  HttpHeaders headers;  // names in lower case
  std::string body;
  std::string id;      // the client's X-Request-Id where it is sane, else a fresh one
  std::string client;  // its address, without the port

  // The first header of this name (lower case), or nothing.
  std::string_view Header(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::string body;
  std::string content_type = "application/json";
  HttpHeaders headers;
};

// {"error": {"message", "type", "param", "code"}} with the type that OpenAI's clients expect of the
// status. Empty param and code become null.
HttpResponse ErrorResponse(int status, std::string_view message, std::string_view param = "",
                           std::string_view code = "");

// One request on its way to one answer: either Respond, or BeginStream, Write ..., EndStream. What
// is called after the end, or once the client has gone, does nothing. An exchange that is let go
// without an answer is answered with 500; in the middle of a stream, the connection is cut.
class HttpExchange {
 public:
  virtual ~HttpExchange() = default;

  virtual const HttpRequest& request() const = 0;

  virtual void Respond(HttpResponse response) = 0;

  // Status 200, chunked, not to be cached.
  virtual void BeginStream(std::string_view content_type) = 0;
  // Queues bytes. Ignored once the client has gone.
  virtual void Write(std::string data) = 0;
  virtual void EndStream() = 0;
  // Bytes that Write took and the socket has not.
  virtual size_t unsent() const = 0;

  // `callback` runs at most once: when the client went away, read too slowly or was cut off before
  // the answer was complete. Never from inside a method of this object. A client that closes its
  // side for writing while it waits for an answer counts as gone: a closed socket looks the same.
  virtual void OnGone(std::function<void()> callback) = 0;
};

// May answer at once or keep the exchange and answer later, on the same thread.
using Handler = std::function<void(std::shared_ptr<HttpExchange>)>;

struct Route {
  std::string method;
  std::string path;   // exact; a trailing "/*" matches any rest
  bool open = false;  // needs no API key
  Handler handler;
};

}  // namespace folkmoot
