// SPDX-License-Identifier: Apache-2.0
#include "runtime/tokenizer/token_bytes.h"

#include <optional>
#include <utility>

#include "runtime/tokenizer/decode_stage.h"
#include "runtime/tokenizer/decoder.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/tokenizer/utf8.h"

namespace folkmoot {
namespace {

std::string FromByteAlphabet(const std::string& token) {
  const ByteAlphabet alphabet;
  std::string bytes;
  for (size_t at = 0; at < token.size();) {
    const Utf8Char c = ReadUtf8(token, at);
    const int byte = alphabet.ToByte(c.code);
    if (byte < 0) return token;
    bytes.push_back(static_cast<char>(byte));
    at += c.length;
  }
  return bytes;
}

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string FromByteToken(const std::string& token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return token;
  const int high = HexValue(token[3]);
  const int low = HexValue(token[4]);
  if (high < 0 || low < 0) return token;
  return std::string(1, static_cast<char>(high * 16 + low));
}

std::string Stripped(std::string_view token, std::string_view character, size_t start,
                     size_t stop) {
  for (; start > 0 && token.starts_with(character); --start) {
    token.remove_prefix(character.size());
  }
  for (; stop > 0 && token.ends_with(character); --stop) token.remove_suffix(character.size());
  return std::string(token);
}

}  // namespace

absl::Status TokenBytes::CheckSteps(const Decoder& decoder, TokenBytes* result,
                                    bool* first_differs) {
  using Kind = Decoder::Kind;
  for (size_t i = 0; i < decoder.steps_.size(); ++i) {
    const Decoder::Step& step = decoder.steps_[i];
    if (step.kind == Kind::kJoin || (step.kind == Kind::kMetaspace && step.drop_in_first)) {
      *first_differs = true;
    }
    if (!step.fused || (step.kind != Kind::kStrip && step.kind != Kind::kReplace)) continue;
    const bool drops_spaces = step.kind == Kind::kStrip && step.pattern == " " && step.stop == 0 &&
                              i + 1 == decoder.steps_.size() && step.start < 16;
    if (!drops_spaces) {
      return FailedPrecondition(
          "structured output needs a tokenizer whose tokens decode one by one; this one's decoder "
          "has a {} over the joined text",
          step.kind == Kind::kStrip ? "Strip" : "Replace");
    }
    result->dropped_spaces = static_cast<int32_t>(step.start);
  }
  return absl::OkStatus();
}

std::string TokenBytes::OneToken(const Decoder& decoder, std::string_view token, bool first) {
  using Kind = Decoder::Kind;
  std::string text(token);
  for (const Decoder::Step& step : decoder.steps_) {
    switch (step.kind) {
      case Kind::kByteLevel:
        text = FromByteAlphabet(text);
        break;
      case Kind::kByteFallback:
        text = FromByteToken(text);
        break;
      case Kind::kFuse:
        break;
      case Kind::kReplace:
        text = ReplaceAll(text, step.pattern, step.content);
        break;
      case Kind::kStrip:
        if (!step.fused) text = Stripped(text, step.pattern, step.start, step.stop);
        break;
      case Kind::kMetaspace:
        text = ReplaceAll(text, step.pattern, step.drop_in_first && first ? "" : " ");
        break;
      case Kind::kJoin:
        if (!first) text.insert(0, " ");
        break;
    }
  }
  return text;
}

absl::StatusOr<TokenBytes> TokenBytes::Of(const Tokenizer& tokenizer) {
  TokenBytes result;
  const Decoder& decoder = tokenizer.decoder();
  bool first_differs = false;
  FM_RETURN_IF_ERROR(CheckSteps(decoder, &result, &first_differs));
  const auto count = static_cast<size_t>(tokenizer.vocab_size());
  result.bytes.resize(count);
  if (first_differs) result.first_bytes.resize(count);
  for (size_t i = 0; i < count; ++i) {
    const auto id = static_cast<int32_t>(i);
    if (tokenizer.IsSpecial(id)) continue;
    const std::optional<std::string_view> token = tokenizer.DecoderInput(id, true);
    if (!token) continue;
    result.bytes[i] = OneToken(decoder, *token, /*first=*/false);
    if (first_differs) result.first_bytes[i] = OneToken(decoder, *token, /*first=*/true);
  }
  return result;
}

}  // namespace folkmoot
