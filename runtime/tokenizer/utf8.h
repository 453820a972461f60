// SPDX-License-Identifier: Apache-2.0
// UTF-8: reading, writing, repair, and the byte alphabet of byte-level BPE (GPT-2).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace folkmoot {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

// Half-open range of bytes in a text.
struct ByteSpan {
  size_t begin = 0;
  size_t end = 0;
  bool operator==(const ByteSpan&) const = default;
};

enum class Utf8State {
  kValid,       // one whole character of `length` bytes
  kInvalid,     // `length` bytes that can never be part of a character
  kIncomplete,  // the text ends inside a character that was right so far
};
struct Utf8Char {
  char32_t code = 0;  // only with kValid
  size_t length = 0;  // at least 1
  Utf8State state = Utf8State::kValid;
};

// The character at `position` < text.size(). Surrogates and overlong forms are invalid; the length
// of an invalid sequence is its maximal subpart (Unicode 15, section 3.9, best practice).
Utf8Char ReadUtf8(std::string_view text, size_t position);

void AppendUtf8(char32_t code, std::string* out);

// `text` with each maximal invalid part replaced by one U+FFFD.
std::string RepairUtf8(std::string_view text);

// Unicode White_Space.
bool IsWhiteSpace(char32_t code);

// Repairs a text that arrives in chunks: never emits part of a character.
// One stream, one thread.
class Utf8Repairer {
 public:
  // Appends to `out` what is certain after these bytes.
  void Push(std::string_view bytes, std::string* out);
  // Appends U+FFFD if the stream ended inside a character.
  void Finish(std::string* out);

 private:
  std::string pending_;  // the beginning of a character, at most 3 bytes
};

// GPT-2's bijection between the 256 bytes and printable characters: U+0021.. for most, U+0100..
// for those that would be invisible. Byte-level vocabularies are written in it.
class ByteAlphabet {
 public:
  static constexpr char32_t kLimit = 0x144;  // all characters of the alphabet are below

  ByteAlphabet();

  void Append(uint8_t byte, std::string* out) const { AppendUtf8(to_char_[byte], out); }
  // -1: not a character of the alphabet.
  int ToByte(char32_t code) const { return code < kLimit ? to_byte_[code] : -1; }

 private:
  std::array<char32_t, 256> to_char_;
  std::array<int16_t, kLimit> to_byte_;
};

}  // namespace folkmoot
