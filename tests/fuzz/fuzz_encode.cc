// SPDX-License-Identifier: Apache-2.0
// Input: a text. The demo model's tokenizer is byte-level: what it encodes decodes to the same
// text. Text of users gives no special token.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/check.h"
#include "runtime/tokenizer/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto tokenizer =
      folkmoot::Tokenizer::Load(FOLKMOOT_SOURCE_DIR "/models/demo-kjv/tokenizer.json");
  FM_CHECK(tokenizer.ok());
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto ids =
      (*tokenizer)->Encode(text, {.add_special_tokens = false, .parse_special = false});
  FM_CHECK(ids.ok());
  for (const int32_t id : *ids) FM_CHECK(!(*tokenizer)->IsSpecial(id));
  const std::string back = (*tokenizer)->Decode(*ids, false);
  // What is no UTF-8 was replaced, and all normalized; encoding that again changes nothing more.
  const auto again =
      (*tokenizer)->Encode(back, {.add_special_tokens = false, .parse_special = false});
  FM_CHECK(again.ok() && (*tokenizer)->Decode(*again, false) == back);
  const bool ascii = std::all_of(text.begin(), text.end(), [](char c) { return c >= 0; });
  if (ascii) FM_CHECK(back == text);
  return 0;
}
