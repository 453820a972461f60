// SPDX-License-Identifier: Apache-2.0
#include "launch/text_output.h"

#include <gtest/gtest.h>

namespace folkmoot {
namespace {

class TextOutputTest : public testing::Test {
 protected:
  TextOutputTest() {
    auto loaded =
        Tokenizer::Load(std::string(FOLKMOOT_SOURCE_DIR) + "/models/demo-kjv/tokenizer.json");
    if (!loaded.ok()) ADD_FAILURE() << loaded.status();
    tokenizer_ = *std::move(loaded);
  }
  // Feeds a text token by token; returns all pieces joined by '|'.
  std::string Feed(const std::string& text, std::vector<std::string> stops) {
    TextOutput output(tokenizer_.get(), std::move(stops));
    std::string pieces;
    const std::vector<int32_t> ids = *tokenizer_->Encode(text);
    for (const int32_t id : ids) {
      const std::string piece = output.Push(id);
      if (!piece.empty()) pieces += piece + "|";
    }
    const std::string rest = output.Finish();
    if (!rest.empty()) pieces += rest + "|";
    stopped_ = output.stopped();
    return pieces;
  }
  std::unique_ptr<Tokenizer> tokenizer_;
  bool stopped_ = false;
};

std::string Joined(std::string pieces) {
  std::erase(pieces, '|');
  return pieces;
}

TEST_F(TextOutputTest, WithoutStopsEverythingComesOut) {
  EXPECT_EQ(Joined(Feed("In the beginning \xe2\x82\xac 12", {})),
            "In the beginning \xe2\x82\xac 12");
  EXPECT_FALSE(stopped_);
}

TEST_F(TextOutputTest, StopAcrossTokensCutsTheText) {
  EXPECT_EQ(Joined(Feed("And God said, Let there be light", {"there be"})), "And God said, Let ");
  EXPECT_TRUE(stopped_);
}

TEST_F(TextOutputTest, TheFirstOfSeveralStopsWins) {
  EXPECT_EQ(Joined(Feed("one two three four", {"four", "three", "two three"})), "one ");
}

TEST_F(TextOutputTest, ABeginningThatIsNoStopIsGivenBackAtTheEnd) {
  EXPECT_EQ(Joined(Feed("And God said, Let there", {"there be"})), "And God said, Let there");
  EXPECT_FALSE(stopped_);
}

}  // namespace
}  // namespace folkmoot
