// SPDX-License-Identifier: Apache-2.0
// Numbers to codes, rounded to nearest: what `folkmoot quantize` makes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "runtime/dtype.h"

namespace folkmoot {

// Codes are laid out as the formats of compressed-tensors and FP8 blocks store them (see
// compressed_tensors.cc and fp8_block.cc).
enum class EncodeType : uint8_t {
  kInt8,   // groups; a byte per code, 128 added
  kInt4,   // groups; two to a byte, the first in the low half, 8 added
  kFp8,    // blocks of group x group
  kMxfp4,  // groups of 32; E2M1, two to a byte; scales are exponents in a byte
};

struct EncodeSpec {
  EncodeType type = EncodeType::kInt4;
  int64_t group = 32;
  DType scale_type =
      DType::kF32;  // of kInt8 and kInt4: kF32, kBF16, kF16; scales are rounded to it first

  int64_t CodeBytes(int64_t k) const;  // of one row; int4 and int8 rows fill words of 32 bits
  int64_t RowsPerScale() const { return type == EncodeType::kFp8 ? group : 1; }
  int64_t ScaleBytes(int64_t k) const;  // of RowsPerScale() rows
};

// values [rows, k] in finite numbers; group divides k, and for kFp8 only the last call for a matrix
// may have rows that are not a multiple of group. codes: CodeBytes(k) per row; scales:
// ScaleBytes(k) per RowsPerScale() rows.
//
// kInt8: scale = largest / 127. kInt4: the scale among largest / 7, / 7.5 and / 8 that loses least
// (sum of squares); numbers above 7 become 7. kFp8: largest / 448. kMxfp4: 2^floor(log2(largest)) /
// 4 or twice that, whichever loses less. A group of zeros has scale 1.
void Encode(const EncodeSpec& spec, std::span<const float> values, int64_t k,
            std::span<std::byte> codes, std::span<std::byte> scales);

}  // namespace folkmoot
