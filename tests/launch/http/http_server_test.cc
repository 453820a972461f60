// SPDX-License-Identifier: Apache-2.0
// What a well-behaved client sees.
#include "launch/http/http_server.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>

#include "tests/launch/http/raw_client.h"
#include "tests/launch/http/test_server.h"

namespace folkmoot {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Key;
using ::testing::Not;
using ::testing::StartsWith;

TEST(HttpServer, AnswersAndKeepsTheConnection) {
  TestServer server;
  RawClient client(server.port());
  for (int i = 0; i < 3; ++i) {
    client.Send(Get("/hello"));
    const auto answer = client.Read();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->status, 200);
    EXPECT_EQ(answer->body, "hello");
    EXPECT_EQ(answer->headers.at("content-type"), "text/plain");
    EXPECT_EQ(answer->headers.at("server"), "folkmoot");
    EXPECT_THAT(answer->headers, AllOf(Contains(Key("date")), Not(Contains(Key("connection")))));
  }
  client.Send(Get("/hello", "Connection: close\r\n"));
  EXPECT_EQ(client.Read()->headers.at("connection"), "close");
  EXPECT_TRUE(client.AtEnd());
}

TEST(HttpServer, HandlerSeesTheRequest) {
  TestServer server;
  const auto answer = Roundtrip(server.port(), Get("/request?a=b%20c", "X-Some: Value\r\n"));
  EXPECT_EQ(answer->body, "GET\n/request\na=b%20c\n127.0.0.1\nhost=test\nx-some=Value\n");
  EXPECT_THAT(Roundtrip(server.port(), Get("/any/org%2Fmodel"))->body,
              StartsWith("GET\n/any/org/model\n"));
}

TEST(HttpServer, BodiesOfBothKinds) {
  TestServer server;
  const std::string body(3 << 20, 'b');
  EXPECT_EQ(Roundtrip(server.port(), Post("/echo", body))->body, body);
  EXPECT_EQ(Roundtrip(server.port(), Post("/echo", ""))->body, "");
  const std::string chunked =
      "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n"
      "0\r\n\r\n";
  EXPECT_EQ(Roundtrip(server.port(), chunked)->body, "abcde");
}

TEST(HttpServer, PipelinedRequestsAreAnsweredInOrder) {
  TestServer server;
  RawClient client(server.port());
  client.Send(Get("/three") + Post("/echo", "two") + Get("/nowhere") + Get("/hello"));
  EXPECT_EQ(client.Read()->body, "data: 1\n\ndata: 2\n\ndata: [DONE]\n\n");
  EXPECT_EQ(client.Read()->body, "two");
  EXPECT_EQ(client.Read()->status, 404);
  EXPECT_EQ(client.Read()->body, "hello");
}

TEST(HttpServer, PipelinedRequestWaitsForTheOneBefore) {
  TestServer server;
  RawClient client(server.port());
  client.Send(Get("/hold") + Get("/hello"));
  ASSERT_TRUE(server.Eventually([&] { return server.held.size() == 1; }));
  server.OnLoop([&] { server.held[0]->Respond({.body = "first"}); });
  EXPECT_EQ(client.Read()->body, "first");
  EXPECT_EQ(client.Read()->body, "hello");
}

TEST(HttpServer, HeadHasNoBody) {
  TestServer server;
  RawClient client(server.port());
  client.Send("HEAD /hello HTTP/1.1\r\nHost: h\r\n\r\n" + std::string() +
              "HEAD /nowhere HTTP/1.1\r\nHost: h\r\n\r\n" + Get("/hello"));
  const auto head = client.Read(true);
  EXPECT_EQ(head->status, 200);
  EXPECT_EQ(head->headers.at("content-length"), "5");
  EXPECT_EQ(client.Read(true)->status, 404);
  EXPECT_EQ(client.Read()->body, "hello");
}

