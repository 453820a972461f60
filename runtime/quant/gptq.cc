// SPDX-License-Identifier: Apache-2.0
// "gptq", 4 or 8 bits, as AutoGPTQ and GPTQModel write it. For a module x of [n, k], with p = 32 /
// bits:
//
//   x.qweight  I32 [k / p, n]              word [i, c] holds weights i * p + j of row c
//   x.qzeros   I32 [k / group_size, n / p] word [g, c] holds zeros of rows c * p + j, less one
//              (checkpoint_format "gptq_v2": as they are)
//   x.scales   F16 [k / group_size, n]
//   x.g_idx    I32 [k], the group of each column; only read when in order (desc_act false)
//
// from the lowest bits up. A weight is scale * (number - zero). A stored zero of all ones means
// 2^bits: it does not wrap around.
#include <array>

#include "runtime/quant/column_codes.h"
#include "runtime/quant/formats.h"

namespace folkmoot {
namespace {

constexpr std::array<uint8_t, 8> kShifts4 = {0, 4, 8, 12, 16, 20, 24, 28};
constexpr std::array<uint8_t, 4> kShifts8 = {0, 8, 16, 24};
constexpr IntRange kGroups = {-1, 1 << 20};

struct GptqScheme {
  int64_t bits = 4;
  int64_t group_size = 128;
  bool symmetric = true;
  bool sorted = false;  // desc_act
  int32_t plus = 1;     // to stored zeros
};

class Gptq final : public WeightFormat {
 public:
  explicit Gptq(const GptqScheme& scheme) : scheme_(scheme) {}

  std::string description() const override {
    if (scheme_.group_size < 0) return fmt::format("GPTQ, int{}, one scale per row", scheme_.bits);
    return fmt::format("GPTQ, int{} in groups of {}", scheme_.bits, scheme_.group_size);
  }

  std::vector<std::string> Parts(const Checkpoint& checkpoint,
                                 const std::string& name) const override {
    const std::optional<std::string> module = ModuleOf(name);
    if (!module || checkpoint.Find(*module + ".qweight") == nullptr) return {};
    return Present(checkpoint, {*module + ".qweight", *module + ".scales", *module + ".qzeros",
                                *module + ".g_idx"});
  }

  absl::StatusOr<std::unique_ptr<CodeMatrix>> Open(const Checkpoint& checkpoint,
                                                   const TensorRef& ref) const override {
    const CodeTensors tensors(checkpoint, ref);
    const std::string module = *ModuleOf(ref.name);
    FM_ASSIGN_OR_RETURN(const int64_t group,
                        tensors.Group(module + ".qweight", scheme_.group_size));
    const int64_t groups = ref.k / group;
    ColumnCodes out;
    out.n = ref.n;
    out.k = ref.k;
    out.plus = scheme_.plus;
    out.spec.group = group;
    out.spec.offsets = !scheme_.symmetric;
    out.spec.type = scheme_.bits == 8   ? CodeType::kInt8
                    : scheme_.symmetric ? CodeType::kInt4
                                        : CodeType::kUint4;
    out.codes.bits = out.zeros.bits = scheme_.bits;
    out.codes.down = true;
    if (scheme_.bits == 8) {
      out.codes.shifts = out.zeros.shifts = kShifts8;
    } else {
      out.codes.shifts = out.zeros.shifts = kShifts4;
    }
    const auto each = static_cast<int64_t>(out.codes.shifts.size());
    FM_ASSIGN_OR_RETURN(out.codes.tensor, tensors.Get(module + ".qweight", {DType::kI32},
                                                      {{(ref.k + each - 1) / each, ref.n}}));
    FM_ASSIGN_OR_RETURN(out.zeros.tensor, tensors.Get(module + ".qzeros", {DType::kI32},
                                                      {{groups, (ref.n + each - 1) / each}}));
    FM_ASSIGN_OR_RETURN(out.scales, ColumnScales(tensors, module + ".scales", ref.n, groups));
    FM_RETURN_IF_ERROR(CheckOrder(tensors, module, group, ref.k));
    if (scheme_.symmetric) FM_RETURN_IF_ERROR(CheckMiddle(tensors, module, out));
    if (scheme_.symmetric && out.scales.tensor->dtype == DType::kF16) {
      out.spec.scale_type = DType::kF16;
    }
    return MakeColumnCodes(out);
  }

