// SPDX-License-Identifier: Apache-2.0
// MXFP4 (OCP Microscaling 1.0): a byte e that stands for the scale 2^(e - 127), then 16 bytes of
// E2M1 codes, ordered as in Q4_0. 255 is NaN by the standard.
#include "runtime/quant/gguf_formats.h"

namespace folkmoot {
namespace {

void Read(const uint8_t* block, const CodeRow& out) {
  out.scales[0] = std::ldexp(1.0f, static_cast<int>(block[0]) - 127);
  gguf::ReadNibbles(block + 1, 16, out.codes.data());
}

// From 253 on, the largest code, 6, would overflow float32.
bool IsFinite(const uint8_t* block) { return block[0] < 253; }

}  // namespace

const BlockFormat kGgufMxfp4 = {
    .name = "MXFP4",
    .gguf_type = 39,
    .weights = 32,
    .bytes = 17,
    .spec = {.type = CodeType::kFp4, .group = 32, .offsets = false, .scale_type = DType::kF32},
    .read = Read,
    .finite = IsFinite};

}  // namespace folkmoot
