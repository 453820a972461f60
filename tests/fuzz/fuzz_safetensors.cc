// SPDX-License-Identifier: Apache-2.0
// Input: a safetensors file. Whatever it is, every accepted tensor must lie inside it.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "runtime/check.h"
#include "runtime/checkpoint/safetensors.h"

namespace {

void CheckParsed(std::span<const std::byte> contents) {
  const auto parsed = folkmoot::ParseSafetensors("fuzz.safetensors", contents);
  if (!parsed.ok()) {
    FM_CHECK(folkmoot::Message(parsed.status()).starts_with("fuzz.safetensors: "));
    return;
  }
  for (const folkmoot::SafetensorsEntry& entry : parsed->entries) {
    FM_CHECK(entry.offset >= parsed->header_bytes);
    FM_CHECK(entry.offset <= contents.size() && entry.bytes <= contents.size() - entry.offset);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto contents = std::as_bytes(std::span(data, size));
  CheckParsed(contents);
  // The same bytes as a header of the right length, so that mutations reach past the length field.
  std::string framed;
  for (size_t i = 0; i < 8; ++i) framed.push_back(static_cast<char>((size >> (8 * i)) & 0xff));
  framed.append(reinterpret_cast<const char*>(data), size);
  framed.append(64, '\0');
  CheckParsed(std::as_bytes(std::span(framed)));
  return 0;
}
