// SPDX-License-Identifier: Apache-2.0
#include "runtime/quant/code_tensors.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

namespace folkmoot {
namespace {

constexpr std::initializer_list<DType> kScaleTypes = {DType::kF32, DType::kBF16, DType::kF16,
                                                      DType::kF8E8M0};
constexpr std::initializer_list<DType> kScaleOrByteTypes = {DType::kF32, DType::kBF16, DType::kF16,
                                                            DType::kF8E8M0, DType::kU8};

class RowCodeMatrix final : public CodeMatrix {
 public:
  explicit RowCodeMatrix(const RowCodes& rows)
      : CodeMatrix(rows.n, rows.k, rows.spec), rows_(rows) {}

  void ReadRow(int64_t row, const CodeRow& out) const override { Read(row, rows_.factor, out); }

  void ReadNumbers(int64_t row, const CodeRow& scratch, std::span<float> out) const override {
    if (rows_.factor == 1.0f) return CodeMatrix::ReadNumbers(row, scratch, out);
    Read(row, 1.0f, scratch);
    const auto group = static_cast<size_t>(spec().group);
    for (size_t i = 0; i < out.size(); ++i) {
      const float number = scratch.scales[i / group] * CodeNumber(spec().type, scratch.codes[i]);
      out[i] = number * rows_.factor;
    }
  }

  Storage storage() const override {
    return {rows_.storage, std::ssize(rows_.storage) / rows_.row_bytes};
  }

 private:
  void Read(int64_t row, float factor, const CodeRow& out) const {
    const int64_t stored = row * rows_.row_step;
    const auto* bytes = reinterpret_cast<const uint8_t*>(rows_.codes + stored * rows_.row_bytes);
    const auto count = static_cast<size_t>(k());
    if (CodeBits(spec().type) == 8) {
      for (size_t i = 0; i < count; ++i) out.codes[i] = bytes[i] ^ rows_.flip;
    } else {
      for (size_t i = 0; i < count; ++i) out.codes[i] = (bytes[i / 2] >> (4 * (i % 2))) & 15;
    }
    const int64_t at = rows_.first_row + stored;
    for (int64_t g = 0; g < groups(); ++g) {
      const float scale = rows_.scales.Get(at, g) * factor;
      out.scales[static_cast<size_t>(g)] = scale;
      if (!rows_.zeros) continue;
      const int32_t zero = rows_.zeros->Get(at, g) + rows_.zero_bias;
      out.offsets[static_cast<size_t>(g)] = -scale * static_cast<float>(zero);
    }
  }

