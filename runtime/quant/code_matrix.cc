// SPDX-License-Identifier: Apache-2.0
#include "runtime/quant/code_matrix.h"

#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "runtime/check.h"

namespace folkmoot {
namespace {

constexpr std::array<float, 8> kFp4Numbers = {0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f};

// E4M3 is float16 with three bits of mantissa and an exponent that is biased by 7 and not 15.
float Fp8Number(uint8_t code) {
  if ((code & 0x7f) == 0x7f) return std::numeric_limits<float>::quiet_NaN();
  const auto half = static_cast<uint16_t>((code & 0x80) << 8 | (code & 0x7f) << 7);
  return F16ToFloat(half) * 256.0f;
}

class RowSlice : public CodeMatrix {
 public:
  RowSlice(std::unique_ptr<CodeMatrix> matrix, int64_t first, int64_t n)
      : CodeMatrix(n, matrix->k(), matrix->spec()), matrix_(std::move(matrix)), first_(first) {}
  void ReadRow(int64_t row, const CodeRow& out) const override {
    matrix_->ReadRow(first_ + row, out);
  }
  void ReadNumbers(int64_t row, const CodeRow& scratch, std::span<float> out) const override {
    matrix_->ReadNumbers(first_ + row, scratch, out);
  }
  Storage storage() const override { return matrix_->storage(); }

 private:
  std::unique_ptr<CodeMatrix> matrix_;
  int64_t first_;
};

}  // namespace

std::unique_ptr<CodeMatrix> RowsOf(std::unique_ptr<CodeMatrix> matrix, int64_t first, int64_t n) {
  FM_CHECK(first >= 0 && n >= 0 && first + n <= matrix->n());
  return std::make_unique<RowSlice>(std::move(matrix), first, n);
}

int64_t CodeBits(CodeType type) {
  return type == CodeType::kInt8 || type == CodeType::kFp8 ? 8 : 4;
}

float CodeNumber(CodeType type, uint8_t code) {
  switch (type) {
    case CodeType::kInt8:
      return static_cast<float>(static_cast<int8_t>(code));
    case CodeType::kInt4:
      return static_cast<float>(code) - 8.0f;
    case CodeType::kUint4:
      return static_cast<float>(code);
    case CodeType::kFp4:
      return (code & 8) != 0 ? -kFp4Numbers[code & 7] : kFp4Numbers[code & 7];
    case CodeType::kFp8:
      break;
  }
  return Fp8Number(code);
}

double BytesPerWeight(const CodeSpec& spec) {
  const auto scale_bytes =
      static_cast<double>((spec.offsets ? 2 : 1) * DTypeBytes(spec.scale_type));
  return static_cast<double>(CodeBits(spec.type)) / 8 +
         scale_bytes / static_cast<double>(spec.group);
}

void CodeMatrix::ReadNumbers(int64_t row, const CodeRow& scratch, std::span<float> out) const {
  ReadRow(row, scratch);
  const auto group = static_cast<size_t>(spec_.group);
  for (size_t i = 0; i < out.size(); ++i) {
    const float offset = spec_.offsets ? scratch.offsets[i / group] : 0.0f;
    out[i] = std::fma(scratch.scales[i / group], CodeNumber(spec_.type, scratch.codes[i]), offset);
  }
}

void DequantizeRow(const CodeMatrix& matrix, int64_t row, const CodeRow& scratch,
                   std::span<float> out) {
  FM_CHECK(static_cast<int64_t>(out.size()) == matrix.k());
  matrix.ReadNumbers(row, scratch, out);
}

CodeRowBuffer::CodeRowBuffer(const CodeMatrix& matrix)
    : codes_(static_cast<size_t>(matrix.k())),
      scales_(static_cast<size_t>(matrix.groups())),
      offsets_(matrix.spec().offsets ? scales_.size() : 0) {}

std::string_view WhyNotRunnable(const CodeSpec& spec, int64_t k) {
  if (spec.group == k) return "";
  if (spec.group != 16 && spec.group % 32 != 0) {
    return "its groups are not 16 weights, a multiple of 32, or whole rows";
  }
  if (k % spec.group != 0) return "its groups do not divide the rows";
  return "";
}

}  // namespace folkmoot
