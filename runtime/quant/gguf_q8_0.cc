// SPDX-License-Identifier: Apache-2.0
// Q8_0: 32 signed bytes behind a float16 scale.
#include <cstring>

#include "runtime/quant/gguf_formats.h"

namespace folkmoot {
namespace {

void Read(const uint8_t* block, const CodeRow& out) {
  out.scales[0] = gguf::ReadHalf(block);
  std::memcpy(out.codes.data(), block + 2, 32);
}

}  // namespace

const BlockFormat kGgufQ80 = {
    .name = "Q8_0",
    .gguf_type = 8,
    .weights = 32,
    .bytes = 34,
    .spec = {.type = CodeType::kInt8, .group = 32, .offsets = false, .scale_type = DType::kF16},
    .read = Read,
    .finite = gguf::IsFiniteHalf};

}  // namespace folkmoot
