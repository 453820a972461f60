// SPDX-License-Identifier: Apache-2.0
// Q4_1: a float16 scale and a float16 minimum, then 16 bytes as in Q4_0.
#include "runtime/quant/gguf_formats.h"

namespace folkmoot {
namespace {

void Read(const uint8_t* block, const CodeRow& out) {
  out.scales[0] = gguf::ReadHalf(block);
  out.offsets[0] = gguf::ReadHalf(block + 2);
  gguf::ReadNibbles(block + 4, 16, out.codes.data());
}

bool IsFinite(const uint8_t* block) {
  return gguf::IsFiniteHalf(block) && gguf::IsFiniteHalf(block + 2);
}

}  // namespace

const BlockFormat kGgufQ41 = {
    .name = "Q4_1",
    .gguf_type = 3,
    .weights = 32,
    .bytes = 20,
    .spec = {.type = CodeType::kUint4, .group = 32, .offsets = true, .scale_type = DType::kF16},
    .read = Read,
    .finite = IsFinite};

}  // namespace folkmoot
