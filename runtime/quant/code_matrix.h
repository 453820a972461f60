// SPDX-License-Identifier: Apache-2.0
// Quantised weights, whatever file they come from: codes of 4 or 8 bits that share a scale in
// groups along k. Weight i of row r is, exactly,
//
//   scale(r, i / group) * Number(code(r, i)) + offset(r, i / group)
//
// in float32 (one fused multiply-add). Kernels take the codes as they are; no file format is known
// outside runtime/quant/. ReadNumbers may round in another order, where others that read the format
// do: then it differs from this by the rounding of a scale.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/dtype.h"

namespace folkmoot {

enum class CodeType : uint8_t {
  kInt8,   // a signed byte
  kInt4,   // 0..15, the number is code - 8
  kUint4,  // 0..15
  kFp4,    // E2M1 (OCP Microscaling): 0, 0.5, 1, 1.5, 2, 3, 4, 6, and bit 3 the sign
  kFp8,    // E4M3 without infinities (OCP FP8): 448 at most, 0x7f and 0xff are NaN
};

int64_t CodeBits(CodeType type);  // 4 or 8
float CodeNumber(CodeType type, uint8_t code);

struct CodeSpec {
  CodeType type = CodeType::kInt8;
  int64_t group = 32;              // 16, a multiple of 32, or all of k
  bool offsets = false;            // without, they are zero
  DType scale_type = DType::kF32;  // kF16: scales and offsets are exact in float16

  bool operator==(const CodeSpec&) const = default;
};

double BytesPerWeight(const CodeSpec& spec);  // scales and offsets included

// One row, unpacked: a byte per code, and a float per group.
struct CodeRow {
  std::span<uint8_t> codes;  // [k]
  std::span<float> scales;   // [Groups()]
  std::span<float> offsets;  // [Groups()], or empty without offsets
};

// A matrix [n, k] of codes as some file stores it. Does not own the file. Any thread may read.
class CodeMatrix {
 public:
  CodeMatrix(int64_t n, int64_t k, const CodeSpec& spec) : n_(n), k_(k), spec_(spec) {}
  virtual ~CodeMatrix() = default;

  int64_t n() const { return n_; }
  int64_t k() const { return k_; }
  const CodeSpec& spec() const { return spec_; }
  int64_t groups() const { return (k_ + spec_.group - 1) / spec_.group; }

  virtual void ReadRow(int64_t row, const CodeRow& out) const = 0;
  // Row `row` as numbers, out [k], by way of `scratch`.
  virtual void ReadNumbers(int64_t row, const CodeRow& scratch, std::span<float> out) const;
  // The bytes of the file that hold it, for progress and for memory that may be given back. `rows`
  // of them lie there, which may be more than its own. None: it is in no file.
  struct Storage {
    std::span<const std::byte> bytes;
    int64_t rows = 0;
  };
  virtual Storage storage() const { return {}; }

 private:
  int64_t n_;
  int64_t k_;
  CodeSpec spec_;
};

// Rows first .. first + n of another matrix, as its own.
std::unique_ptr<CodeMatrix> RowsOf(std::unique_ptr<CodeMatrix> matrix, int64_t first, int64_t n);

// Memory for one row.
class CodeRowBuffer {
 public:
  explicit CodeRowBuffer(const CodeMatrix& matrix);
  CodeRow row() { return {codes_, scales_, offsets_}; }

 private:
  std::vector<uint8_t> codes_;
  std::vector<float> scales_;
  std::vector<float> offsets_;
};

// The same with its sizes checked.
void DequantizeRow(const CodeMatrix& matrix, int64_t row, const CodeRow& scratch,
                   std::span<float> out);

// Why a kernel cannot run a matrix of this spec and k ("group 24 is not 16 or a multiple of 32");
// empty when it can.
std::string_view WhyNotRunnable(const CodeSpec& spec, int64_t k);

}  // namespace folkmoot
