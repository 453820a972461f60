// SPDX-License-Identifier: Apache-2.0
// "compressed-tensors", as llm-compressor and vLLM know it. For a module x, by `format`:
//
//   pack-quantized        x.weight_packed I32 [n, ceil(k * bits / 32)]: numbers of 4 or 8 bits with
//                         2^(bits - 1) added, the first in the lowest bits; x.weight_shape [n, k];
//                         x.weight_zero_point I32, packed the same way along n
//   int-quantized         x.weight I8 [n, k]; x.weight_zero_point I8
//   float-quantized       x.weight F8_E4M3 [n, k]
//   naive-quantized       one of the two before, by dtype
//   mxfp4-pack-quantized  x.weight_packed U8 [n, k / 2], E2M1, the first in the low half;
//                         x.weight_scale U8 [n, k / 32]: 2^(value - 127)
//   nvfp4-pack-quantized  the same codes; x.weight_scale F8_E4M3 [n, k / 16], to be divided by
//                         x.weight_global_scale F32 [1]
//
// and x.weight_scale: [1] (strategy tensor), [n, 1] (channel), [n, k / group_size] (group) or
// [ceil(n / b0), ceil(k / b1)] (block). A weight is scale * (number - zero point).
//
// Activations are not quantised here, whatever input_activations says, nor is the cache.
#include "runtime/quant/code_tensors.h"
#include "runtime/quant/compressed_scheme.h"
#include "runtime/quant/formats.h"
#include "runtime/quant/fp4.h"
#include "runtime/quant/fp8.h"

namespace folkmoot {
namespace {

class CompressedTensors final : public WeightFormat {
 public:
  explicit CompressedTensors(const CompressedScheme& scheme) : scheme_(scheme) {}

  std::string description() const override { return Describe(scheme_); }
  bool floats() const override { return scheme_.floats; }

  std::vector<std::string> Parts(const Checkpoint& checkpoint,
                                 const std::string& name) const override {
    const std::optional<std::string> module = ModuleOf(name);
    if (!module) return {};
    const std::string codes = CodesOf(*module);
    const TensorInfo* info = checkpoint.Find(codes);
    if (info == nullptr) return {};
    if (!scheme_.packed() && info->dtype != DType::kI8 && info->dtype != DType::kF8E4M3) return {};
    std::vector<std::string> parts =
        Present(checkpoint, {*module + ".weight_scale", *module + ".weight_zero_point",
                             *module + ".weight_shape", *module + ".weight_g_idx",
                             *module + ".weight_global_scale", *module + ".input_scale",
                             *module + ".input_zero_point", *module + ".input_global_scale"});
    parts.insert(parts.begin(), codes);
    return parts;
  }

  absl::StatusOr<std::unique_ptr<CodeMatrix>> Open(const Checkpoint& checkpoint,
                                                   const TensorRef& ref) const override {
    const CodeTensors tensors(checkpoint, ref);
    const std::string module = *ModuleOf(ref.name);
    if (ref.slices > 0) {
      return InvalidArgument("{}: compressed-tensors keeps every expert in tensors of its own",
                             tensors.Where(CodesOf(module)));
    }
    FM_RETURN_IF_ERROR(CheckOrder(tensors, module, ref.k));
    switch (scheme_.layout) {
      case CompressedScheme::Layout::kPackedInts:
        return OpenInts(tensors, module, ref, scheme_.bits);
      case CompressedScheme::Layout::kFp4:
        return OpenFp4Module(tensors, module, ref);
      case CompressedScheme::Layout::kNaive:
        break;
    }
    const TensorInfo* codes = tensors.Find(ref.name);
    if ((codes->dtype == DType::kF8E4M3) != scheme_.floats) {
      return InvalidArgument("{} has dtype {}, but quantization_config says type '{}'",
                             tensors.Where(ref.name), DTypeName(codes->dtype),
                             scheme_.floats ? "float" : "int");
    }
    if (!scheme_.floats) return OpenInts(tensors, module, ref, 8);
    FM_ASSIGN_OR_RETURN(ScaleBlocks blocks, Blocks(tensors, module));
    blocks.bytes = scheme_.exponents;
    return OpenFp8(checkpoint, ref, module + ".weight_scale", blocks);
  }

