// SPDX-License-Identifier: Apache-2.0
// The block formats of GGUF files, one file each, and what they share. Private to runtime/quant.
#pragma once

#include <cmath>
#include <cstdint>

#include "runtime/dtype.h"
#include "runtime/quant/block_format.h"

namespace folkmoot {

extern const BlockFormat kGgufQ80;
extern const BlockFormat kGgufQ40;
extern const BlockFormat kGgufQ41;
extern const BlockFormat kGgufQ4K;
extern const BlockFormat kGgufQ6K;
extern const BlockFormat kGgufMxfp4;

namespace gguf {

inline float ReadHalf(const uint8_t* bytes) {
  return F16ToFloat(static_cast<uint16_t>(bytes[0] | bytes[1] << 8));
}

inline bool IsFiniteHalf(const uint8_t* bytes) { return (bytes[1] & 0x7c) != 0x7c; }

// 2 * count codes from `count` bytes: the low halves first, then the high ones.
inline void ReadNibbles(const uint8_t* bytes, size_t count, uint8_t* codes) {
  for (size_t i = 0; i < count; ++i) {
    codes[i] = bytes[i] & 15;
    codes[count + i] = bytes[i] >> 4;
  }
}

}  // namespace gguf
}  // namespace folkmoot
