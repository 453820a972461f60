// SPDX-License-Identifier: Apache-2.0
// What a hostile client gets, and that the next good request is answered. The grammar itself is
// tested in request_parser_test.cc; here it goes through sockets.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <chrono>
#include <thread>

#include "launch/http/http_server.h"
#include "tests/launch/http/raw_client.h"
#include "tests/launch/http/test_server.h"

namespace folkmoot {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr size_t kMegabyte = size_t{1} << 20;

double SecondsSince(steady_clock::time_point start) {
  return std::chrono::duration<double>(steady_clock::now() - start).count();
}

void ExpectGood(uint16_t port) {
  const auto answer = Roundtrip(port, Post("/echo", "still here"));
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->body, "still here");
}

// The status, a JSON error, the end of the connection, and then a good request.
void ExpectRefused(uint16_t port, std::string_view bytes, int status) {
  RawClient client(port);
  client.Send(bytes);
  const auto answer = client.Read();
  const std::string shown(bytes.substr(0, 200));
  ASSERT_TRUE(answer) << shown;
  EXPECT_EQ(answer->status, status) << shown;
  EXPECT_THAT(answer->body, StartsWith("{\"error\":{\"message\":\"")) << shown;
  EXPECT_EQ(answer->headers.at("connection"), "close") << shown;
  EXPECT_TRUE(client.AtEnd()) << shown;
  ExpectGood(port);
}

std::string ChunkedHead() {
  return "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
}

