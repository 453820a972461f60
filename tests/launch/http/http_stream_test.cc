// SPDX-License-Identifier: Apache-2.0
// Clients that leave, and clients that read slowly or not at all.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "launch/http/http_server.h"
#include "tests/launch/http/raw_client.h"
#include "tests/launch/http/test_server.h"

namespace folkmoot {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

double SecondsSince(steady_clock::time_point start) {
  return std::chrono::duration<double>(steady_clock::now() - start).count();
}

enum class Leaving { kClose, kReset, kHalfClose };

class ClientLeaves : public ::testing::TestWithParam<std::tuple<const char*, Leaving>> {};

// Streaming or not: the handler hears of it at once, not with the next write.
TEST_P(ClientLeaves, IsNoticedAtOnce) {
  const auto [path, how] = GetParam();
  TestServer server;
  RawClient client(server.port());
  client.Send(Get(path));
  ASSERT_TRUE(server.Eventually([&] { return server.held.size() == 1; }));
  const auto begin = steady_clock::now();
  std::optional<RawClient> moved(std::move(client));
  if (how == Leaving::kReset) moved->Reset();
  if (how == Leaving::kHalfClose) moved->FinishSending();
  if (how == Leaving::kClose) moved.reset();
  ASSERT_TRUE(server.Eventually([&] { return server.gone == 1; }));
  EXPECT_LT(SecondsSince(begin), 1.0);
  // What the handler still does with the exchange does no harm.
  server.OnLoop([&] {
    server.held[0]->Write("data: late\n\n");
    EXPECT_EQ(server.held[0]->unsent(), 0U);
    server.held[0]->EndStream();
    server.held[0]->Respond({});
  });
  EXPECT_EQ(server.gone, 1);
  EXPECT_TRUE(server.Eventually([&] { return server.server().connections() == 0; }));
  EXPECT_EQ(Roundtrip(server.port(), Get("/hello"))->body, "hello");
}

INSTANTIATE_TEST_SUITE_P(Http, ClientLeaves,
                         ::testing::Combine(::testing::Values("/stream", "/hold"),
                                            ::testing::Values(Leaving::kClose, Leaving::kReset,
                                                              Leaving::kHalfClose)));

TEST(HttpStream, OnGoneAfterTheClientHasGone) {
  TestServer server;
  {
    RawClient client(server.port());
    client.Send(Get("/hold"));
    ASSERT_TRUE(server.Eventually([&] { return server.held.size() == 1; }));
  }
  ASSERT_TRUE(server.Eventually([&] { return server.gone == 1; }));
  bool told = false;
  server.OnLoop([&] {
    server.held[0]->OnGone([&] { told = true; });
    EXPECT_FALSE(told);  // never from inside
  });
  EXPECT_TRUE(server.Eventually([&] { return told; }));
}

// A client that has sent its last request and says so gets the answers that are ready.
TEST(HttpStream, HalfCloseAfterCompleteRequests) {
  TestServer server;
  RawClient client(server.port());
  client.Send(Get("/hello") + Get("/three") + Post("/echo", "last"));
  client.FinishSending();
  EXPECT_EQ(client.Read()->body, "hello");
  EXPECT_EQ(client.Read()->body.size(), 32U);
  EXPECT_EQ(client.Read()->body, "last");
  EXPECT_TRUE(client.AtEnd());
}

TEST(HttpStream, HalfCloseWithinARequest) {
  TestServer server;
  RawClient client(server.port());
  client.Send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf");
  client.FinishSending();
  EXPECT_TRUE(client.AtEnd());
  EXPECT_TRUE(server.Eventually([&] { return server.server().connections() == 0; }));
}

TEST(HttpStream, EventsArriveOneByOne) {
  TestServer server;
  RawClient client(server.port());
  client.Send(Get("/stream"));
  ASSERT_TRUE(client.ReadHead());
  for (const char* event : {"data: a\n\n", "data: b\n\n"}) {
    server.OnLoop([&] { server.held[0]->Write(event); });
    EXPECT_EQ(client.ReadUntil("\n\n\r\n"), std::string("9\r\n") + event + "\r\n");
  }
  server.OnLoop([&] { server.held[0]->EndStream(); });
  EXPECT_EQ(client.ReadUntil("\r\n\r\n"), "0\r\n\r\n");
  EXPECT_EQ(server.gone, 0);
}

// Writes into a stream that nobody reads until the exchange says that the client is gone.
size_t WriteUntilGone(TestServer& server, size_t event_bytes) {
  size_t most = 0;
  const std::string event(event_bytes, 'x');
  EXPECT_TRUE(server.Eventually([&] {
    for (int i = 0; i < 64 && server.gone == 0; ++i) server.held[0]->Write(event);
    most = std::max(most, server.held[0]->unsent());
    return server.gone == 1;
  }));
  return most;
}

TEST(HttpStream, ReaderThatReadsNothingIsCutOffAtTheLimit) {
  HttpServerOptions options;
  options.limits.unsent_bytes = 1 << 20;
  TestServer server(options);
  RawClient client(server.port(), 4096);
  client.Send(Get("/stream"));
  ASSERT_TRUE(server.Eventually([&] { return server.held.size() == 1; }));
  const size_t before = ResidentBytes();
  const size_t most = WriteUntilGone(server, 4096);
  EXPECT_GT(most, size_t{512} << 10);
  EXPECT_LT(most, size_t{2} << 20);
  EXPECT_LE(ResidentBytes(), before + (size_t{8} << 20));
  EXPECT_TRUE(server.Eventually([&] { return server.server().connections() == 0; }));
  EXPECT_EQ(Roundtrip(server.port(), Get("/hello"))->body, "hello");
}

TEST(HttpStream, ReaderThatTakesNothingForTooLongIsCutOff) {
  HttpServerOptions options;
  options.limits.write_timeout = milliseconds(300);
  TestServer server(options);
  RawClient stalled(server.port(), 4096);
  stalled.Send(Get("/big"));  // not a stream: no limit but time
  ASSERT_TRUE(server.Eventually([&] { return server.server().connections() == 1; }));
  const auto begin = steady_clock::now();
  EXPECT_TRUE(server.Eventually([&] { return server.server().connections() == 0; }));
  EXPECT_GT(SecondsSince(begin), 0.2);
  EXPECT_LT(SecondsSince(begin), 3.0);
}

TEST(HttpStream, SlowReaderThatReadsOnGetsEverything) {
  HttpServerOptions options;
  options.limits.write_timeout = milliseconds(1000);
  TestServer server(options);
  RawClient client(server.port(), 65536);
  client.Send(Get("/big"));
  auto head = client.ReadHead();
  ASSERT_TRUE(head);
  size_t read = 0;
  std::string buffer(256 << 10, '\0');
  while (read + 20'000 < size_t{8} << 20) {  // ReadHead may have taken the first bytes
    const ssize_t count = recv(client.fd(), buffer.data(), buffer.size(), 0);
    if (count <= 0) break;
    read += static_cast<size_t>(count);
    if (read < size_t{256} << 10) std::this_thread::sleep_for(milliseconds(20));
  }
  EXPECT_GE(read + 20'000, size_t{8} << 20);
}

// An open stream that says nothing for longer than any deadline stays open.
TEST(HttpStream, SilentStreamsStayOpen) {
  HttpServerOptions options;
  options.limits.header_timeout = options.limits.body_timeout = milliseconds(100);
  options.limits.idle_timeout = options.limits.write_timeout = milliseconds(100);
  TestServer server(options);
  RawClient client(server.port());
  client.Send(Get("/stream"));
  ASSERT_TRUE(client.ReadHead());
  std::this_thread::sleep_for(milliseconds(500));
  EXPECT_EQ(server.gone, 0);
  server.OnLoop([&] { server.held[0]->Write("x"); });
  EXPECT_EQ(client.ReadUntil("x\r\n"), "1\r\nx\r\n");
}

// 1,000 streams on the one thread, ten events each. Prints what it cost; for the
// memory run it alone (--gtest_filter), else earlier tests have left some to use.
TEST(HttpStream, AThousandStreams) {
  constexpr size_t kStreams = 1000;
  constexpr int kEvents = 10;
  TestServer server;
  ASSERT_EQ(Roundtrip(server.port(), Get("/hello"))->body, "hello");
  const size_t before = ResidentBytes();
  const auto begin = steady_clock::now();
  std::vector<RawClient> clients;
  clients.reserve(kStreams);
  for (size_t i = 0; i < kStreams; ++i) {
    clients.emplace_back(server.port());
    ASSERT_TRUE(clients.back().Send(Get("/stream")));
  }
  double worst_head = 0;
  for (RawClient& client : clients) ASSERT_TRUE(client.ReadHead());
  worst_head = SecondsSince(begin);
  double worst_event = 0;
  const std::string event =
      "data: {\"id\":\"cmpl-1\",\"choices\":[{\"index\":0,\"text\":\" a\"}]}\n\n";
  for (int round = 0; round < kEvents; ++round) {
    const auto sent = steady_clock::now();
    server.OnLoop([&] {
      for (const auto& exchange : server.held) exchange->Write(event);
    });
    for (RawClient& client : clients) ASSERT_NE(client.ReadUntil("\n\n\r\n"), "");
    worst_event = std::max(worst_event, SecondsSince(sent));
    std::this_thread::sleep_for(milliseconds(20));
  }
  const size_t grown = ResidentBytes() - before;
  std::printf("%zu streams: worst head %.3f s, worst event %.3f s, memory %.1f MB (clients too)\n",
              kStreams, worst_head, worst_event, static_cast<double>(grown) / 1e6);
  EXPECT_LT(worst_head, 5.0);
  EXPECT_LT(worst_event, 2.0);
  EXPECT_LT(grown, size_t{64} << 20);
  clients.clear();
  EXPECT_TRUE(server.Eventually([&] { return server.gone == static_cast<int>(kStreams); }));
  EXPECT_TRUE(server.Eventually([&] { return server.server().connections() == 0; }));
}

// Prints the cost of a trivial request.
TEST(HttpStream, RequestsPerSecond) {
  TestServer server;
  const std::string request = Get("/hello");
  for (const size_t connections : {size_t{1}, size_t{64}}) {
    std::vector<RawClient> clients;
    for (size_t i = 0; i < connections; ++i) clients.emplace_back(server.port());
    const size_t rounds = 3200 / connections;
    const auto begin = steady_clock::now();
    for (size_t round = 0; round < rounds; ++round) {
      for (RawClient& client : clients) client.Send(request);
      for (RawClient& client : clients) ASSERT_EQ(client.Read()->body, "hello");
    }
    std::printf("%.0f requests/s on %zu connection(s)\n",
                static_cast<double>(rounds * connections) / SecondsSince(begin), connections);
  }
}

}  // namespace
}  // namespace folkmoot
