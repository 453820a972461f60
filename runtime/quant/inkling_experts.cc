// SPDX-License-Identifier: Apache-2.0
// The experts of Inkling 2's looped form as published, which no quantization_config tells of. x is
// the packed expert tensor's name:
//
//   x                          U8 [E, rows, k / 2], E2M1, the first in the low half
//   x_scale                    F8_E4M3 [E, rows, k / 16]
//   x_amax                     F32, BF16 or F16 [E]
//   x_outer_scale_denominator  the same, or one number for all experts
//
// A weight is (number * scale) * (amax / denominator), each bracket rounded to float32, as
// Transformers (Inkling2LoopDequantizeExperts) computes it in float32. Experts without x_amax are
// E4M3 codes [E, rows, k] with x_scale U8 [E, rows, k / 32]: 2^(value - 127).
#include <algorithm>
#include <cmath>

#include "runtime/quant/code_tensors.h"
#include "runtime/quant/formats.h"
#include "runtime/quant/fp4.h"
#include "runtime/quant/fp8.h"

namespace folkmoot {
namespace {

class InklingExperts final : public WeightFormat {
 public:
  InklingExperts(bool fp4, bool fp8) : fp4_(fp4), fp8_(fp8) {}

  std::string description() const override {
    if (fp4_ && fp8_) return "NVFP4 and MXFP8 experts";
    return fp4_ ? "NVFP4 experts" : "MXFP8 experts";
  }
  bool floats() const override { return !fp4_; }

  std::vector<std::string> Parts(const Checkpoint& checkpoint,
                                 const std::string& name) const override {
    const TensorInfo* info = checkpoint.Find(name);
    if (info == nullptr || (info->dtype != DType::kU8 && info->dtype != DType::kF8E4M3)) return {};
    if (ModuleOf(name)) return {};
    std::vector<std::string> parts =
        Present(checkpoint, {name + "_scale", name + "_amax", name + "_outer_scale_denominator"});
    parts.insert(parts.begin(), name);
    return parts;
  }

  absl::StatusOr<std::unique_ptr<CodeMatrix>> Open(const Checkpoint& checkpoint,
                                                   const TensorRef& ref) const override {
    const CodeTensors tensors(checkpoint, ref);
    const std::string scale = ref.name + "_scale";
    const std::string amax = ref.name + "_amax";
    if (tensors.Find(ref.name)->dtype != DType::kU8 && tensors.Find(amax) == nullptr) {
      return OpenFp8(checkpoint, ref, scale, {.rows = 1, .columns = 32, .bytes = true});
    }
    Fp4Parts parts = {.codes = ref.name, .scales = scale, .scale_type = DType::kF8E4M3};
    const Shape of_each = {ref.slices};
    const std::string below = ref.name + "_outer_scale_denominator";
    FM_ASSIGN_OR_RETURN(const float largest, ScaleFactor(tensors, amax, {of_each}, ref.slice));
    FM_ASSIGN_OR_RETURN(const float denominator,
                        ScaleFactor(tensors, below, {of_each, {}, {1}}, ref.slice));
    parts.last_factor = largest / denominator;
    constexpr float kLargest = 6.0f * 448.0f;  // number and scale
    if (!std::isfinite(parts.last_factor * kLargest)) {
      return DataLoss("{}: expert {} has {}, and amax {}: weights are not finite",
                      tensors.Where(below), ref.slice, denominator, largest);
    }
    return OpenFp4(tensors, ref, parts, 16);
  }

 private:
  bool fp4_;
  bool fp8_;
};

}  // namespace

std::shared_ptr<const WeightFormat> FindInklingExperts(const Checkpoint& checkpoint) {
  int64_t scaled = 0;
  int64_t fp4 = 0;
  for (const std::string_view name : checkpoint.Names()) {
    if (name.find(".experts.w") == name.npos) continue;
    scaled += name.ends_with("_weight_scale") ? 1 : 0;
    fp4 += name.ends_with("_weight_amax") ? 1 : 0;
  }
  if (scaled + fp4 == 0) return nullptr;
  return std::make_shared<InklingExperts>(fp4 > 0, scaled > fp4);
}

}  // namespace folkmoot
