// SPDX-License-Identifier: Apache-2.0
// Matrices that are stored with k along the rows of a tensor, as AWQ and GPTQ do. Internal to
// runtime/quant/.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "runtime/quant/code_tensors.h"

namespace folkmoot {

// Numbers of `bits` bits without sign in words of 32. Packed across: word [i, c] holds numbers c *
// (32 / bits) + j of row i, number j at bits shifts[j]. Packed down: word [i, c] holds rows i * (32
// / bits) + j of column c.
struct PackedWords {
  const TensorInfo* tensor = nullptr;
  int64_t bits = 4;
  bool down = false;
  std::span<const uint8_t> shifts;  // in bits, one for each number of a word

  uint32_t Get(int64_t row, int64_t column) const;
};

struct ColumnCodes {
  int64_t n = 0;
  int64_t k = 0;
  CodeSpec spec;
  PackedWords codes;  // [k, n]
  PackedWords zeros;  // [groups, n]
  ScaleView scales;   // by column of the file and group
  int32_t plus = 0;   // is added to zeros
};
// The tensor `name` [groups, n] of scales, all finite.
absl::StatusOr<ScaleView> ColumnScales(const CodeTensors& tensors, const std::string& name,
                                       int64_t n, int64_t groups);
std::unique_ptr<CodeMatrix> MakeColumnCodes(const ColumnCodes& columns);

}  // namespace folkmoot
