// SPDX-License-Identifier: Apache-2.0
#include "runtime/tokenizer/utf8.h"

namespace folkmoot {
namespace {

struct LeadByte {
  int length;            // bytes of the character; 0: not a lead byte
  uint8_t second_first;  // allowed range of the second byte
  uint8_t second_last;
};

// Table 3-7 of the Unicode standard.
LeadByte ClassifyLead(uint8_t byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

uint8_t ByteAt(std::string_view text, size_t position) {
  return static_cast<uint8_t>(text[position]);
}

}  // namespace

Utf8Char ReadUtf8(std::string_view text, size_t position) {
  const uint8_t first = ByteAt(text, position);
  if (first < 0x80) return {first, 1, Utf8State::kValid};
  const LeadByte lead = ClassifyLead(first);
  if (lead.length == 0) return {0, 1, Utf8State::kInvalid};
  const size_t want = static_cast<size_t>(lead.length);
  char32_t code = first & (0xFFu >> (want + 1));
  for (size_t i = 1; i < want; ++i) {
    if (position + i == text.size()) return {0, i, Utf8State::kIncomplete};
    const uint8_t byte = ByteAt(text, position + i);
    const uint8_t low = i == 1 ? lead.second_first : uint8_t{0x80};
    const uint8_t high = i == 1 ? lead.second_last : uint8_t{0xBF};
    if (byte < low || byte > high) return {0, i, Utf8State::kInvalid};
    code = (code << 6) | (byte & 0x3Fu);
  }
  return {code, want, Utf8State::kValid};
}

void AppendUtf8(char32_t code, std::string* out) {
  const auto put = [out](char32_t byte) { out->push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | (code >> 6));
    put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | (code >> 12));
    put(0x80 | ((code >> 6) & 0x3F));
    put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | (code >> 18));
    put(0x80 | ((code >> 12) & 0x3F));
    put(0x80 | ((code >> 6) & 0x3F));
    put(0x80 | (code & 0x3F));
  }
}

std::string RepairUtf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  Utf8Repairer repairer;
  repairer.Push(text, &out);
  repairer.Finish(&out);
  return out;
}

bool IsWhiteSpace(char32_t code) {
  return (code >= 0x09 && code <= 0x0D) || code == 0x20 || code == 0x85 || code == 0xA0 ||
         code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 ||
         code == 0x202F || code == 0x205F || code == 0x3000;
}

void Utf8Repairer::Push(std::string_view bytes, std::string* out) {
  std::string joined;
  if (!pending_.empty()) {
    joined = pending_.append(bytes);
    bytes = joined;
    pending_.clear();
  }
  size_t position = 0;
  while (position < bytes.size()) {
    const Utf8Char c = ReadUtf8(bytes, position);
    if (c.state == Utf8State::kIncomplete) {
      pending_.assign(bytes.substr(position));
      return;
    }
    out->append(c.state == Utf8State::kValid ? bytes.substr(position, c.length)
                                             : kReplacementCharacter);
    position += c.length;
  }
}

void Utf8Repairer::Finish(std::string* out) {
  if (!pending_.empty()) out->append(kReplacementCharacter);
  pending_.clear();
}

ByteAlphabet::ByteAlphabet() {
  to_byte_.fill(-1);
  char32_t next_invisible = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool visible = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
    const char32_t code = visible ? static_cast<char32_t>(byte) : next_invisible++;
    to_char_[static_cast<size_t>(byte)] = code;
    to_byte_[code] = static_cast<int16_t>(byte);
  }
}

}  // namespace folkmoot
