// SPDX-License-Identifier: Apache-2.0
// The block formats of GGUF files, one file each, and what they share. Private to runtime/quant.
#pragma once

#include <cmath>
#include <cstdint>

#include "runtime/dtype.h"
#include "runtime/quant/block_format.h"

namespace folkmoot {

extern const BlockFormat kGgufQ8_0;
extern const BlockFormat kGgufQ4_0;
extern const BlockFormat kGgufQ4_1;
extern const BlockFormat kGgufQ4_K;
extern const BlockFormat kGgufQ6_K;
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
