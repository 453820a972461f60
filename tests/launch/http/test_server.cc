// SPDX-License-Identifier: Apache-2.0
#include "tests/launch/http/test_server.h"

#include <fmt/format.h>

#include <stdexcept>

namespace folkmoot {
namespace {

HttpResponse Text(std::string body) {
  return {.body = std::move(body), .content_type = "text/plain"};
}

std::string Describe(const HttpRequest& request) {
  std::string text =
      fmt::format("{}\n{}\n{}\n{}\n", request.method, request.path, request.query, request.client);
  for (const auto& [name, value] : request.headers) text += fmt::format("{}={}\n", name, value);
  return text;
}

using ExchangePtr = std::shared_ptr<HttpExchange>;

}  // namespace

std::vector<Route> TestRoutes(TestServer& server) {
  const auto keep = [&server](const ExchangePtr& exchange) {
    exchange->OnGone([&server] { ++server.gone; });
    server.held.push_back(exchange);
  };
  return {
      {"GET", "/hello", false, [](ExchangePtr e) { e->Respond(Text("hello")); }},
      {"GET", "/open", true, [](ExchangePtr e) { e->Respond(Text("open")); }},
      {"POST", "/echo", false, [](ExchangePtr e) { e->Respond(Text(e->request().body)); }},
      {"GET", "/request", false, [](ExchangePtr e) { e->Respond(Text(Describe(e->request()))); }},
      {"GET", "/any/*", false, [](ExchangePtr e) { e->Respond(Text(Describe(e->request()))); }},
      {"GET", "/hold", false, keep},
      {"POST", "/hold", false, keep},
      {"GET", "/stream", false,
       [keep](ExchangePtr e) {
         e->BeginStream("text/event-stream");
         keep(e);
       }},
      {"GET", "/forget", false, [](ExchangePtr) {}},
      {"GET", "/throw", false, [](ExchangePtr) { throw std::runtime_error("from a library"); }},
      {"GET", "/three", false,
       [](ExchangePtr e) {
         e->BeginStream("text/event-stream");
         for (const char* data : {"data: 1\n\n", "data: 2\n\n", "data: [DONE]\n\n"}) e->Write(data);
         e->EndStream();
       }},
      {"GET", "/big", false, [](ExchangePtr e) { e->Respond(Text(std::string(8 << 20, 'x'))); }},
  };
}

TestServer::TestServer(HttpServerOptions options, std::vector<Route> more) {
  options.port = 0;
  std::vector<Route> routes = TestRoutes(*this);
  for (Route& route : more) routes.push_back(std::move(route));
  auto server = HttpServer::Start(loop_, std::move(options), std::move(routes));
  server_ = std::move(server).value();
  thread_ = std::thread([this] { loop_.Run(); });
}

TestServer::~TestServer() {
  OnLoop([this] {
    held.clear();
    server_.reset();
  });
  loop_.Stop();
  thread_.join();
}

void TestServer::OnLoop(const std::function<void()>& task) {
  std::promise<void> done;
  loop_.Post([&] {
    task();
    done.set_value();
  });
  done.get_future().wait();
}

bool TestServer::Eventually(const std::function<bool()>& holds) {
  for (int i = 0; i < 2000; ++i) {
    bool now = false;
    OnLoop([&] { now = holds(); });
    if (now) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

size_t TestServer::Connections() {
  size_t count = 0;
  OnLoop([&] { count = server_->connections(); });
  return count;
}

}  // namespace folkmoot
