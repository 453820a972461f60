// SPDX-License-Identifier: Apache-2.0
// Input: a model.safetensors.index.json. No file that is accepted lies outside of the directory.
#include <cstddef>
#include <cstdint>
#include <string>

#include "runtime/check.h"
#include "runtime/checkpoint/shard_index.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto index =
      folkmoot::ParseShardIndex("fuzz.json", {reinterpret_cast<const char*>(data), size});
  if (!index.ok()) {
    FM_CHECK(folkmoot::Message(index.status()).starts_with("fuzz.json"));
    return 0;
  }
  for (const auto& [tensor, file] : *index) {
    FM_CHECK(!file.empty() && file != "." && file != "..");
    FM_CHECK(file.find('/') == std::string::npos && file.find('\0') == std::string::npos);
  }
  return 0;
}
