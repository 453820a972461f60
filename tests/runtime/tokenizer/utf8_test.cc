// SPDX-License-Identifier: Apache-2.0
#include "runtime/tokenizer/utf8.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace folkmoot {
namespace {

using namespace std::string_literals;

constexpr const char* kBad = "\xEF\xBF\xBD";

TEST(Utf8, EveryCharacterSurvivesWritingAndReading) {
  for (char32_t code = 0; code < 0x110000; ++code) {
    if (code >= 0xD800 && code < 0xE000) continue;
    std::string text;
    AppendUtf8(code, &text);
    const Utf8Char c = ReadUtf8(text, 0);
    ASSERT_EQ(c.state, Utf8State::kValid) << std::hex << static_cast<uint32_t>(code);
    ASSERT_EQ(c.code, code);
    ASSERT_EQ(c.length, text.size());
  }
}

// The examples of the Unicode standard, section 3.9, tables 3-8 to 3-11.
TEST(Utf8, RepairGivesOneReplacementPerMaximalSubpart) {
  const auto bad = [](int count) {
    std::string text;
    for (int i = 0; i < count; ++i) text += kBad;
    return text;
  };
  EXPECT_EQ(RepairUtf8("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"s), bad(8) + "A");
  EXPECT_EQ(RepairUtf8("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"s), bad(8) + "A");
  EXPECT_EQ(RepairUtf8("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"s), bad(5) + "A" + bad(2) + "B");
  EXPECT_EQ(RepairUtf8("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"s), bad(4) + "A");
  EXPECT_EQ(RepairUtf8("a\0b"s), "a\0b"s);
}

TEST(Utf8, RepairerHoldsHalfCharactersBackWhateverTheChunks) {
  const std::string text = "a\xE6\x97\xA5\xF0\x9F\x98\x80\xE6\x97\x62\xF0\x9F"s;
  for (size_t chunk = 1; chunk <= text.size(); ++chunk) {
    Utf8Repairer repairer;
    std::string out;
    for (size_t at = 0; at < text.size(); at += chunk) {
      std::string piece;
      repairer.Push(std::string_view(text).substr(at, chunk), &piece);
      EXPECT_EQ(RepairUtf8(piece), piece) << "chunk " << chunk;
      out += piece;
    }
    repairer.Finish(&out);
    EXPECT_EQ(out, RepairUtf8(text)) << "chunk " << chunk;
  }
}

TEST(Utf8, ByteAlphabetIsABijectionOntoVisibleCharacters) {
  const ByteAlphabet alphabet;
  std::set<std::string> seen;
  for (int byte = 0; byte < 256; ++byte) {
    std::string name;
    alphabet.Append(static_cast<uint8_t>(byte), &name);
    EXPECT_EQ(alphabet.ToByte(ReadUtf8(name, 0).code), byte);
    seen.insert(name);
  }
  EXPECT_EQ(seen.size(), 256u);
  EXPECT_TRUE(seen.contains("\xC4\xA0"));  // U+0120 stands for the space
  EXPECT_EQ(alphabet.ToByte(U' '), -1);
  EXPECT_EQ(alphabet.ToByte(0x144), -1);
}

}  // namespace
}  // namespace folkmoot
