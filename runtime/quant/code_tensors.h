// SPDX-License-Identifier: Apache-2.0
// What the formats of safetensors share: tensors found and checked by name, scales and zero points
// wherever they lie, and matrices whose rows are runs of bytes.
#pragma once

#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/checkpoint/checkpoint.h"
#include "runtime/checkpoint/tensor_ref.h"
#include "runtime/quant/code_matrix.h"
#include "runtime/status.h"

namespace folkmoot {

using Shape = std::vector<int64_t>;

// "model.layers.0.mlp.up_proj" of "model.layers.0.mlp.up_proj.weight"; nullopt for other names.
std::optional<std::string> ModuleOf(const std::string& weight_name);
// Those of `names` that the checkpoint has.
std::vector<std::string> Present(const Checkpoint& checkpoint,
                                 std::initializer_list<std::string> names);

// Errors of one matrix, and its tensors.
class CodeTensors {
 public:
  CodeTensors(const Checkpoint& checkpoint, const TensorRef& ref)
      : checkpoint_(checkpoint), ref_(ref) {}

  // The tensor, which must be there with one of these dtypes and one of these shapes.
  absl::StatusOr<const TensorInfo*> Get(const std::string& name,
                                        std::initializer_list<DType> dtypes,
                                        std::initializer_list<Shape> shapes) const;
  const TensorInfo* Find(const std::string& name) const { return checkpoint_.Find(name); }
  // "FILE: tensor 'NAME'".
  std::string Where(const std::string& name) const;
  // The weights in a group when `group_size` is what the config says: -1 stands for all of k.
  // Refuses what does not divide.
  absl::StatusOr<int64_t> Group(const std::string& name, int64_t group_size) const;

 private:
  const Checkpoint& checkpoint_;
  const TensorRef& ref_;
};

// Refuses an order of columns (g_idx, I32 [k]) other than group after group.
absl::Status CheckGroupOrder(const CodeTensors& tensors, const std::string& name,
                             const TensorInfo& order, int64_t group);

// The number for row r and group g, for a tensor of any layout:
// data[first + r / row_block * row_stride + g * group_size / column_block * column_stride].
// A tensor of F8_E8M0 or U8 holds exponents: 2^(value - 127), and 255 is NaN.
struct ScaleView {
  const TensorInfo* tensor = nullptr;
  float divisor = 1.0f;  // of all of them
  float factor = 1.0f;   // of what that gives
  int64_t first = 0;
  int64_t row_block = 1;
  int64_t row_stride = 0;
  int64_t group_size = 1;
  int64_t column_block = 1;
  int64_t column_stride = 0;

  float Get(int64_t row, int64_t group) const;
};
// Refuses, by the tensor's name, a scale that is NaN or infinite.
absl::Status CheckScales(const CodeTensors& tensors, const std::string& name,
                         const ScaleView& scales, int64_t rows, int64_t groups);

// The part of a matrix that shares a scale.
struct ScaleBlocks {
  int64_t rows = 0;     // 0: all of them, and all columns
  int64_t columns = 0;  // 0: all of a row
  bool bytes = false;   // U8 are exponents, too, as F8_E8M0
};
// Finds and checks the scales `name` of `ref`, floats or powers of two, one per block. Returns how
// many weights of a row share one. Slices may have one scale for all of them; blocks may be stored
// [down, 1, across, 1].
absl::StatusOr<int64_t> FindScales(const CodeTensors& tensors, const std::string& name,
                                   const TensorRef& ref, const ScaleBlocks& blocks,
                                   ScaleView* scales);

// A signed number per row and group that is subtracted from codes.
struct ZeroView {
  enum class Layout : uint8_t {
    kBytes,       // I8 [rows, groups]
    kPackedRows,  // I32 [rows * bits / 32, groups], 2^(bits - 1) added
  };
  const TensorInfo* tensor = nullptr;
  Layout layout = Layout::kBytes;
  int64_t bits = 8;
  int64_t groups = 0;

  int32_t Get(int64_t row, int64_t group) const;
};

// A matrix whose codes lie row after row: bytes, or two to a byte with the first in the low half.
struct RowCodes {
  int64_t n = 0;
  int64_t k = 0;
  CodeSpec spec;
  const std::byte* codes = nullptr;  // of row 0
  int64_t row_bytes = 0;             // from one stored row to the next
  int64_t first_row = 0;             // scales and zeros count from here
  int64_t row_step = 1;
  uint8_t flip = 0;  // bytes are xored with it
  ScaleView scales;
  // Of all weights. In numbers it comes last, after the product of scale and number is rounded;
  // kernels get it as a part of the scales.
  float factor = 1.0f;
  std::optional<ZeroView> zeros;  // offset = -scale * (zero + zero_bias)
  int32_t zero_bias = 0;
  std::span<const std::byte> storage;  // the rows that are stored together
};
std::unique_ptr<CodeMatrix> MakeRowCodes(const RowCodes& rows);

// The one number of the tensor `name`, a factor of all scales: finite, and not below zero.
absl::StatusOr<float> ScaleFactor(const CodeTensors& tensors, const std::string& name,
                                  std::initializer_list<Shape> shapes, int64_t at = 0);

// The bytes of a tensor, or of one of its slices.
std::span<const std::byte> BytesOf(const TensorInfo& tensor, int64_t slices = 0, int64_t slice = 0);

}  // namespace folkmoot
