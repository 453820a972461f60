// SPDX-License-Identifier: Apache-2.0
// Plain weights as codes, each rounded to the nearest: what `--quantization` makes. `folkmoot
// quantize` chooses its scales with more care: encode.h.
#pragma once

#include <optional>
#include <string_view>

#include "runtime/ops/gemm.h"
#include "runtime/quant/code_matrix.h"

namespace folkmoot {

// The code of the number nearest to x, ties to the even code; beyond the largest number, its code.
// kInt8 from -127. Not for kUint4 or NaN.
uint8_t NearestCode(CodeType type, float x);

// Scale and codes of one group of values. Scales are first rounded to spec.scale_type:
//   kInt8  scale = max|x| / 127
//   kInt4  scale = -x / 8 for the x of the largest magnitude, which is then exact (as Q4_0 of GGUF)
//   kFp4   scale = 2^(floor(log2 max|x|) - 2) (OCP Microscaling 1.0, section 6.3)
//   kFp8   scale = max|x| / 448
// A group of zeros has scale 0. NaN and infinities make the scale NaN.
float RoundGroup(const CodeSpec& spec, std::span<const float> values, std::span<uint8_t> codes);

// A plain matrix seen as codes; rounds when it is read. `weight` must live as long.
class RoundedMatrix : public CodeMatrix {
 public:
  // spec without offsets.
  RoundedMatrix(const WeightView& weight, const CodeSpec& spec);
  void ReadRow(int64_t row, const CodeRow& out) const override;

 private:
  WeightView weight_;
};

// "q8_0", "q4_0", "mxfp4", "fp8": 32 weights to a scale, 128 for fp8; nullopt for another name.
std::optional<CodeSpec> CodeSpecNamed(std::string_view name);

}  // namespace folkmoot
