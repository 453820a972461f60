// SPDX-License-Identifier: Apache-2.0
// The layout of a packed panel of quantised weights (words of a chunk: code_kernel-inl.h).
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/quant/code_matrix.h"

namespace folkmoot::cpu {

// Per group of k its chunks, 32 scales, and 32 offsets where there are any.
struct CodePanelShape {
  static constexpr int64_t kCols = 32;

  CodeType type;
  DType scale_type;
  bool offsets;
  int64_t chunk;   // k per chunk: 16 or 32
  int64_t chunks;  // per group
  int64_t groups;
  int64_t chunk_bytes;
  int64_t group_bytes;

  static CodePanelShape Of(const CodeSpec& spec, int64_t k) {
    CodePanelShape shape = {spec.type, spec.scale_type, spec.offsets, 0, 0, 0, 0, 0};
    shape.chunk = spec.group == 16 ? 16 : 32;
    shape.chunks = (spec.group + shape.chunk - 1) / shape.chunk;
    shape.groups = (k + spec.group - 1) / spec.group;
    shape.chunk_bytes = shape.chunk * kCols * CodeBits(spec.type) / 8;
    shape.group_bytes = shape.chunks * shape.chunk_bytes +
                        (spec.offsets ? 2 : 1) * kCols * DTypeBytes(spec.scale_type);
    return shape;
  }
  int64_t bytes() const { return groups * group_bytes; }
  // What an integer 1 of the codes stands for: E2M1 codes are doubled to integers.
  float unit() const { return type == CodeType::kFp4 ? 0.5f : 1.0f; }
};

// Writes rows first .. first + rows of `weight` to columns column .. of the panel.
struct CodePanelPart {
  const CodeMatrix& weight;
  int64_t first;
  int64_t rows;
  int64_t column;
};
void PackCodePanel(const CodePanelPart& part, const CodeRow& scratch, std::byte* panel);
// The row that stands in `column` of a panel.
void UnpackCodes(const CodeSpec& spec, int64_t k, const std::byte* panel, int64_t column,
                 const CodeRow& out);

}  // namespace folkmoot::cpu
