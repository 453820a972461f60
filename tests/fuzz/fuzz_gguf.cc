// SPDX-License-Identifier: Apache-2.0
// Input: a GGUF file. Whatever it is, every accepted tensor and value must lie inside it.
#include <cstddef>
#include <cstdint>
#include <span>

#include "runtime/check.h"
#include "runtime/checkpoint/gguf.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto contents = std::as_bytes(std::span(data, size));
  const auto parsed = folkmoot::ParseGguf("fuzz.gguf", contents);
  if (!parsed.ok()) {
    FM_CHECK(folkmoot::Message(parsed.status()).starts_with("fuzz.gguf: "));
    return 0;
  }
  for (const folkmoot::GgufTensor& tensor : parsed->tensors) {
    FM_CHECK(tensor.offset >= parsed->header_bytes);
    FM_CHECK(tensor.offset <= size && tensor.bytes <= size - tensor.offset);
  }
  // Read all of every value: a sanitizer sees what leaves the input.
  size_t characters = 0;
  for (const auto& [key, value] : parsed->keys) {
    for (uint64_t i = 0; i < value.size(); ++i) {
      if (value.Int(i).has_value()) FM_CHECK(value.Number(i).has_value());
    }
    if (const auto text = value.String()) characters += text->size();
    if (const auto strings = value.Strings()) {
      for (const std::string_view text : *strings) characters += text.size();
    }
  }
  FM_CHECK(characters <= size);
  return 0;
}
