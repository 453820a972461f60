// SPDX-License-Identifier: Apache-2.0
// Q6_K: 256 weights in 16 groups. 128 bytes with the low 4 bits of the codes, 64 bytes with their
// upper 2, a signed byte s for each group, and a float16 d. A weight is d * s * (code - 32).
//
// Each half of 128 weights has 64 bytes of low parts and 32 of upper ones. Weights 0..63 have their
// low parts in the low halves of the bytes, 64..127 in the high halves; byte i of the upper parts
// holds those of weights i, i + 32, i + 64, i + 96 from the lowest bits on.
#include "runtime/quant/gguf_formats.h"

namespace folkmoot {
namespace {

constexpr size_t kHalf = 128;
constexpr size_t kScales = 192;  // where they begin
constexpr size_t kGroups = 16;

void Read(const uint8_t* block, const CodeRow& out) {
  const float d = gguf::ReadHalf(block + kScales + kGroups);
  for (size_t g = 0; g < kGroups; ++g) {
    out.scales[g] = d * static_cast<float>(static_cast<int8_t>(block[kScales + g]));  // exact
  }
  for (size_t half = 0; half < 2; ++half) {
    const uint8_t* low = block + 64 * half;
    const uint8_t* upper = block + kHalf + 32 * half;
    for (size_t i = 0; i < kHalf; ++i) {
      const int low_bits = i < 64 ? low[i] & 15 : low[i - 64] >> 4;
      const int upper_bits = upper[i % 32] >> (2 * (i / 32)) & 3;
      out.codes[kHalf * half + i] = static_cast<uint8_t>((low_bits | upper_bits << 4) - 32);
    }
  }
}

bool IsFinite(const uint8_t* block) { return gguf::IsFiniteHalf(block + kScales + kGroups); }

}  // namespace

const BlockFormat kGgufQ6K = {
    .name = "Q6_K",
    .gguf_type = 14,
    .weights = 256,
    .bytes = 210,
    .spec = {.type = CodeType::kInt8, .group = 16, .offsets = false, .scale_type = DType::kF32},
    .read = Read,
    .finite = IsFinite};

}  // namespace folkmoot