// Among them CVE-2026-45352 (a chunk of "-2" bytes) and the ways to smuggle a request.
TEST(HttpHostile, TableOfRefusals) {
  TestServer server;
  const std::string host = "Host: h\r\n";
  const std::string post = "POST /echo HTTP/1.1\r\nHost: h\r\n";
  const std::vector<std::pair<std::string, int>> table = {
      {"\x16\x03\x01\x02", 400},  // TLS
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400},
      {"GET / HTTP/9.9\r\n" + host + "\r\n", 400},
      {"GET /hello HTTP/1.1\n" + host + "\n", 400},
      {"GET /hello HTTP/1.1\r\n\r\n", 400},
      {"GET /hello HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n", 400},
      {"GET /hello HTTP/1.1\r\nHost : h\r\n\r\n", 400},
      {"GET /%00 HTTP/1.1\r\n" + host + "\r\n", 400},
      {"GET /../hello HTTP/1.1\r\n" + host + "\r\n", 400},
      {"GET /%2e%2e/hello HTTP/1.1\r\n" + host + "\r\n", 400},
      {"GET /" + std::string(100'000, 'a') + " HTTP/1.1\r\n" + host + "\r\n", 431},
      {"GET /hello HTTP/1.1\r\nA: " + std::string(100'000, 'a') + "\r\n\r\n", 431},
      {post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {post + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400},
      {post + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400},
      {post + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400},
      {post + "Content-Length: 18446744073709551615\r\n\r\n", 400},
      {post + "Content-Length: -1\r\n\r\n", 400},
      {post + "Content-Length: 67108865\r\n\r\n", 413},
      {post + "Transfer-Encoding: gzip, chunked\r\n\r\n", 400},
      {post + "Expect: the unexpected\r\n\r\n", 417},
      {ChunkedHead() + "-2\r\nab\r\n", 400},
      {ChunkedHead() + "0x2\r\nab\r\n", 400},
      {ChunkedHead() + "2 \r\nab\r\n", 400},
      {ChunkedHead() + "00000000000000002\r\nab\r\n", 400},
      {ChunkedHead() + "fffffffffffffffff\r\nab\r\n", 400},
      {ChunkedHead() + "ffffffffffffffff\r\nab\r\n", 413},
      {ChunkedHead() + "2\r\nabc\r\n", 400},
  };
  for (const auto& [bytes, status] : table) ExpectRefused(server.port(), bytes, status);
}

// CVE-2026-46527 and its kin: values that a parser may take the front of.
TEST(HttpHostile, EveryHeaderEmptyCommaAndHighByte) {
  TestServer server;
  for (const char* name : {"Accept",
                           "Accept-Encoding",
                           "Authorization",
                           "Connection",
                           "Content-Length",
                           "Content-Type",
                           "Cookie",
                           "Expect",
                           "Forwarded",
                           "Host",
                           "Keep-Alive",
                           "Origin",
                           "Range",
                           "TE",
                           "Trailer",
                           "Transfer-Encoding",
                           "Upgrade",
                           "User-Agent",
                           "Via",
                           "X-Forwarded-For",
                           "X-Forwarded-Host",
                           "X-Real-IP",
                           "X-Request-Id"}) {
    for (const char* value : {"", ",", ",,,", "\xff", "\xff,\xff", ";", "=", "\"", "a,,b"}) {
      const std::string_view view(name);
      const std::string head = view == "Host" ? "" : "Host: h\r\n";
      const auto answer =
          Roundtrip(server.port(), "GET /hello HTTP/1.1\r\n" + head + std::string(name) + ": " +
                                       value + "\r\nConnection: close\r\n\r\n");
      ASSERT_TRUE(answer) << name << ": " << value;
      const std::string_view text(value);
      // An empty Host is legal; a Connection header is checked as a list.
      int expected = 200;
      if (view == "Content-Length" || view == "Transfer-Encoding") expected = 400;
      if (view == "Expect" && !text.empty()) expected = 417;
      if (view == "Host" && text.find_first_of("\xff\"") != std::string_view::npos) expected = 400;
      if (view == "Connection" && text.find_first_of("\xff;=\"") != std::string_view::npos) {
        expected = 400;
      }
      EXPECT_EQ(answer->status, expected) << name << ": " << value;
    }
  }
  ExpectGood(server.port());
}

// CVE-2025-52887.
TEST(HttpHostile, TenThousandHeaders) {
  TestServer server;
  std::string bytes = "GET /hello HTTP/1.1\r\nHost: h\r\n";
  for (int i = 0; i < 10'000; ++i) bytes += "A" + std::to_string(i) + ": b\r\n";
  ExpectRefused(server.port(), bytes + "\r\n", 431);
}

// CVE-2025-48956.
TEST(HttpHostile, HeaderOf64Megabytes) {
  TestServer server;
  ExpectGood(server.port());
  std::string bytes = "GET /hello HTTP/1.1\r\nHost: h\r\nA: ";
  bytes.resize(64 * kMegabyte, 'a');
  const size_t before = ResidentBytes();
  ExpectRefused(server.port(), bytes, 431);
  EXPECT_LE(ResidentBytes(), before + 4 * kMegabyte);
}

// CVE-2025-23310, CVE-2025-23311: memory for every chunk.
TEST(HttpHostile, MillionChunksOfOneByte) {
  TestServer server;
  std::string bytes = ChunkedHead();
  for (int i = 0; i < 1'000'000; ++i) bytes += "1\r\nx\r\n";
  const size_t before = ResidentBytes();
  ExpectRefused(server.port(), bytes, 413);
  EXPECT_LE(ResidentBytes(), before + 4 * kMegabyte);
}

// CVE-2025-46728: a limit that chunked bodies do not know.
TEST(HttpHostile, EndlessChunkedBody) {
  TestServer server;
  const std::string chunk = "10000\r\n" + std::string(0x10000, 'x') + "\r\n";
  ExpectGood(server.port());
  const size_t before = ResidentBytes();
  for (int attack = 0; attack < 6; ++attack) {
    {
      RawClient client(server.port());
      client.Send(ChunkedHead());
      for (int i = 0; i < 2048 && client.Send(chunk); ++i) {
      }
      const auto answer = client.Read();
      ASSERT_TRUE(answer);
      EXPECT_EQ(answer->status, 413);
    }
    ASSERT_TRUE(server.Eventually([&] { return server.server().connections() == 0; }));
    ExpectGood(server.port());
  }
  // 384 MB were taken in and given back.
  EXPECT_LE(ResidentBytes(), before + 4 * kMegabyte);
}

TEST(HttpHostile, BodiesOfAllRequestsTogether) {
  HttpServerOptions options;
  options.limits.bodies_bytes = 3 * kMegabyte;
  TestServer server(options);
  const std::string body(2 * kMegabyte, 'x');
  RawClient first(server.port());
  first.Send(Post("/hold", body));
  ASSERT_TRUE(server.Eventually([&] { return server.held.size() == 1; }));
  RawClient second(server.port());
  second.Send(Post("/hold", body));
  const auto answer = second.Read();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 503);
  EXPECT_EQ(answer->headers.at("retry-after"), "1");
  server.OnLoop([&] {
    server.held[0]->Respond({});
    server.held.clear();
  });
  EXPECT_EQ(Roundtrip(server.port(), Post("/echo", body))->status, 200);
}

TEST(HttpHostile, SlowSendersAreTimedOut) {
  HttpServerOptions options;
  options.limits.header_timeout = milliseconds(200);
  options.limits.body_timeout = milliseconds(200);
  options.limits.idle_timeout = milliseconds(400);
  TestServer server(options);
  const auto drip = [&](std::string_view start, char byte) {
    RawClient client(server.port());
    client.Send(start);
    const auto begin = steady_clock::now();
    std::thread dripper([fd = client.fd(), byte] {
      for (int i = 0; i < 100 && send(fd, &byte, 1, MSG_NOSIGNAL) == 1; ++i) {
        std::this_thread::sleep_for(milliseconds(20));
      }
    });
    const auto answer = client.Read();
    EXPECT_LT(SecondsSince(begin), 1.5);
    shutdown(client.fd(), SHUT_RDWR);
    dripper.join();
    return answer ? answer->status : 0;
  };
  EXPECT_EQ(drip("GET /hello HTTP/1.1\r\nHost: h\r\nA: ", 'a'), 408);
  EXPECT_EQ(drip("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n", 'a'), 408);
  EXPECT_EQ(drip(ChunkedHead() + "fffff\r\n", 'a'), 408);
  // Also for the second request of a connection.
  RawClient second(server.port());
  second.Send(Get("/hello") + "GET /hel");
  EXPECT_EQ(second.Read()->status, 200);
  EXPECT_EQ(second.Read()->status, 408);
  // Nothing at all: closed without a word, sooner before the first request than between two.
  RawClient silent(server.port());
  EXPECT_TRUE(silent.AtEnd());
  RawClient idle(server.port());
  idle.Send(Get("/hello"));
  ASSERT_TRUE(idle.Read());
  const auto begin = steady_clock::now();
  EXPECT_TRUE(idle.AtEnd());
  EXPECT_GT(SecondsSince(begin), 0.3);
  ExpectGood(server.port());
}

TEST(HttpHostile, SteadySenderOfALargeBodyIsNotTimedOut) {
  HttpServerOptions options;
  options.limits.body_timeout = milliseconds(300);
  TestServer server(options);
  RawClient client(server.port());
  client.Send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 20000\r\n\r\n");
  for (int i = 0; i < 10; ++i) {
    client.Send(std::string(2000, 'x'));
    std::this_thread::sleep_for(milliseconds(60));
  }
  EXPECT_EQ(client.Read()->body.size(), 20000U);
}

TEST(HttpHostile, TooManyConnections) {
  HttpServerOptions options;
  options.limits.connections = 8;
  TestServer server(options);
  std::vector<RawClient> clients;
  for (int i = 0; i < 8; ++i) clients.emplace_back(server.port());
  ASSERT_TRUE(server.Eventually([&] { return server.server().connections() == 8; }));
  {
    RawClient next(server.port());
    next.Send(Get("/hello"));
    const auto answer = next.Read();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->status, 503);
    EXPECT_EQ(answer->headers.at("retry-after"), "1");
    EXPECT_THAT(answer->body, HasSubstr("unavailable_error"));
  }
  clients.pop_back();
  ASSERT_TRUE(server.Eventually([&] { return server.server().connections() == 7; }));
  ExpectGood(server.port());
}

TEST(HttpHostile, TenThousandConnectionsOfGarbage) {
  TestServer server;
  ExpectGood(server.port());
  const size_t before = ResidentBytes();
  for (int i = 0; i < 10'000; ++i) {
    RawClient client(server.port());
    ASSERT_GE(client.fd(), 0);
    client.Send(i % 2 == 0 ? "\x01\x02 garbage\n" : "GET /hello HTTP/1.1\r\nHost: h\r\n");
    if (i % 3 == 0) client.Reset();
  }
  ASSERT_TRUE(server.Eventually([&] { return server.server().connections() == 0; }));
  ExpectGood(server.port());
  EXPECT_LE(ResidentBytes(), before + 8 * kMegabyte);
}

}  // namespace
}  // namespace folkmoot