 private:
  absl::Status CheckOrder(const CodeTensors& tensors, const std::string& module, int64_t group,
                          int64_t k) const {
    const std::string name = module + ".g_idx";
    if (tensors.Find(name) == nullptr && !scheme_.sorted) return absl::OkStatus();
    FM_ASSIGN_OR_RETURN(const TensorInfo* order, tensors.Get(name, {DType::kI32}, {{k}}));
    return CheckGroupOrder(tensors, name, *order, group);
  }

  // "sym" promises that the middle of the range is zero.
  absl::Status CheckMiddle(const CodeTensors& tensors, const std::string& module,
                           const ColumnCodes& columns) const {
    const int32_t middle = 1 << (scheme_.bits - 1);
    for (int64_t g = 0; g < columns.zeros.tensor->shape[0]; ++g) {
      for (int64_t r = 0; r < columns.n; ++r) {
        const int32_t zero = static_cast<int32_t>(columns.zeros.Get(g, r)) + scheme_.plus;
        if (zero == middle) continue;
        return InvalidArgument(
            "{}: the zero of row {}, group {} is {}, but quantization_config says \"sym\": true, "
            "which is {}: set sym to false, or checkpoint_format to \"{}\"",
            tensors.Where(module + ".qzeros"), r, g, zero, middle,
            scheme_.plus == 1 ? "gptq_v2" : "gptq");
      }
    }
    return absl::OkStatus();
  }

  GptqScheme scheme_;
};

}  // namespace

absl::StatusOr<WeightFormatPtr> MakeGptq(const ConfigReader& keys) {
  FM_RETURN_IF_ERROR(CheckKnownKeys(keys, {"quant_method",
                                           "bits",
                                           "group_size",
                                           "desc_act",
                                           "sym",
                                           "checkpoint_format",
                                           "format",
                                           "damp_percent",
                                           "damp_auto_increment",
                                           "static_groups",
                                           "true_sequential",
                                           "meta",
                                           "model_name_or_path",
                                           "model_file_base_name",
                                           "pack_dtype",
                                           "backend",
                                           "tokenizer",
                                           "dataset",
                                           "max_input_length",
                                           "cache_block_outputs",
                                           "use_cuda_fp16",
                                           "use_exllama",
                                           "exllama_config",
                                           "disable_exllama",
                                           "model_seqlen",
                                           "batch_size",
                                           "pad_token_id",
                                           "modules_in_block_to_quantize",
                                           "block_name_to_quantize",
                                           "module_name_preceding_first_block",
                                           "modules_to_not_convert",
                                           "lm_head",
                                           "act_group_aware",
                                           "method"}));
  GptqScheme scheme;
  FM_ASSIGN_OR_RETURN(scheme.bits, keys.Int("bits", 0));
  if (scheme.bits != 4 && scheme.bits != 8) return keys.Wrong("bits", "known: 4, 8");
  FM_ASSIGN_OR_RETURN(scheme.group_size, keys.Int("group_size", 128, kGroups));
  if (scheme.group_size == 0) return keys.Wrong("group_size", "it must be above 0, or -1");
  FM_ASSIGN_OR_RETURN(scheme.symmetric, keys.Bool("sym", true));
  FM_ASSIGN_OR_RETURN(scheme.sorted, keys.Bool("desc_act", false));
  for (const char* key : {"format", "checkpoint_format"}) {
    FM_RETURN_IF_ERROR(CheckChoice(keys, key, {"gptq", "gptq_v2"}));
    if (keys.HasValue(key)) scheme.plus = *keys.Find(key) == "gptq" ? 1 : 0;
  }
  FM_RETURN_IF_ERROR(CheckChoice(keys, "pack_dtype", {"int32"}));
  return std::make_shared<Gptq>(scheme);
}

}  // namespace folkmoot