  RowCodes rows_;
};

}  // namespace

std::optional<std::string> ModuleOf(const std::string& weight_name) {
  constexpr std::string_view kSuffix = ".weight";
  if (!weight_name.ends_with(kSuffix)) return std::nullopt;
  return weight_name.substr(0, weight_name.size() - kSuffix.size());
}

std::vector<std::string> Present(const Checkpoint& checkpoint,
                                 std::initializer_list<std::string> names) {
  std::vector<std::string> present;
  for (const std::string& name : names) {
    if (checkpoint.Find(name) != nullptr) present.push_back(name);
  }
  return present;
}

std::string CodeTensors::Where(const std::string& name) const {
  const TensorInfo* info = Find(name);
  return fmt::format("{}tensor '{}'", info == nullptr ? "" : fmt::format("{}: ", info->file), name);
}

absl::StatusOr<const TensorInfo*> CodeTensors::Get(const std::string& name,
                                                   std::initializer_list<DType> dtypes,
                                                   std::initializer_list<Shape> shapes) const {
  const std::string size = fmt::format("'{}' [{}, {}]", ref_.name, ref_.n, ref_.k);
  const TensorInfo* info = Find(name);
  if (info == nullptr) {
    return NotFound("tensor '{}' is missing: without it the codes of {} have no meaning", name,
                    size);
  }
  if (std::find(dtypes.begin(), dtypes.end(), info->dtype) == dtypes.end()) {
    std::vector<std::string_view> known;
    for (const DType dtype : dtypes) known.push_back(DTypeName(dtype));
    return InvalidArgument("{} has dtype {}; as a part of {} it must be {}", Where(name),
                           DTypeName(info->dtype), size, fmt::join(known, " or "));
  }
  if (std::find(shapes.begin(), shapes.end(), info->shape) == shapes.end()) {
    return InvalidArgument(
        "{} has shape [{}]; for {} and the quantization_config of config.json it must be [{}]",
        Where(name), fmt::join(info->shape, ", "), size, fmt::join(*shapes.begin(), ", "));
  }
  return info;
}

absl::StatusOr<int64_t> CodeTensors::Group(const std::string& name, int64_t group_size) const {
  if (group_size == -1) return ref_.k;
  if (group_size < 1 || ref_.k % group_size != 0) {
    return InvalidArgument(
        "{}: groups of {} weights do not divide its rows of {}: quantise it with another "
        "group_size, "
        "or leave it plain",
        Where(name), group_size, ref_.k);
  }
  return group_size;
}

absl::Status CheckGroupOrder(const CodeTensors& tensors, const std::string& name,
                             const TensorInfo& order, int64_t group) {
  const auto* groups = reinterpret_cast<const int32_t*>(order.data);
  for (int64_t i = 0; i < order.shape[0]; ++i) {
    if (groups[i] == i / group) continue;
    return InvalidArgument(
        "{}: column {} belongs to group {} and not {}: columns that were sorted by activation "
        "(desc_act, actorder) are not supported; quantise again without",
        tensors.Where(name), i, groups[i], i / group);
  }
  return absl::OkStatus();
}

float ScaleView::Get(int64_t row, int64_t group) const {
  const int64_t at =
      first + row / row_block * row_stride + group * group_size / column_block * column_stride;
  if (tensor->dtype == DType::kU8 || tensor->dtype == DType::kF8E8M0) {
    const auto exponent = static_cast<uint8_t>(tensor->data[at]);
    // 2^(exponent - 127); E2M1 numbers times what is left out would be infinite.
    if (exponent >= 253) return std::numeric_limits<float>::quiet_NaN();
    return std::bit_cast<float>(exponent == 0 ? 0x00400000u : uint32_t{exponent} << 23);
  }
  if (tensor->dtype == DType::kF8E4M3) {
    return CodeNumber(CodeType::kFp8, static_cast<uint8_t>(tensor->data[at])) / divisor * factor;
  }
  return LoadElement(tensor->data, tensor->dtype, at) / divisor * factor;
}

absl::Status CheckScales(const CodeTensors& tensors, const std::string& name,
                         const ScaleView& scales, int64_t rows, int64_t groups) {
  for (int64_t r = 0; r < rows; r += scales.row_block) {
    for (int64_t g = 0; g < groups; ++g) {
      const float scale = scales.Get(r, g);
      if (std::isfinite(scale)) continue;
      return DataLoss(
          "{}: the scale of row {}, group {} is {}: the file is damaged, or was "
          "quantised from weights that were not finite",
          tensors.Where(name), r, g, scale);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> FindScales(const CodeTensors& tensors, const std::string& name,
                                   const TensorRef& ref, const ScaleBlocks& blocks,
                                   ScaleView* scales) {
  const int64_t slices = ref.slices;
  const int64_t rows = slices > 0 ? ref.slice_rows : ref.n;
  int64_t group = ref.k;
  absl::StatusOr<const TensorInfo*> found;
  if (blocks.rows == 0) {
    found = slices > 0
                ? tensors.Get(name, kScaleTypes, {{slices}, {slices, 1}, {slices, 1, 1}, {}, {1}})
                : tensors.Get(name, kScaleTypes, {{1}, {}, {1, 1}});
    const bool one = found.ok() && (*found)->bytes == DTypeBytes((*found)->dtype);
    scales->first = one ? 0 : ref.slice;
  } else if (blocks.columns == 0) {
    found = tensors.Get(name, kScaleTypes, {{rows, 1}, {rows}});
    scales->row_stride = 1;
  } else {
    const int64_t down = (rows + blocks.rows - 1) / blocks.rows;
    const int64_t across = (ref.k + blocks.columns - 1) / blocks.columns;
    const auto types = blocks.bytes ? kScaleOrByteTypes : kScaleTypes;
    found = slices > 0 ? tensors.Get(name, types, {{slices, down, across}})
                       : tensors.Get(name, types, {{down, across}, {down, 1, across, 1}});
    // Where the last block is not whole, smaller groups that divide the rows repeat its scales.
    if (across > 1) group = std::gcd(blocks.columns, ref.k);
    scales->first = ref.slice * down * across;
    scales->row_block = blocks.rows;
    scales->row_stride = across;
    scales->group_size = group;
    scales->column_block = blocks.columns;
    scales->column_stride = 1;
  }
  FM_RETURN_IF_ERROR(found.status());
  scales->tensor = *found;
  FM_RETURN_IF_ERROR(CheckScales(tensors, name, *scales, rows, ref.k / group));
  return group;
}

absl::StatusOr<float> ScaleFactor(const CodeTensors& tensors, const std::string& name,
                                  std::initializer_list<Shape> shapes, int64_t at) {
  FM_ASSIGN_OR_RETURN(const TensorInfo* info,
                      tensors.Get(name, {DType::kF32, DType::kBF16, DType::kF16}, shapes));
  const bool one = info->bytes == DTypeBytes(info->dtype);
  const float factor = LoadElement(info->data, info->dtype, one ? 0 : at);
  if (factor >= 0 && std::isfinite(factor)) return factor;
  return DataLoss("{} is {}; it must be a finite number that is not below 0", tensors.Where(name),
                  factor);
}

int32_t ZeroView::Get(int64_t row, int64_t group) const {
  if (layout == Layout::kBytes) {
    return static_cast<int8_t>(tensor->data[row * groups + group]);
  }
  const int64_t bit = row * bits;
  uint32_t word = 0;
  std::memcpy(&word, tensor->data + (bit / 32 * groups + group) * 4, sizeof word);
  const uint32_t value = (word >> (bit % 32)) & ((1u << bits) - 1);
  return static_cast<int32_t>(value) - (1 << (bits - 1));
}

std::unique_ptr<CodeMatrix> MakeRowCodes(const RowCodes& rows) {
  return std::make_unique<RowCodeMatrix>(rows);
}

std::span<const std::byte> BytesOf(const TensorInfo& tensor, int64_t slices, int64_t slice) {
  const auto bytes = static_cast<size_t>(slices == 0 ? tensor.bytes : tensor.bytes / slices);
  return {tensor.data + bytes * static_cast<size_t>(slice), bytes};
}

}  // namespace folkmoot
