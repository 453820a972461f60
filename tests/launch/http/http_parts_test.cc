// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/http/api_keys.h"
#include "launch/http/http.h"
#include "launch/http/request_target.h"
#include "launch/http/response_text.h"
#include "launch/http/router.h"
#include "launch/http/sha256.h"

namespace folkmoot {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Hex(const Digest256& digest) {
  std::string text;
  for (const uint8_t byte : digest) text += fmt::format("{:02x}", byte);
  return text;
}

// The examples of FIPS 180-2 and of RFC 4231 (cases 1 and 2, their keys filled up with zeros).
TEST(Sha256, KnownAnswers) {
  EXPECT_EQ(Hex(Sha256("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Hex(Sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Hex(Sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(Hex(Sha256(std::string(1'000'000, 'a'))),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  Digest256 key{};
  for (size_t i = 0; i < 20; ++i) key[i] = 0x0b;
  EXPECT_EQ(Hex(HmacSha256(key, "Hi There")),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  key = {'J', 'e', 'f', 'e'};
  EXPECT_EQ(Hex(HmacSha256(key, "what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

TEST(ApiKeys, Bearer) {
  const ApiKeys none({});
  EXPECT_TRUE(none.Allows(""));
  const ApiKeys keys({"sk-one", "sk-two"});
  for (const char* good : {"Bearer sk-one", "Bearer sk-two", "bearer sk-one", "BEARER  sk-two"}) {
    EXPECT_TRUE(keys.Allows(good)) << good;
  }
  for (const char* bad :
       {"", "Bearer", "Bearer ", "sk-one", "Basic sk-one", "Bearer sk-on", "Bearer sk-onex",
        "Bearer sk-one ", "Bearer SK-ONE", "Bearer sk-onesk-two"}) {
    EXPECT_FALSE(keys.Allows(bad)) << bad;
  }
}

TEST(Router, ExactThenLongestPrefix) {
  const Router router({{"GET", "/v1/models", false, {}},
                       {"GET", "/v1/models/*", false, {}},
                       {"GET", "/v1/models/fixed", false, {}},
                       {"GET", "/v1/*", false, {}},
                       {"POST", "/v1/models", false, {}},
                       {"HEAD", "/v1/models/fixed", false, {}}});
  const auto found = [&](std::string_view method, std::string_view path) -> std::string {
    const Router::Match match = router.Find(method, path);
    return match.route == nullptr ? "-" + match.allow
                                  : match.route->method + " " + match.route->path;
  };
  EXPECT_EQ(found("GET", "/v1/models"), "GET /v1/models");
  EXPECT_EQ(found("POST", "/v1/models"), "POST /v1/models");
  EXPECT_EQ(found("HEAD", "/v1/models"), "GET /v1/models");
  EXPECT_EQ(found("HEAD", "/v1/models/fixed"), "HEAD /v1/models/fixed");
  EXPECT_EQ(found("GET", "/v1/models/a/b"), "GET /v1/models/*");
  EXPECT_EQ(found("GET", "/v1/modelsx"), "GET /v1/*");
  EXPECT_EQ(found("DELETE", "/v1/models"), "-GET, HEAD, POST");
  EXPECT_EQ(found("GET", "/v2"), "-");
  EXPECT_EQ(found("GET", "/v1"), "-");
  EXPECT_EQ(found("get", "/v1/models"), "-GET, HEAD, POST");
}

TEST(ErrorResponse, OpenAiForm) {
  const HttpResponse error = ErrorResponse(400, "bad \"n\"", "n", "too_many");
  EXPECT_EQ(error.status, 400);
  EXPECT_EQ(error.body,
            "{\"error\":{\"message\":\"bad \\\"n\\\"\",\"type\":\"invalid_request_error\","
            "\"param\":\"n\",\"code\":\"too_many\"}}");
  EXPECT_THAT(ErrorResponse(404, "x").body,
              HasSubstr("\"type\":\"not_found_error\",\"param\":null,\"code\":null"));
  EXPECT_THAT(ErrorResponse(400, "\xff\xc3").body, HasSubstr("\xef\xbf\xbd"));
}

TEST(ErrorResponse, DeterministicFailuresAreNotRepeated) {
  const HttpHeaders never = {{"x-should-retry", "false"}};
  EXPECT_EQ(ErrorResponse(500, "x").headers, never);
  EXPECT_EQ(ErrorResponse(501, "x").headers, never);
  EXPECT_EQ(ErrorResponse(503, "x").headers, HttpHeaders());
  EXPECT_EQ(ErrorResponse(429, "x").headers, HttpHeaders());
}

TEST(ResponseText, NobodySplitsAnswers) {
  const std::string text =
      HeadText({.status = 200, .content_type = "a\r\nEvil: 1", .length = 3, .close = true},
               {{"X-A", "b\r\n\r\n<html>"}, {"X\nB", "c"}});
  EXPECT_EQ(text,
            "HTTP/1.1 200 OK\r\nContent-Type: aEvil: 1\r\nContent-Length: 3\r\nConnection: "
            "close\r\nX-A: b<html>\r\nXB: c\r\n\r\n");
}

TEST(ResponseText, ChunksAndDates) {
  std::string out;
  AppendChunk("", &out);
  AppendChunk(std::string(26, 'x'), &out);
  EXPECT_EQ(out, "1a\r\n" + std::string(26, 'x') + "\r\n");
  EXPECT_EQ(HttpDate(784111777), "Sun, 06 Nov 1994 08:49:37 GMT");
}

TEST(ResponseText, RequestIds) {
  EXPECT_TRUE(IsSaneRequestId("a-B_9~!"));
  EXPECT_TRUE(IsSaneRequestId(std::string(128, 'x')));
  for (const std::string& bad : {std::string(), std::string(129, 'x'), std::string("a b"),
                                 std::string("a\xff"), std::string("a\x7f")}) {
    EXPECT_FALSE(IsSaneRequestId(bad));
  }
}

TEST(Utf8, RefusesWhatIsNot) {
  for (const char* good :
       {"", "a", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_TRUE(IsUtf8(good)) << good;
  }
  for (const char* bad : {"\x80", "\xc3", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80",
                          "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82"}) {
    EXPECT_FALSE(IsUtf8(bad)) << bad;
  }
}

}  // namespace
}  // namespace folkmoot