 private:
  std::string CodesOf(const std::string& module) const {
    return module + (scheme_.packed() ? ".weight_packed" : ".weight");
  }

  // Columns that were sorted for GPTQ are only read where they lie in order after all.
  absl::Status CheckOrder(const CodeTensors& tensors, const std::string& module, int64_t k) const {
    const std::string name = module + ".weight_g_idx";
    if (tensors.Find(name) == nullptr) return absl::OkStatus();
    FM_ASSIGN_OR_RETURN(const TensorInfo* order, tensors.Get(name, {DType::kI32}, {{k}}));
    return CheckGroupOrder(
        tensors, name, *order,
        scheme_.strategy == CompressedScheme::Strategy::kGroup ? scheme_.group_size : k);
  }

  absl::StatusOr<ScaleBlocks> Blocks(const CodeTensors& tensors, const std::string& module) const {
    switch (scheme_.strategy) {
      case CompressedScheme::Strategy::kTensor:
        break;
      case CompressedScheme::Strategy::kChannel:
        return ScaleBlocks{.rows = 1};
      case CompressedScheme::Strategy::kGroup: {
        FM_ASSIGN_OR_RETURN(const int64_t group,
                            tensors.Group(CodesOf(module), scheme_.group_size));
        return ScaleBlocks{.rows = 1, .columns = group};
      }
      case CompressedScheme::Strategy::kBlock:
        return ScaleBlocks{.rows = scheme_.block_rows, .columns = scheme_.block_columns};
    }
    return ScaleBlocks{};
  }

  absl::StatusOr<std::optional<ZeroView>> Zeros(const CodeTensors& tensors,
                                                const std::string& module, const TensorRef& ref,
                                                int64_t bits, int64_t groups) const {
    const std::string name = module + ".weight_zero_point";
    const bool there = tensors.Find(name) != nullptr;
    if (scheme_.symmetric && !there) return std::optional<ZeroView>();
    if (scheme_.strategy != CompressedScheme::Strategy::kGroup &&
        scheme_.strategy != CompressedScheme::Strategy::kChannel) {
      return InvalidArgument("{}: zero points per tensor or block are not supported",
                             tensors.Where(name));
    }
    ZeroView view = {.bits = bits, .groups = groups};
    FM_ASSIGN_OR_RETURN(view.tensor,
                        tensors.Get(name, {DType::kI32, DType::kI8},
                                    {{(ref.n * bits + 31) / 32, groups}, {ref.n, groups}}));
    const bool packed = view.tensor->dtype == DType::kI32;
    FM_ASSIGN_OR_RETURN(view.tensor, tensors.Get(name, {view.tensor->dtype},
                                                 {packed ? Shape{(ref.n * bits + 31) / 32, groups}
                                                         : Shape{ref.n, groups}}));
    if (packed) view.layout = ZeroView::Layout::kPackedRows;
    if (!scheme_.symmetric) return view;
    for (int64_t r = 0; r < ref.n; ++r) {
      for (int64_t g = 0; g < groups; ++g) {
        if (view.Get(r, g) == 0) continue;
        return InvalidArgument(
            "{}: row {}, group {} is {}, but quantization_config says that it is "
            "symmetric: set symmetric to false, or remove the tensor",
            tensors.Where(name), r, g, view.Get(r, g));
      }
    }
    return std::optional<ZeroView>();
  }

