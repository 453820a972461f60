// SPDX-License-Identifier: Apache-2.0
#include "runtime/quant/column_codes.h"

#include <cstring>

namespace folkmoot {
namespace {

// Weight i of row r is scale * (number - zero), and CodeMatrix wants scale * code + offset: 4 bits
// are kept as they are, and of 8 bits 128 is subtracted on both sides.
class ColumnCodeMatrix final : public CodeMatrix {
 public:
  explicit ColumnCodeMatrix(const ColumnCodes& columns)
      : CodeMatrix(columns.n, columns.k, columns.spec), columns_(columns) {}

  void ReadRow(int64_t row, const CodeRow& out) const override {
    const uint32_t flip = columns_.codes.bits == 8 ? 0x80 : 0;
    for (int64_t i = 0; i < k(); ++i) {
      out.codes[static_cast<size_t>(i)] = static_cast<uint8_t>(columns_.codes.Get(i, row) ^ flip);
    }
    for (int64_t g = 0; g < groups(); ++g) {
      const float scale = columns_.scales.Get(row, g);
      out.scales[static_cast<size_t>(g)] = scale;
      if (!spec().offsets) continue;
      const auto zero = static_cast<int32_t>(columns_.zeros.Get(g, row)) + columns_.plus;
      out.offsets[static_cast<size_t>(g)] =
          -scale * static_cast<float>(zero - static_cast<int32_t>(flip));
    }
  }

  Storage storage() const override { return {BytesOf(*columns_.codes.tensor), n()}; }

 private:
  ColumnCodes columns_;
};

}  // namespace

uint32_t PackedWords::Get(int64_t row, int64_t column) const {
  const auto each = static_cast<int64_t>(shifts.size());
  const int64_t packed = down ? row : column;
  const int64_t word_row = down ? row / each : row;
  const int64_t word_column = down ? column : column / each;
  uint32_t word = 0;
  std::memcpy(&word, tensor->data + (word_row * tensor->shape[1] + word_column) * 4, sizeof word);
  return (word >> shifts[static_cast<size_t>(packed % each)]) & ((1u << bits) - 1);
}

absl::StatusOr<ScaleView> ColumnScales(const CodeTensors& tensors, const std::string& name,
                                       int64_t n, int64_t groups) {
  ScaleView scales;
  FM_ASSIGN_OR_RETURN(scales.tensor,
                      tensors.Get(name, {DType::kF16, DType::kBF16, DType::kF32}, {{groups, n}}));
  scales.row_stride = 1;
  scales.column_stride = n;
  FM_RETURN_IF_ERROR(CheckScales(tensors, name, scales, n, groups));
  return scales;
}

std::unique_ptr<CodeMatrix> MakeColumnCodes(const ColumnCodes& columns) {
  return std::make_unique<ColumnCodeMatrix>(columns);
}

}  // namespace folkmoot
