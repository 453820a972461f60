// SPDX-License-Identifier: Apache-2.0
// Input: a tokenizer.json. Whatever is accepted encodes any text into ids below its vocabulary, and
// decodes what it likes, at once or piece by piece, into the same UTF-8.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/check.h"
#include "runtime/tokenizer/incremental_decoder.h"
#include "runtime/tokenizer/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto tokenizer =
      folkmoot::Tokenizer::FromJson({reinterpret_cast<const char*>(data), size}, "fuzz.json");
  if (!tokenizer.ok()) {
    FM_CHECK(folkmoot::Message(tokenizer.status()).starts_with("fuzz.json"));
    return 0;
  }
  const int64_t vocab = (*tokenizer)->vocab_size();
  for (const char* text :
       {"", "In the beginning", " a  b\n\n\tc'll 1234 \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80 ",
        "<s></s><|im_end|>", "\xff\xc3 \xed\xa0\x80"}) {
    const auto ids = (*tokenizer)->Encode(text);
    if (!ids.ok()) continue;
    folkmoot::IncrementalDecoder decoder(**tokenizer, /*skip_special_tokens=*/false);
    std::string pieces;
    for (const int32_t id : *ids) {
      FM_CHECK(id >= 0 && id < vocab);
      pieces += decoder.Push(id);
    }
    pieces += decoder.Finish();
    FM_CHECK(pieces == (*tokenizer)->Decode(*ids, false));
  }
  return 0;
}
