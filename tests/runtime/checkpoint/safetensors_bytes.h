// SPDX-License-Identifier: Apache-2.0
// Files of the safetensors format made by hand, right or wrong.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace folkmoot {

// Header length, header, data; `length` overrides the true header length.
inline std::string SafetensorsBytes(std::string_view header, std::string_view data,
                                    uint64_t length) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<char>((length >> (8 * i)) & 0xff));
  bytes += header;
  bytes += data;
  return bytes;
}

inline std::string SafetensorsBytes(std::string_view header, std::string_view data) {
  return SafetensorsBytes(header, data, header.size());
}

}  // namespace folkmoot
