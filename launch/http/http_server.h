// SPDX-License-Identifier: Apache-2.0
// An HTTP/1.1 server on one IoLoop: a coroutine per connection (Boost.Beast). It parses with
// limits, checks the API key, finds the route and gives the handler an HttpExchange. A path that is
// in no route is 404, a known path with another method 405; without the right key every route that
// is not open is 401, unknown paths included.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "launch/http/http.h"
#include "launch/http/http_limits.h"
#include "launch/http/io_loop.h"
#include "runtime/status.h"

namespace folkmoot {

struct HttpServerOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 8000;                   // 0: any free one
  std::vector<std::string> api_keys;      // empty: no key needed
  std::vector<std::string> cors_origins;  // allowed origins; "*": all; empty: no CORS headers
  std::string server_header = "folkmoot";
  HttpLimits limits;
};

class HttpServer {
 public:
  // Binds and listens; connections are served while the loop runs. The error names the address.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(IoLoop& loop, HttpServerOptions options,
                                                           std::vector<Route> routes);
  // On the loop's thread, or after it has ended. Cuts off what is open.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  uint16_t port() const;
  const std::vector<Route>& routes() const;  // for tests of every route
  size_t connections() const;

  // Takes no new connections and closes idle ones; answers under way are finished, and their
  // connections then closed.
  void Drain();

 private:
  struct Parts;
  explicit HttpServer(std::shared_ptr<Parts> parts);
  std::shared_ptr<Parts> parts_;
};

}  // namespace folkmoot
