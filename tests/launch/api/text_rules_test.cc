// SPDX-License-Identifier: Apache-2.0
#include "launch/api/common/text_rules.h"

#include <gtest/gtest.h>

#include <random>

namespace folkmoot {
namespace {

class TextRulesTest : public testing::Test {
 protected:
  TextRulesTest() {
    auto loaded =
        Tokenizer::Load(std::string(FOLKMOOT_SOURCE_DIR) + "/models/demo-kjv/tokenizer.json");
    if (!loaded.ok()) ADD_FAILURE() << loaded.status();
    tokenizer_ = *std::move(loaded);
  }
  // The text that comes out for `text`, token by token.
  std::string Feed(const std::string& text, std::vector<std::string> stops,
                   bool include_stop = false, int64_t min_tokens = 0) {
    ChoiceText output(tokenizer_.get(),
                      {.stops = std::make_shared<const StopStrings>(std::move(stops)),
                       .include_stop = include_stop,
                       .skip_special_tokens = true,
                       .min_tokens = min_tokens});
    std::string out;
    const std::vector<int32_t> ids = *tokenizer_->Encode(text);
    for (const int32_t id : ids) {
      const std::string piece = output.Push(id);
      EXPECT_GE(CountCharacters(piece), 0);
      out += piece;
    }
    out += output.Finish();
    stopped_by_ = output.stopped_by() == nullptr ? "" : *output.stopped_by();
    return out;
  }
  std::unique_ptr<Tokenizer> tokenizer_;
  std::string stopped_by_;
};

TEST_F(TextRulesTest, TextWithoutStopsIsWhole) {
  EXPECT_EQ(Feed("In the beginning \xe2\x82\xac 12 \xf0\x9f\x98\x80", {}),
            "In the beginning \xe2\x82\xac 12 \xf0\x9f\x98\x80");
  EXPECT_EQ(stopped_by_, "");
}

TEST_F(TextRulesTest, AStopAcrossTokensCutsTheText) {
  EXPECT_EQ(Feed("And God said, Let there be light", {"there be"}), "And God said, Let ");
  EXPECT_EQ(stopped_by_, "there be");
  EXPECT_EQ(Feed("And God said, Let there be light", {"re be li"}, /*include_stop=*/true),
            "And God said, Let there be li");
}

TEST_F(TextRulesTest, AnAlmostStopComesOutAtTheEnd) {
  EXPECT_EQ(Feed("And God said, Let there", {"there be"}), "And God said, Let there");
  EXPECT_EQ(stopped_by_, "");
}

TEST_F(TextRulesTest, TheLongestOfStopsThatEndTogetherWins) {
  EXPECT_EQ(Feed("one two three four", {"four", "three", "two three"}), "one ");
  EXPECT_EQ(stopped_by_, "two three");
}

TEST_F(TextRulesTest, NoStopWithinTheFirstTokens) {
  const std::string text = "light light light light";
  const auto ids = *tokenizer_->Encode(text);
  ASSERT_GE(ids.size(), 4u);
  const std::string first = tokenizer_->Decode(std::span(ids).first(2), true);
  EXPECT_EQ(Feed(text, {"light"}), "");
  const std::string later = Feed(text, {"light"}, false, 2);
  EXPECT_TRUE(later.starts_with(first)) << later;
  EXPECT_EQ(stopped_by_, "light");
}

// Against the plain search, for texts of two letters where prefixes overlap much.
TEST(StopStringsTest, EqualsAPlainSearch) {
  std::mt19937 random(1);
  const auto word = [&](size_t longest) {
    std::string out(1 + random() % longest, 'a');
    for (char& c : out) c = random() % 3 == 0 ? 'b' : 'a';
    return out;
  };
  for (int round = 0; round < 2000; ++round) {
    const std::vector<std::string> stops = {word(6), word(6), word(3)};
    const std::string text = word(40);
    size_t end = std::string::npos;  // of the first stop to end
    for (size_t i = 1; i <= text.size() && end == std::string::npos; ++i) {
      for (const std::string& stop : stops) {
        if (std::string_view(text).substr(0, i).ends_with(stop)) end = i;
      }
    }
    const StopStrings search(stops);
    StopStrings::State state;
    size_t found = std::string::npos;
    for (size_t i = 0; i < text.size() && found == std::string::npos; ++i) {
      const int hit = search.Advance(text[i], &state);
      if (hit >= 0) {
        found = i + 1;
        for (const std::string& stop : stops) {
          if (std::string_view(text).substr(0, found).ends_with(stop)) {
            EXPECT_LE(stop.size(), search.stops()[static_cast<size_t>(hit)].size());
          }
        }
      } else {
        size_t pending = 0;
        for (const std::string& stop : stops) {
          for (size_t n = 1; n < stop.size(); ++n) {
            if (std::string_view(text).substr(0, i + 1).ends_with(stop.substr(0, n))) {
              pending = std::max(pending, n);
            }
          }
        }
        EXPECT_EQ(StopStrings::Pending(state), pending);
      }
    }
    EXPECT_EQ(found, end) << text;
  }
}

}  // namespace
}  // namespace folkmoot
