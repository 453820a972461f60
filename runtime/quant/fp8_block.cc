// SPDX-License-Identifier: Apache-2.0
// "fp8" and "mxfp8": E4M3 codes under the weight's own name, and a scale for each block of, mostly,
// 128 x 128, for the whole tensor or, the second, for 32 weights of a row. As DeepSeek-V3 and
// Qwen3 are published, and as Transformers writes it:
//
//   x.weight            F8_E4M3 [n, k]
//   x.weight_scale_inv  F32, BF16, F8_E8M0 or U8, the same exponents, [ceil(n / 128),
//                       ceil(k / 128)], or one number; a factor in spite of its name.
//                       x.weight_scale: the same, as some tools name it; x.scale: as DeepSeek-V4
//                       does; x.qscale_weight: as Mistral Large 4 does
//
// Expert tensors in one piece, x [E, n, k], have x_scale_inv [E, ceil(n / 128), ceil(k / 128)].
// DeepSeek-V4's chat models have experts of E2M1 codes beside these:
//
//   x.weight  I8 [n, k / 2], the even weight of a pair in the low half
//   x.scale   F8_E8M0 [n, k / 32]
//
// Activations are not quantised here, whatever activation_scheme says.
#include <algorithm>

#include "runtime/quant/code_tensors.h"
#include "runtime/quant/formats.h"
#include "runtime/quant/fp4.h"
#include "runtime/quant/fp8.h"

namespace folkmoot {
namespace {

constexpr IntRange kBlock = {1, 1 << 20};

constexpr int64_t kFp4Group = 32;

bool IsFp4(const TensorInfo& info) { return info.dtype == DType::kI8; }

std::string ScaleName(const Checkpoint& checkpoint, const std::string& name) {
  std::vector<std::string> names = {name + "_scale_inv", name + "_scale"};
  if (const auto module = ModuleOf(name)) {
    if (IsFp4(*checkpoint.Find(name))) return *module + ".scale";
    names.insert(names.end(), {*module + ".scale", *module + ".qscale_weight"});
  }
  const auto found = std::find_if(names.begin(), names.end(), [&](const std::string& known) {
    return checkpoint.Find(known) != nullptr;
  });
  return found == names.end() ? names.front() : *found;
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
    if (info == nullptr || (info->dtype != DType::kF8E4M3 && !IsFp4(*info))) return {};
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
    const std::string scales = ScaleName(checkpoint, ref.name);
    if (IsFp4(*checkpoint.Find(ref.name))) {
      return OpenFp4(CodeTensors(checkpoint, ref), ref,
                     {.codes = ref.name,
                      .code_type = DType::kI8,
                      .scales = scales,
                      .scale_type = DType::kF8E8M0},
                     kFp4Group);
    }
    return OpenFp8(checkpoint, ref, scales, blocks_);
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

namespace {

absl::StatusOr<WeightFormatPtr> MakeBlocks(const ConfigReader& keys, ScaleBlocks blocks) {
  FM_RETURN_IF_ERROR(
      CheckKnownKeys(keys, {"quant_method", "fmt", "weight_block_size", "activation_scheme",
                            "scale_fmt", "modules_to_not_convert", "modules_to_convert",
                            "ignored_layers", "dequantize", "expert_dtype", "kv_cache_scheme"}));
  FM_RETURN_IF_ERROR(CheckChoice(keys, "expert_dtype", {"fp8", "fp4"}));
  FM_RETURN_IF_ERROR(keys.Strings("modules_to_convert").status());
  FM_RETURN_IF_ERROR(CheckChoice(keys, "fmt", {"e4m3", "float8_e4m3fn"}));
  FM_RETURN_IF_ERROR(keys.Strings("modules_to_not_convert").status());
  FM_RETURN_IF_ERROR(keys.Strings("ignored_layers").status());
  FM_ASSIGN_OR_RETURN(const auto block, keys.Ints("weight_block_size", kBlock));
  if (block.empty()) return std::make_shared<Fp8Block>(blocks);
  if (block.size() != 2) return keys.Wrong("weight_block_size", "it must be [rows, columns]");
  return std::make_shared<Fp8Block>(
      ScaleBlocks{.rows = block[0], .columns = block[1], .bytes = true});
}

}  // namespace

absl::StatusOr<WeightFormatPtr> MakeFp8Block(const ConfigReader& keys) {
  return MakeBlocks(keys, {});
}

absl::StatusOr<WeightFormatPtr> MakeMxfp8(const ConfigReader& keys) {
  return MakeBlocks(keys, {.rows = 1, .columns = 32, .bytes = true});
}

}  // namespace folkmoot
