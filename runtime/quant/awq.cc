// SPDX-License-Identifier: Apache-2.0
// "awq", version gemm, 4 bits, as AutoAWQ writes it. For a module x of [n, k]:
//
//   x.qweight  I32 [k, n / 8]  word [i, c] holds weight i of rows 8c, 8c + 2, 8c + 4, 8c + 6,
//                              8c + 1, 8c + 3, 8c + 5, 8c + 7, from the lowest bits up
//   x.qzeros   I32 [k / group_size, n / 8], in the same order
//   x.scales   F16 [k / group_size, n]
//
// A weight is scale * (number - zero).
#include <array>

#include "runtime/quant/column_codes.h"
#include "runtime/quant/formats.h"

namespace folkmoot {
namespace {

constexpr std::array<uint8_t, 8> kShifts = {0, 16, 4, 20, 8, 24, 12, 28};
constexpr IntRange kGroups = {-1, 1 << 20};

class Awq final : public WeightFormat {
 public:
  explicit Awq(int64_t group_size) : group_size_(group_size) {}

  std::string description() const override {
    if (group_size_ < 0) return "AWQ, int4 with one scale per row";
    return fmt::format("AWQ, int4 in groups of {}", group_size_);
  }

  std::vector<std::string> Parts(const Checkpoint& checkpoint,
                                 const std::string& name) const override {
    const std::optional<std::string> module = ModuleOf(name);
    if (!module || checkpoint.Find(*module + ".qweight") == nullptr) return {};
    return Present(checkpoint, {*module + ".qweight", *module + ".scales", *module + ".qzeros"});
  }

  absl::StatusOr<std::unique_ptr<CodeMatrix>> Open(const Checkpoint& checkpoint,
                                                   const TensorRef& ref) const override {
    const CodeTensors tensors(checkpoint, ref);
    const std::string module = *ModuleOf(ref.name);
    FM_ASSIGN_OR_RETURN(const int64_t group, tensors.Group(module + ".qweight", group_size_));
    const int64_t groups = ref.k / group;
    const int64_t words = (ref.n + 7) / 8;
    ColumnCodes out;
    out.n = ref.n;
    out.k = ref.k;
    out.spec = {.type = CodeType::kUint4, .group = group, .offsets = true};
    out.codes.shifts = out.zeros.shifts = kShifts;
    FM_ASSIGN_OR_RETURN(out.codes.tensor,
                        tensors.Get(module + ".qweight", {DType::kI32}, {{ref.k, words}}));
    FM_ASSIGN_OR_RETURN(out.zeros.tensor,
                        tensors.Get(module + ".qzeros", {DType::kI32}, {{groups, words}}));
    FM_ASSIGN_OR_RETURN(out.scales, ColumnScales(tensors, module + ".scales", ref.n, groups));
    return MakeColumnCodes(out);
  }

 private:
  int64_t group_size_;
};

}  // namespace

absl::StatusOr<WeightFormatPtr> MakeAwq(const ConfigReader& keys) {
  FM_RETURN_IF_ERROR(
      CheckKnownKeys(keys, {"quant_method", "bits", "w_bit", "group_size", "q_group_size",
                            "zero_point", "version", "backend", "do_fuse", "exllama_config",
                            "fuse_max_seq_len", "modules_to_fuse", "modules_to_not_convert"}));
  for (const char* key : {"bits", "w_bit"}) {
    FM_ASSIGN_OR_RETURN(const int64_t bits, keys.Int(key, 4));
    if (bits != 4) return keys.Wrong(key, "known: 4");
  }
  FM_ASSIGN_OR_RETURN(const bool zero_point, keys.Bool("zero_point", true));
  if (!zero_point) return keys.Wrong("zero_point", "AWQ files without zero points are not known");
  FM_RETURN_IF_ERROR(CheckChoice(keys, "version", {"gemm", "GEMM"},
                                 "; convert the model with AutoAWQ's version=\"GEMM\""));
  FM_RETURN_IF_ERROR(keys.Strings("modules_to_not_convert").status());
  FM_ASSIGN_OR_RETURN(const int64_t older, keys.Int("q_group_size", 128, kGroups));
  FM_ASSIGN_OR_RETURN(const int64_t group_size, keys.Int("group_size", older, kGroups));
  if (group_size == 0) return keys.Wrong("group_size", "it must be above 0, or -1");
  return std::make_shared<Awq>(group_size);
}

}  // namespace folkmoot
