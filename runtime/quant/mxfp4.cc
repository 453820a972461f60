// SPDX-License-Identifier: Apache-2.0
// "mxfp4": experts of E2M1 codes that share a power of two in groups of 32 (OCP Microscaling), as
// gpt-oss is published. x is the packed expert tensor's name:
//
//   x_blocks  U8 [E, rows, k / 32, 16], the even weight of a pair in the low half
//   x_scales  U8 [E, rows, k / 32]: 2^(value - 127), and 255 is NaN
//
// The order of rows is the model's: gpt-oss lets gate and up rows take turns (row_step 2).
#include "runtime/quant/code_tensors.h"
#include "runtime/quant/formats.h"

namespace folkmoot {
namespace {

constexpr int64_t kGroup = 32;

class Mxfp4 final : public WeightFormat {
 public:
  std::string description() const override { return "MXFP4"; }

  std::vector<std::string> Parts(const Checkpoint& checkpoint,
                                 const std::string& name) const override {
    if (checkpoint.Find(name + "_blocks") == nullptr) return {};
    return Present(checkpoint, {name + "_blocks", name + "_scales"});
  }

  absl::StatusOr<std::unique_ptr<CodeMatrix>> Open(const Checkpoint& checkpoint,
                                                   const TensorRef& ref) const override {
    const CodeTensors tensors(checkpoint, ref);
    const std::string blocks_name = ref.name + "_blocks";
    const std::string scales_name = ref.name + "_scales";
    FM_RETURN_IF_ERROR(tensors.Group(blocks_name, kGroup).status());
    const int64_t groups = ref.k / kGroup;
    const int64_t rows = ref.slices > 0 ? ref.slice_rows : ref.n;
    Shape shape = {rows, groups};
    if (ref.slices > 0) shape.insert(shape.begin(), ref.slices);
    FM_ASSIGN_OR_RETURN(const TensorInfo* scales, tensors.Get(scales_name, {DType::kU8}, {shape}));
    shape.push_back(kGroup / 2);
    FM_ASSIGN_OR_RETURN(const TensorInfo* blocks, tensors.Get(blocks_name, {DType::kU8}, {shape}));
    RowCodes out;
    out.n = ref.n;
    out.k = ref.k;
    out.spec = {.type = CodeType::kFp4, .group = kGroup};
    out.scales = {.tensor = scales,
                  .first = ref.slice * rows * groups,
                  .row_stride = groups,
                  .column_stride = 1};
    FM_RETURN_IF_ERROR(CheckScales(tensors, scales_name, out.scales, rows, groups));
    const std::span<const std::byte> bytes = BytesOf(*blocks, ref.slices, ref.slice);
    out.row_bytes = ref.k / 2;
    out.first_row = ref.first_row;
    out.row_step = ref.row_step;
    out.codes = bytes.data() + ref.first_row * out.row_bytes;
    out.storage = bytes;
    return MakeRowCodes(out);
  }
};

}  // namespace

absl::StatusOr<WeightFormatPtr> MakeMxfp4(const ConfigReader& keys) {
  FM_RETURN_IF_ERROR(
      CheckKnownKeys(keys, {"quant_method", "modules_to_not_convert", "dequantize"}));
  FM_RETURN_IF_ERROR(keys.Strings("modules_to_not_convert").status());
  return std::make_shared<Mxfp4>();
}

}  // namespace folkmoot
