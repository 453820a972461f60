// SPDX-License-Identifier: Apache-2.0
// What patterns match is compared with Oniguruma in component_test.cc; here: what is refused, and
// limits.
#include "runtime/tokenizer/regex.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace folkmoot {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<ByteSpan> FindAll(std::string_view pattern, std::string_view text) {
  const auto compiled = Pattern::Regex(pattern);
  EXPECT_TRUE(compiled.ok()) << Message(compiled.status());
  std::vector<ByteSpan> matches;
  if (compiled.ok()) {
    const absl::Status status = compiled->FindAll(text, &matches);
    EXPECT_TRUE(status.ok()) << Message(status);
  }
  return matches;
}

TEST(Regex, EmptyMatchesCountOnceAndNotAfterAMatch) {
  EXPECT_THAT(FindAll("x*", "axxb"), ElementsAre(ByteSpan{0, 0}, ByteSpan{1, 3}, ByteSpan{4, 4}));
  EXPECT_THAT(FindAll("", "\xE6\x97\xA5"), ElementsAre(ByteSpan{0, 0}, ByteSpan{3, 3}));
}

TEST(Regex, LookaroundSeesOnlyTheText) {
  const std::string_view text = "ab";
  EXPECT_TRUE(FindAll("(?<=a)b", text.substr(1)).empty());
}

TEST(Regex, LiteralMatchesDoNotOverlap) {
  const auto pattern = Pattern::Literal("aa");
  ASSERT_TRUE(pattern.ok());
  std::vector<ByteSpan> matches;
  ASSERT_TRUE(pattern->FindAll("aaaaa.", &matches).ok());
  EXPECT_THAT(matches, ElementsAre(ByteSpan{0, 2}, ByteSpan{2, 4}));
  EXPECT_FALSE(Pattern::Literal("").ok());
}

TEST(Regex, RefusesByNameWhatHasNoEqual) {
  for (const char* pattern :
       {R"((a)\1)", R"(\Ga)", R"(a\Kb)", R"(\X)", "(?x) a", "(?<name>a)", "[[:punct:]]", R"([\y])",
        "(?(1)a)", R"(\p{)", R"(\xE6)", R"(\y)", "[a&&]", "[&&a]"}) {
    const auto compiled = Pattern::Regex(pattern);
    ASSERT_FALSE(compiled.ok()) << pattern;
    EXPECT_THAT(std::string(Message(compiled.status())), HasSubstr("is not supported")) << pattern;
    EXPECT_THAT(std::string(Message(compiled.status())), HasSubstr(pattern));
  }
}

TEST(Regex, RefusesBrokenPatterns) {
  for (const char* pattern :
       {"(", ")", "[a", "\\", "a{2,1}", R"(\p{Klingon})", "*", "(?<=a+)b", "[z-a]"}) {
    EXPECT_FALSE(Pattern::Regex(pattern).ok()) << pattern;
  }
  EXPECT_FALSE(Pattern::Regex(std::string(10000, '[')).ok());
  EXPECT_FALSE(Pattern::Regex(std::string(100000, '(')).ok());
}

TEST(Regex, EndlessBacktrackingIsAnErrorNotAHang) {
  const auto pattern = Pattern::Regex("(a+)+$");
  ASSERT_TRUE(pattern.ok());
  std::vector<ByteSpan> matches;
  const absl::Status status = pattern->FindAll(std::string(64, 'a') + "b", &matches);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << Message(status);
}

TEST(Regex, MegabyteRunsNeedNoDeepStack) {
  const std::string text = std::string(1 << 20, ' ') + "x";
  EXPECT_THAT(FindAll(R"(\s*[\r\n]+|\s+(?!\S)|\s+)", text),
              ElementsAre(ByteSpan{0, (1 << 20) - 1}, ByteSpan{(1 << 20) - 1, 1 << 20}));
  EXPECT_THAT(FindAll("(?:a|b)+", std::string(1 << 20, 'a')), ElementsAre(ByteSpan{0, 1 << 20}));
}

}  // namespace
}  // namespace folkmoot
