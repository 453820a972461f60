// SPDX-License-Identifier: Apache-2.0
// "fp8": E4M3 codes under the weight's own name, and a scale for each block of, mostly, 128 x 128
// or for the whole tensor. As DeepSeek-V3 and Qwen3 are published, and as Transformers writes it:
//
//   x.weight            F8_E4M3 [n, k]
//   x.weight_scale_inv  F32 or BF16 [ceil(n / 128), ceil(k / 128)], or one number; a factor in
//                       spite of its name. x.weight_scale: the same, as some tools name it
//
// Expert tensors in one piece, x [E, n, k], have x_scale_inv [E, ceil(n / 128), ceil(k / 128)].
// Activations are not quantised here, whatever activation_scheme says.
#include "runtime/quant/code_tensors.h"
#include "runtime/quant/formats.h"
#include "runtime/quant/fp8.h"

namespace folkmoot {
namespace {

constexpr IntRange kBlock = {1, 1 << 20};

std::string ScaleName(const Checkpoint& checkpoint, const std::string& name) {
  const std::string usual = name + "_scale_inv";
  const std::string other = name + "_scale";
  return checkpoint.Find(usual) == nullptr && checkpoint.Find(other) != nullptr ? other : usual;
}

class Fp8Block final : public WeightFormat {
 public:
  explicit Fp8Block(const ScaleBlocks& blocks) : blocks_(blocks) {}

  std::string description() const override {
    if (blocks_.rows == 0) return "FP8, one scale per tensor";
    return fmt::format("FP8 in blocks of {} x {}", blocks_.rows, blocks_.columns);
  }
  bool floats() const override { return true; }

  std::vector<std::string> Parts(const Checkpoint& checkpoint,
                                 const std::string& name) const override {
    const TensorInfo* info = checkpoint.Find(name);
    if (info == nullptr || info->dtype != DType::kF8E4M3) return {};
    std::vector<std::string> parts = {name};
    const std::string scales = ScaleName(checkpoint, name);
    if (checkpoint.Find(scales) != nullptr) parts.push_back(scales);
    for (const char* suffix : {".input_scale", ".activation_scale"}) {
      const std::optional<std::string> module = ModuleOf(name);
      if (module && checkpoint.Find(*module + suffix) != nullptr) parts.push_back(*module + suffix);
    }
    return parts;
  }

  absl::StatusOr<std::unique_ptr<CodeMatrix>> Open(const Checkpoint& checkpoint,
                                                   const TensorRef& ref) const override {
    return OpenFp8(checkpoint, ref, ScaleName(checkpoint, ref.name), blocks_);
  }

 private:
  ScaleBlocks blocks_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<CodeMatrix>> OpenFp8(const Checkpoint& checkpoint,
                                                    const TensorRef& ref,
                                                    const std::string& scale_name,
                                                    const ScaleBlocks& blocks) {
  const CodeTensors tensors(checkpoint, ref);
  const bool sliced = ref.slices > 0;
  const int64_t rows = sliced ? ref.slice_rows : ref.n;
  const Shape shape = sliced ? Shape{ref.slices, rows, ref.k} : Shape{rows, ref.k};
  FM_ASSIGN_OR_RETURN(const TensorInfo* codes, tensors.Get(ref.name, {DType::kF8E4M3}, {shape}));

  RowCodes out;
  out.n = ref.n;
  out.k = ref.k;
  out.spec.type = CodeType::kFp8;
  FM_ASSIGN_OR_RETURN(out.spec.group, FindScales(tensors, scale_name, ref, blocks, &out.scales));
  const std::span<const std::byte> bytes = BytesOf(*codes, ref.slices, ref.slice);
  out.row_bytes = ref.k;
  out.first_row = ref.first_row;
  out.row_step = ref.row_step;
  out.codes = bytes.data() + ref.first_row * out.row_bytes;
  out.storage = bytes;
  return MakeRowCodes(out);
}

absl::StatusOr<WeightFormatPtr> MakeFp8Block(const ConfigReader& keys) {
  FM_RETURN_IF_ERROR(CheckKnownKeys(
      keys, {"quant_method", "fmt", "weight_block_size", "activation_scheme", "scale_fmt",
             "modules_to_not_convert", "ignored_layers", "dequantize", "kv_cache_scheme"}));
  FM_RETURN_IF_ERROR(CheckChoice(keys, "fmt", {"e4m3", "float8_e4m3fn"}));
  FM_RETURN_IF_ERROR(keys.Strings("modules_to_not_convert").status());
  FM_RETURN_IF_ERROR(keys.Strings("ignored_layers").status());
  FM_ASSIGN_OR_RETURN(const auto block, keys.Ints("weight_block_size", kBlock));
  if (block.empty()) return std::make_shared<Fp8Block>(ScaleBlocks{});
  if (block.size() != 2) return keys.Wrong("weight_block_size", "it must be [rows, columns]");
  return std::make_shared<Fp8Block>(ScaleBlocks{.rows = block[0], .columns = block[1]});
}

}  // namespace folkmoot
