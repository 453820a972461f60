// SPDX-License-Identifier: Apache-2.0
// Q4_K: 256 weights in 8 groups. float16 d and dmin, then 12 bytes with 6-bit scales s and minima m
// of the groups, then 128 bytes of codes: of each 32 bytes the low halves are one group and the
// high halves the next. A weight is d * s * code - dmin * m.
//
// The 6-bit numbers: of groups 0..3, s in the low 6 bits of bytes 0..3 and m in those of bytes
// 4..7. Of groups 4..7, the low 4 bits of s and m are the halves of bytes 8..11, and the upper two
// the top bits of bytes 0..3 (s) and 4..7 (m).
#include "runtime/quant/gguf_formats.h"

namespace folkmoot {
namespace {

constexpr size_t kGroups = 8;

void Read(const uint8_t* block, const CodeRow& out) {
  const float d = gguf::ReadHalf(block);
  const float dmin = gguf::ReadHalf(block + 2);
  const uint8_t* packed = block + 4;
  for (size_t g = 0; g < kGroups; ++g) {
    int scale = packed[g % 4] & 63;
    int minimum = packed[4 + g % 4] & 63;
    if (g >= 4) {
      scale = (packed[4 + g] & 15) | packed[g - 4] >> 6 << 4;
      minimum = packed[4 + g] >> 4 | packed[g] >> 6 << 4;
    }
    // Both products are exact: 11 bits by 6.
    out.scales[g] = d * static_cast<float>(scale);
    out.offsets[g] = -(dmin * static_cast<float>(minimum));
  }
  for (size_t g = 0; g < kGroups; g += 2) {
    gguf::ReadNibbles(block + 16 + 16 * g, 32, out.codes.data() + 32 * g);
  }
}

bool IsFinite(const uint8_t* block) {
  return gguf::IsFiniteHalf(block) && gguf::IsFiniteHalf(block + 2);
}

}  // namespace

const BlockFormat kGgufQ4K = {
    .name = "Q4_K",
    .gguf_type = 12,
    .weights = 256,
    .bytes = 144,
    .spec = {.type = CodeType::kUint4, .group = 32, .offsets = true, .scale_type = DType::kF32},
    .read = Read,
    .finite = IsFinite};

}  // namespace folkmoot