TEST(HttpServer, HeadOfAStreamEndsItAtOnce) {
  TestServer server;
  RawClient client(server.port());
  client.Send("HEAD /stream HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(client.Read(true)->headers.at("transfer-encoding"), "chunked");
  EXPECT_TRUE(server.Eventually([&] { return server.gone == 1; }));
  client.Send(Get("/hello"));
  EXPECT_EQ(client.Read()->body, "hello");
}

TEST(HttpServer, Http10GetsAnUnframedStream) {
  TestServer server;
  const auto answer = Roundtrip(server.port(), "GET /three HTTP/1.0\r\n\r\n");
  EXPECT_THAT(answer->headers, Not(Contains(Key("transfer-encoding"))));
  EXPECT_EQ(answer->body, "data: 1\n\ndata: 2\n\ndata: [DONE]\n\n");
}

TEST(HttpServer, StreamsAreNotCached) {
  TestServer server;
  const auto answer = Roundtrip(server.port(), Get("/three"));
  EXPECT_EQ(answer->headers.at("content-type"), "text/event-stream");
  EXPECT_EQ(answer->headers.at("cache-control"), "no-cache");
}

TEST(HttpServer, ContinueOnlyWhenTheBodyIsWanted) {
  TestServer server;
  const std::string head =
      " HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
  RawClient client(server.port());
  client.Send("POST /echo" + head);
  EXPECT_EQ(client.ReadUntil("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.Send("abc");
  EXPECT_EQ(client.Read()->body, "abc");
  RawClient refused(server.port());
  refused.Send("POST /nowhere" + head);
  EXPECT_THAT(refused.ReadUntil("\r\n\r\n"), StartsWith("HTTP/1.1 404"));
}

TEST(HttpServer, RequestIds) {
  TestServer server;
  const auto id = [&](std::string_view headers) {
    return Roundtrip(server.port(), Get("/hello", headers))->headers.at("x-request-id");
  };
  EXPECT_EQ(id("X-Request-Id: mine-1\r\n"), "mine-1");
  const std::string fresh = id("");
  EXPECT_EQ(fresh.size(), 32U);
  EXPECT_NE(id(""), fresh);
  EXPECT_EQ(id("X-Request-Id: " + std::string(129, 'x') + "\r\n").size(), 32U);
  EXPECT_EQ(id("X-Request-Id: a b\r\n").size(), 32U);
  EXPECT_EQ(
      Roundtrip(server.port(), Get("/nowhere", "X-Request-Id: e\r\n"))->headers.at("x-request-id"),
      "e");
}

TEST(HttpServer, UnknownPathsAndMethods) {
  TestServer server;
  const auto unknown = Roundtrip(server.port(), Get("/nowhere"));
  EXPECT_EQ(unknown->status, 404);
  EXPECT_THAT(unknown->body, HasSubstr("not_found_error"));
  const auto method = Roundtrip(server.port(), "DELETE /hold HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(method->status, 405);
  EXPECT_EQ(method->headers.at("allow"), "GET, HEAD, POST");
  for (const char* verb : {"OPTIONS", "TRACE", "BREW", "get"}) {
    EXPECT_EQ(
        Roundtrip(server.port(), std::string(verb) + " /hello HTTP/1.1\r\nHost: h\r\n\r\n")->status,
        405);
  }
}

TEST(HttpServer, KeysGuardEveryRouteThatIsNotOpen) {
  TestServer server({.api_keys = {"sk-secret"}});
  const std::string key = "Authorization: Bearer sk-secret\r\n";
  size_t guarded = 0;
  for (const Route& route : server.server().routes()) {
    const std::string line = route.method + " " + route.path + " HTTP/1.1\r\nHost: h\r\n";
    if (route.open) continue;
    ++guarded;
    for (const char* wrong :
         {"", "Authorization: Bearer sk-secre\r\n", "Authorization: sk-secret\r\n",
          "Authorization:\r\n", "Authorization: Bearer \xff\r\n"}) {
      const auto answer = Roundtrip(server.port(), line + wrong + "\r\n");
      EXPECT_EQ(answer->status, 401) << line;
      EXPECT_EQ(answer->headers.at("www-authenticate"), "Bearer");
      EXPECT_THAT(answer->body, HasSubstr("\"code\":\"invalid_api_key\""));
      EXPECT_THAT(answer->body, Not(HasSubstr("sk-secret")));
    }
  }
  EXPECT_GE(guarded, 10U);
  EXPECT_EQ(Roundtrip(server.port(), Get("/nowhere"))->status, 401);
  EXPECT_EQ(Roundtrip(server.port(), "PUT /open HTTP/1.1\r\nHost: h\r\n\r\n")->status, 401);
  EXPECT_EQ(Roundtrip(server.port(), Get("/open"))->status, 200);
  EXPECT_EQ(Roundtrip(server.port(), Get("/hello", key))->body, "hello");
  EXPECT_EQ(Roundtrip(server.port(), Get("/nowhere", key))->status, 404);
}

TEST(HttpServer, WithoutTheKeyNoBodyIsRead) {
  TestServer server({.api_keys = {"k"}});
  RawClient client(server.port());
  client.Send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 60000000\r\n\r\nfirst bytes");
  EXPECT_EQ(client.Read()->status, 401);
}

TEST(HttpServer, NoCorsUnlessAskedFor) {
  TestServer server;
  const auto answer = Roundtrip(server.port(), Get("/hello", "Origin: http://site\r\n"));
  EXPECT_THAT(answer->headers, Not(Contains(Key("access-control-allow-origin"))));
  EXPECT_EQ(Roundtrip(server.port(),
                      "OPTIONS /hello HTTP/1.1\r\nHost: h\r\nOrigin: http://site\r\n"
                      "Access-Control-Request-Method: POST\r\n\r\n")
                ->status,
            405);
}

TEST(HttpServer, CorsForTheNamedOrigins) {
  TestServer server({.api_keys = {"k"}, .cors_origins = {"http://site"}});
  const auto preflight = [&](std::string_view origin) {
    return *Roundtrip(server.port(), fmt::format("OPTIONS /echo HTTP/1.1\r\nHost: h\r\nOrigin: {}"
                                                 "\r\nAccess-Control-Request-Method: POST\r\n"
                                                 "Access-Control-Request-Headers: x-a\r\n\r\n",
                                                 origin));
  };
  const RawResponse good = preflight("http://site");
  EXPECT_EQ(good.status, 204);
  EXPECT_EQ(good.headers.at("access-control-allow-origin"), "http://site");
  EXPECT_EQ(good.headers.at("access-control-allow-headers"), "x-a");
  EXPECT_THAT(preflight("http://evil").headers, Not(Contains(Key("access-control-allow-origin"))));
  const auto answer =
      Roundtrip(server.port(), Get("/hello", "Origin: http://site\r\nAuthorization: Bearer k\r\n"));
  EXPECT_EQ(answer->headers.at("access-control-allow-origin"), "http://site");
  EXPECT_EQ(answer->headers.at("vary"), "Origin");
  // A browser shows the page the error only with the header.
  EXPECT_EQ(Roundtrip(server.port(), Get("/hello", "Origin: http://site\r\n"))
                ->headers.at("access-control-allow-origin"),
            "http://site");
}

TEST(HttpServer, HandlersThatFail) {
  TestServer server;
  for (const char* path : {"/forget", "/throw"}) {
    const auto answer = Roundtrip(server.port(), Get(path));
    EXPECT_EQ(answer->status, 500);
    EXPECT_EQ(answer->headers.at("x-should-retry"), "false");
    EXPECT_THAT(answer->body, Not(HasSubstr("library")));
  }
  RawClient client(server.port());
  client.Send(Get("/stream"));
  ASSERT_TRUE(client.ReadHead());
  server.OnLoop([&] { server.held.clear(); });
  EXPECT_TRUE(client.AtEnd());  // no last chunk: the client sees the break
  EXPECT_EQ(Roundtrip(server.port(), Get("/hello"))->body, "hello");
}

TEST(HttpServer, CallsAfterTheAnswerDoNothing) {
  TestServer server;
  RawClient client(server.port());
  client.Send(Get("/hold"));
  ASSERT_TRUE(server.Eventually([&] { return server.held.size() == 1; }));
  server.OnLoop([&] {
    server.held[0]->Respond({.body = "one"});
    server.held[0]->Respond({.body = "two"});
    server.held[0]->BeginStream("text/event-stream");
    server.held[0]->Write("three");
    server.held[0]->EndStream();
  });
  EXPECT_EQ(client.Read()->body, "one");
  client.Send(Get("/hello"));
  EXPECT_EQ(client.Read()->body, "hello");
}

TEST(HttpServer, PortInUseIsNamed) {
  TestServer server;
  IoLoop loop;
  const auto second = HttpServer::Start(loop, {.port = server.port()}, {});
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(std::string(Message(second.status())),
              HasSubstr("127.0.0.1:" + std::to_string(server.port())));
  EXPECT_FALSE(HttpServer::Start(loop, {.host = "999.1.1.1", .port = 0}, {}).ok());
}

TEST(HttpServer, DrainFinishesWhatIsUnderWay) {
  TestServer server;
  RawClient idle(server.port());
  idle.Send(Get("/hello"));
  ASSERT_TRUE(idle.Read());
  RawClient stream(server.port());
  stream.Send(Get("/stream"));
  RawClient held(server.port());
  held.Send(Get("/hold"));
  ASSERT_TRUE(server.Eventually([&] { return server.held.size() == 2; }));
  server.OnLoop([&] { server.server().Drain(); });
  EXPECT_TRUE(idle.AtEnd());
  EXPECT_EQ(RawClient(server.port()).fd(), -1);  // connection refused
  server.OnLoop([&] {
    for (const auto& exchange : server.held) {
      exchange->Write("data: last\n\n");
      exchange->EndStream();
      exchange->Respond({.body = "answer"});
    }
  });
  EXPECT_EQ(stream.Read()->body, "data: last\n\n");
  EXPECT_TRUE(stream.AtEnd());
  const auto answer = held.Read();
  EXPECT_EQ(answer->body, "answer");
  EXPECT_EQ(answer->headers.at("connection"), "close");
  EXPECT_TRUE(held.AtEnd());
  EXPECT_EQ(server.gone, 0);
}

TEST(HttpServer, SamePortAgainAtOnce) {
  uint16_t port = 0;
  {
    TestServer server;
    port = server.port();
    RawClient client(port);
    client.Send(Get("/stream"));
    client.ReadHead();
  }
  IoLoop loop;
  EXPECT_TRUE(HttpServer::Start(loop, {.port = port}, {}).ok());
}

TEST(IoLoop, TasksInOrderAndTimersThatAreLetGo) {
  IoLoop loop;
  std::string order;
  loop.Post([&] { order += "a"; });
  loop.Post([&] { order += "b"; });
  const auto kept = loop.After(std::chrono::milliseconds(1), [&] { order += "c"; });
  auto gone = loop.After(std::chrono::milliseconds(1), [&] { order += "X"; });
  loop.Post([&] { gone.reset(); });
  const auto end = loop.After(std::chrono::milliseconds(30), [&] { loop.Stop(); });
  loop.Run();
  EXPECT_EQ(order, "abc");
}

TEST(IoLoop, SignalsArriveOnTheLoop) {
  IoLoop loop;
  std::vector<int> signals;
  loop.CatchSignals([&](int number) {
    signals.push_back(number);
    if (signals.size() == 3) loop.Stop();
    if (signals.size() < 3) std::raise(signals.size() == 1 ? SIGINT : SIGTERM);
  });
  std::raise(SIGTERM);
  loop.Run();
  EXPECT_EQ(signals, (std::vector<int>{SIGTERM, SIGINT, SIGTERM}));
}

}  // namespace
}  // namespace folkmoot
