// SPDX-License-Identifier: Apache-2.0
// How the page is served; tests/end_to_end/page_test.py opens it in a browser.
#include "launch/api/page/page.h"

#include <fstream>
#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/launch/metrics/recorded_exchange.h"

namespace folkmoot {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(Page, IsTheFileWithAStrictPolicy) {
  const Route route = PageRoute();
  EXPECT_EQ(route.path, "/");
  EXPECT_TRUE(route.open);  // it has to ask for the key
  auto exchange = std::make_shared<RecordedExchange>();
  route.handler(exchange);
  std::ifstream file(FOLKMOOT_SOURCE_DIR "/launch/api/page/index.html");
  std::stringstream source;
  source << file.rdbuf();
  ASSERT_TRUE(exchange->response.has_value());
  EXPECT_EQ(exchange->response->body, source.str());
  EXPECT_EQ(exchange->response->content_type, "text/html; charset=utf-8");
  std::string policy;
  for (const auto& [name, value] : exchange->response->headers) {
    if (name == "Content-Security-Policy") policy = value;
  }
  EXPECT_THAT(policy, HasSubstr("default-src 'none'"));
  EXPECT_THAT(policy, HasSubstr("frame-ancestors 'none'"));
  EXPECT_THAT(policy, Not(HasSubstr("unsafe")));
}

}  // namespace
}  // namespace folkmoot
