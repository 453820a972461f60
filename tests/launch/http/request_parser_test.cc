// SPDX-License-Identifier: Apache-2.0
#include "launch/http/request_parser.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace folkmoot {
namespace {

using ::testing::HasSubstr;
using State = RequestParser::State;

struct Parsed {
  int refused = 0;  // status
  std::string message;
  HttpRequest request;
  bool done = false;
  size_t used = 0;
};

// Feeds pieces of `piece` bytes, as a socket would.
Parsed Parse(std::string_view bytes, size_t piece = std::string_view::npos,
             const HttpLimits& limits = {}) {
  RequestParser parser(limits);
  Parsed parsed;
  while (parsed.used < bytes.size()) {
    parsed.used += parser.Feed(bytes.substr(parsed.used, piece));
    if (parser.state() == State::kHeadDone) parser.AcceptBody();
    if (parser.state() == State::kRefused) {
      parsed.refused = parser.refusal().status;
      parsed.message = parser.refusal().body;
      return parsed;
    }
    if (parser.state() == State::kDone) {
      parsed.done = true;
      parsed.request = parser.TakeRequest();
      return parsed;
    }
  }
  return parsed;
}

std::string Chunked(std::string_view body) {
  return fmt::format("POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{}", body);
}

std::string WithHeader(std::string_view line) {
  return fmt::format("POST /x HTTP/1.1\r\nHost: h\r\n{}\r\n\r\n", line);
}

TEST(RequestParser, SameResultInPiecesOfAnySize) {
  const std::string bytes =
      "POST /a%20b?q=%20 HTTP/1.1\r\nHost: h\r\nX-Two:  b \r\nTransfer-Encoding: chunked\r\n\r\n"
      "5\r\nhello\r\n00a;x=\"y\"\r\n, chunks!\n\r\n0\r\nTrailer: ignored\r\n\r\nGET /next";
  for (size_t piece = 1; piece < bytes.size(); ++piece) {
    const Parsed parsed = Parse(bytes, piece);
    ASSERT_TRUE(parsed.done) << piece << " " << parsed.message;
    EXPECT_EQ(parsed.request.method, "POST");
    EXPECT_EQ(parsed.request.path, "/a b");
    EXPECT_EQ(parsed.request.query, "q=%20");
    EXPECT_EQ(parsed.request.Header("x-two"), "b");
    EXPECT_EQ(parsed.request.Header("trailer"), "");
    EXPECT_EQ(parsed.request.body, "hello, chunks!\n");
    EXPECT_EQ(parsed.used, bytes.size() - std::string_view("GET /next").size());
  }
}

TEST(RequestParser, OneEmptyLineBeforeARequestIsForgiven) {
  EXPECT_TRUE(Parse("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n").done);
  EXPECT_EQ(Parse("\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n").refused, 400);
}

TEST(RequestParser, ChunkSizes) {
  EXPECT_TRUE(Parse(Chunked("000000000000000a\r\n0123456789\r\n0\r\n\r\n")).done);  // 16 digits
  for (const char* bad :
       {"-2\r\n", "+2\r\nab\r\n", " 2\r\nab\r\n", "2 \r\nab\r\n", "2\t\r\nab\r\n", "0x2\r\nab\r\n",
        "\r\n", ";x\r\n", "g\r\n", "2\nab\r\n", "2\rab", "00000000000000002\r\nab\r\n",
        "10000000000000000\r\n", "fffffffffffffffff\r\n", "2\r\nabc\r\n", "2\r\nab\n",
        "2\r\nab\r\r\n", "2;a\x01\r\nab\r\n", "2;a\nb\r\nab\r\n"}) {
    EXPECT_EQ(Parse(Chunked(bad)).refused, 400) << bad;
    EXPECT_EQ(Parse(Chunked(std::string("1\r\nx\r\n") + bad)).refused, 400) << bad;
  }
  EXPECT_EQ(Parse(Chunked("2;" + std::string(10'000, 'e'))).refused, 400);
  for (const char* huge : {"ffffffffffffffff\r\n", "7fffffffffffffff\r\n", "80000000\r\n"}) {
    EXPECT_EQ(Parse(Chunked(huge)).refused, 413) << huge;
    // The sum must not wrap round.
    EXPECT_EQ(Parse(Chunked(std::string("1\r\nx\r\n") + huge)).refused, 413) << huge;
  }
}

TEST(RequestParser, Trailers) {
  EXPECT_TRUE(Parse(Chunked("0\r\nA: b\r\nC: d\r\n\r\n")).done);
  for (const char* bad :
       {"0\r\nA: b\nC: d\r\n\r\n", "0\r\n A: b\r\n\r\n", "0\r\n\rX", "0\r\nA\x01"}) {
    EXPECT_EQ(Parse(Chunked(bad)).refused, 400) << bad;
  }
  EXPECT_EQ(Parse(Chunked("0\r\nA: " + std::string(70'000, 'x'))).refused, 431);
}

TEST(RequestParser, LimitsOfBodies) {
  HttpLimits limits;
  limits.body_bytes = 10;
  limits.chunk_count = 3;
  const auto parse = [&](const std::string& bytes) { return Parse(bytes, 7, limits); };
  EXPECT_TRUE(parse("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n0123456789").done);
  EXPECT_EQ(parse("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n").refused, 413);
  EXPECT_TRUE(parse(Chunked("5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n")).done);
  EXPECT_EQ(parse(Chunked("5\r\n01234\r\n6\r\n")).refused, 413);
  EXPECT_TRUE(parse(Chunked("1\r\na\r\n1\r\na\r\n1\r\na\r\n0\r\n\r\n")).done);
  EXPECT_EQ(parse(Chunked("1\r\na\r\n1\r\na\r\n1\r\na\r\n1\r\n")).refused, 413);
}

TEST(RequestParser, LimitsOfHeads) {
  HttpLimits limits;
  limits.header_bytes = 1000;
  limits.header_count = 3;
  const auto parse = [&](const std::string& bytes) { return Parse(bytes, 7, limits); };
  EXPECT_TRUE(parse("GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\nB: 2\r\n\r\n").done);
  EXPECT_EQ(parse("GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n").refused, 431);
  EXPECT_EQ(parse("GET /" + std::string(1000, 'a')).refused, 431);
  EXPECT_EQ(parse("GET / HTTP/1.1\r\nHost: h\r\nA: " + std::string(1000, 'a')).refused, 431);
}

TEST(RequestParser, WhatCouldBeReadInTwoWays) {
  for (const char* line : {"Content-Length: 1\r\nTransfer-Encoding: chunked",
                           "Transfer-Encoding: chunked\r\nContent-Length: 1",
                           "Content-Length: 1\r\nContent-Length: 2",
                           "Content-Length: 1\r\nContent-Length: 1",
                           "Content-Length: 1, 1",
                           "Content-Length: +1",
                           "Content-Length: -1",
                           "Content-Length: 0x1",
                           "Content-Length: 1 1",
                           "Content-Length: 1.0",
                           "Content-Length:",
                           "Content-Length: ,",
                           "Content-Length: \xff",
                           "Content-Length: 18446744073709551617",
                           "Content-Length: 99999999999999999999999",
                           "Transfer-Encoding: gzip",
                           "Transfer-Encoding: gzip, chunked",
                           "Transfer-Encoding: chunked, chunked",
                           "Transfer-Encoding: identity",
                           "Transfer-Encoding:",
                           "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
                           "Transfer-Encoding: xchunked",
                           "Transfer-Encoding: \"chunked\"",
                           "Transfer-Encoding: \x0b"
                           "chunked",
                           "Transfer-Encoding : chunked",
                           " Folded: start",
                           "A: b\r\n folded",
                           "A: b\r\n\tfolded",
                           "A: b\nC: d",
                           "A: b\rC: d",
                           "A",
                           ": b",
                           "A b: c",
                           "A: \x01",
                           "\xff: a",
                           "Host: other",
                           "Authorization: Bearer a\r\nAuthorization: Bearer b"}) {
    EXPECT_EQ(Parse(WithHeader(line)).refused, 400) << line;
  }
  EXPECT_EQ(Parse(WithHeader(std::string_view("A: \0b", 5))).refused, 400);
  EXPECT_EQ(Parse("GET / HTTP/1.1\nHost: h\n\n").refused, 400);
  EXPECT_EQ(Parse("GET / HTTP/1.1\r\n\r\n").refused, 400);  // no Host
  EXPECT_EQ(Parse("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").refused, 400);
  EXPECT_EQ(Parse(WithHeader("Expect: a miracle")).refused, 417);
}

TEST(RequestParser, RequestLines) {
  EXPECT_TRUE(Parse("GET / HTTP/1.0\r\n\r\n").done);
  EXPECT_EQ(Parse("GET http://h/p?q HTTP/1.1\r\nHost: h\r\n\r\n").request.path, "/p");
  EXPECT_EQ(Parse("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").request.path, "*");
  for (const char* line : {"GET / HTTP/2.0",           "GET / HTTP/1.2",
                           "GET / http/1.1",           "GET /",
                           "GET  / HTTP/1.1",          "/ HTTP/1.1",
                           "GET / HTTP/1.1 ",          "GET /a b HTTP/1.1",
                           "G\x01T / HTTP/1.1",        "GET \x01 HTTP/1.1",
                           "GET a HTTP/1.1",           "GET ftp://h/ HTTP/1.1",
                           "CONNECT h:1 HTTP/1.1",     "PRI * HTTP/2.0",
                           "GET /%00 HTTP/1.1",        "GET /%0a HTTP/1.1",
                           "GET /%zz HTTP/1.1",        "GET /% HTTP/1.1",
                           "GET /%4 HTTP/1.1",         "GET /../etc HTTP/1.1",
                           "GET /a/%2e%2e/b HTTP/1.1", "GET /.%2e HTTP/1.1",
                           "GET /a/./b HTTP/1.1",      "GET /a%5cb HTTP/1.1",
                           "GET /%ff HTTP/1.1",        "GET /%c0%ae HTTP/1.1",
                           "GET /%ed%a0%80 HTTP/1.1",  "GET /a#b HTTP/1.1",
                           "\x16\x03\x01\x02"}) {
    EXPECT_EQ(Parse(std::string(line) + "\r\nHost: h\r\n\r\n").refused, 400) << line;
  }
  // Decoded once, not twice; "..." is a name like others.
  EXPECT_EQ(Parse("GET /a%252e/%C3%A4/... HTTP/1.1\r\nHost: h\r\n\r\n").request.path,
            "/a%2e/\xc3\xa4/...");
}

TEST(RequestParser, RefusalsAreOpenAiErrors) {
  EXPECT_THAT(Parse("nonsense\r\n\r\n").message,
              HasSubstr("{\"error\":{\"message\":\"the request line"));
}

// Whatever comes: no crash, bounded memory, and bytes are taken until the request ends.
TEST(RequestParser, RandomBytes) {
  std::string alphabet = "\r\n\r\n\r\n :;,/%\xff\x7fGETPOST HTTP/1.1chunked0123fF";
  alphabet.push_back('\0');
  HttpLimits limits;
  limits.body_bytes = 64;
  std::mt19937 random(1);
  for (size_t round = 0; round < 20'000; ++round) {
    std::string bytes = round % 2 == 0 ? Chunked("") : "POST /x HTTP/1.1\r\nHost: h\r\n";
    for (size_t i = random() % 60; i > 0; --i) bytes += alphabet[random() % alphabet.size()];
    const Parsed parsed = Parse(bytes, 1 + round % 13, limits);
    EXPECT_LE(parsed.request.body.size(), limits.body_bytes);
    EXPECT_TRUE(parsed.refused == 0 || (parsed.refused >= 400 && parsed.refused <= 431));
  }
}

}  // namespace
}  // namespace folkmoot
