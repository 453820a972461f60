// SPDX-License-Identifier: Apache-2.0
// Q4_0: a float16 scale, then 16 bytes: weights 0..15 in the low halves, 16..31 in the high ones.
#include "runtime/quant/gguf_formats.h"

namespace folkmoot {
namespace {

void Read(const uint8_t* block, const CodeRow& out) {
  out.scales[0] = gguf::ReadHalf(block);
  gguf::ReadNibbles(block + 2, 16, out.codes.data());
}

}  // namespace

const BlockFormat kGgufQ40 = {
    .name = "Q4_0",
    .gguf_type = 2,
    .weights = 32,
    .bytes = 18,
    .spec = {.type = CodeType::kInt4, .group = 32, .offsets = false, .scale_type = DType::kF16},
    .read = Read,
    .finite = gguf::IsFiniteHalf};

}  // namespace folkmoot