  absl::StatusOr<std::unique_ptr<CodeMatrix>> OpenInts(const CodeTensors& tensors,
                                                       const std::string& module,
                                                       const TensorRef& ref, int64_t bits) const {
    RowCodes out;
    out.n = ref.n;
    out.k = ref.k;
    const std::string name = CodesOf(module);
    const bool packed = scheme_.packed();
    const int64_t words = (ref.k * bits + 31) / 32;
    FM_ASSIGN_OR_RETURN(const TensorInfo* codes,
                        packed ? tensors.Get(name, {DType::kI32}, {{ref.n, words}})
                               : tensors.Get(name, {DType::kI8}, {{ref.n, ref.k}}));
    FM_RETURN_IF_ERROR(CheckShape(tensors, module, ref));
    FM_ASSIGN_OR_RETURN(const ScaleBlocks blocks, Blocks(tensors, module));
    FM_ASSIGN_OR_RETURN(out.spec.group,
                        FindScales(tensors, module + ".weight_scale", ref, blocks, &out.scales));
    const int64_t groups = (ref.k + out.spec.group - 1) / out.spec.group;
    FM_ASSIGN_OR_RETURN(out.zeros, Zeros(tensors, module, ref, bits, groups));
    out.spec.offsets = out.zeros.has_value();
    if (bits == 8) {
      out.spec.type = CodeType::kInt8;
      out.flip = packed ? 0x80 : 0;
    } else {
      out.spec.type = out.zeros ? CodeType::kUint4 : CodeType::kInt4;
      out.zero_bias = 8;
    }
    if (!out.zeros && out.scales.tensor->dtype == DType::kF16) out.spec.scale_type = DType::kF16;
    out.codes = codes->data;
    out.row_bytes = packed ? words * 4 : ref.k;
    out.storage = BytesOf(*codes);
    return MakeRowCodes(out);
  }

  absl::Status CheckShape(const CodeTensors& tensors, const std::string& module,
                          const TensorRef& ref) const {
    const std::string name = module + ".weight_shape";
    if (!scheme_.packed() || tensors.Find(name) == nullptr) return absl::OkStatus();
    FM_ASSIGN_OR_RETURN(const TensorInfo* shape,
                        tensors.Get(name, {DType::kI64, DType::kI32}, {{2}}));
    int64_t size[2];
    for (int i = 0; i < 2; ++i) {
      size[i] = shape->dtype == DType::kI64 ? reinterpret_cast<const int64_t*>(shape->data)[i]
                                            : reinterpret_cast<const int32_t*>(shape->data)[i];
    }
    if (size[0] == ref.n && size[1] == ref.k) return absl::OkStatus();
    return InvalidArgument("{} says [{}, {}], but config.json asks for [{}, {}]",
                           tensors.Where(name), size[0], size[1], ref.n, ref.k);
  }

  absl::StatusOr<std::unique_ptr<CodeMatrix>> OpenFp4Module(const CodeTensors& tensors,
                                                            const std::string& module,
                                                            const TensorRef& ref) const {
    Fp4Parts parts = {.codes = CodesOf(module), .scales = module + ".weight_scale"};
    if (scheme_.global_scale) {
      parts.scale_type = DType::kF8E4M3;
      const std::string global = module + ".weight_global_scale";
      FM_ASSIGN_OR_RETURN(const TensorInfo* factor, tensors.Get(global, {DType::kF32}, {{1}, {}}));
      parts.divisor = LoadElement(factor->data, DType::kF32, 0);
      if (!(parts.divisor > 0)) {
        return DataLoss("{} is {}; it must be greater than 0", tensors.Where(global),
                        parts.divisor);
      }
    }
    return OpenFp4(tensors, ref, parts, scheme_.group_size);
  }

  CompressedScheme scheme_;
};

}  // namespace

absl::StatusOr<WeightFormatPtr> MakeCompressedTensors(const ConfigReader& keys) {
  FM_ASSIGN_OR_RETURN(const CompressedScheme scheme, ReadCompressedScheme(keys));
  return std::make_shared<CompressedTensors>(scheme);
}

}  // namespace folkmoot
