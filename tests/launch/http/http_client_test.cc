// SPDX-License-Identifier: Apache-2.0
#include "launch/http/http_client.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "tests/launch/http/test_server.h"

namespace folkmoot {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(SseReader, EventsInAnyPieces) {
  const std::string bytes =
      ": c\ndata: a\n\ndata:b\r\ndata:  c\r\nid: 1\r\n\r\n\nevent: x\n\ndata\n\n";
  for (size_t piece = 1; piece <= bytes.size(); ++piece) {
    SseReader reader;
    std::vector<std::string> events;
    for (size_t at = 0; at < bytes.size(); at += piece) {
      reader.Feed(std::string_view(bytes).substr(at, piece),
                  [&](std::string_view data) { events.emplace_back(data); });
    }
    EXPECT_THAT(events, ElementsAre("a", "b\n c")) << piece;
  }
}

TEST(HttpUrl, Forms) {
  const auto text = [](std::string_view url) -> std::string {
    const auto parsed = ParseHttpUrl(url);
    if (!parsed.ok()) return "error";
    return fmt::format("{}|{}|{}", parsed->host, parsed->port, parsed->path);
  };
  EXPECT_EQ(text("http://h:81/v1/"), "h|81|/v1");
  EXPECT_EQ(text("h"), "h|80|");
  EXPECT_EQ(text("http://[::1]:8000"), "::1|8000|");
  EXPECT_EQ(text("http://[::1]/a"), "::1|80|/a");
  for (const char* bad : {"https://h", "http://:80", "h:0", "h:65536", "h:x", "h:", ""}) {
    EXPECT_EQ(text(bad), "error") << bad;
  }
}

TEST(HttpClient, KeptConnectionsAndBrokenOnes) {
  HttpServerOptions options;
  options.limits.idle_timeout = milliseconds(50);
  TestServer server(options);
  IoLoop loop;
  const auto client = *HttpClient::Create(loop, {.host = "127.0.0.1", .port = server.port()});
  std::vector<HttpResult> results;
  std::vector<std::shared_ptr<IoLoop::Timer>> timers;
  std::function<void(HttpResult)> next = [&](HttpResult result) {
    results.push_back(std::move(result));
    const auto send = [&](const char* target) {
      client->Send({.method = "GET", .target = target}, next);
    };
    switch (results.size()) {
      case 1:
        EXPECT_EQ(server.Connections(), 1U);
        return send("/hello");
      case 2:
        EXPECT_EQ(server.Connections(), 1U);  // the same
        // The server closes it meanwhile; the client tries a fresh one.
        timers.push_back(loop.After(milliseconds(200), [send] { send("/three"); }));
        return;
      case 3:
        timers.push_back(
            loop.After(milliseconds(100), [&] { server.OnLoop([&] { server.held.clear(); }); }));
        return send("/stream");
      default:
        return loop.Stop();
    }
  };
  client->Send({.method = "GET", .target = "/hello"}, next);
  loop.Run();
  ASSERT_EQ(results.size(), 4U);
  EXPECT_EQ(results[0].body, "hello");
  EXPECT_EQ(results[1].body, "hello");
  EXPECT_EQ(results[2].body, "data: 1\n\ndata: 2\n\ndata: [DONE]\n\n");
  EXPECT_THAT(std::string(Message(results[3].status)), HasSubstr("ended within the answer"));
}

}  // namespace
}  // namespace folkmoot
