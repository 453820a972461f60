// SPDX-License-Identifier: Apache-2.0
// An HttpServer on a thread of its own, with routes to test it by.
#pragma once

#include <functional>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include "launch/http/http_server.h"

namespace folkmoot {

class TestServer {
 public:
  explicit TestServer(HttpServerOptions options = {}, std::vector<Route> more = {});
  ~TestServer();

  uint16_t port() const { return server_->port(); }
  HttpServer& server() { return *server_; }
  IoLoop& loop() { return loop_; }

  // Runs `task` on the loop's thread and waits for it.
  void OnLoop(const std::function<void()>& task);
  // Polls on the loop's thread until it holds; false after ten seconds.
  bool Eventually(const std::function<bool()>& holds);
  size_t Connections();

  // Of the loop's thread: exchanges that /hold and /stream keep, and how many clients went away.
  std::vector<std::shared_ptr<HttpExchange>> held;
  int gone = 0;

 private:
  IoLoop loop_;
  std::unique_ptr<HttpServer> server_;
  std::thread thread_;
};

// GET /hello ("hello"), GET /open (no key needed), POST /echo (the body), GET /request (method,
// path, query, id and headers as lines), GET /any/*, GET /hold (kept in `held`), GET /stream (begun
// and kept), GET /forget (no answer), GET /throw, GET /three (three events, then the end), GET /big
// (eight megabytes).
std::vector<Route> TestRoutes(TestServer& server);

}  // namespace folkmoot
