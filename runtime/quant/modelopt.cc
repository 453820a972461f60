// SPDX-License-Identifier: Apache-2.0
// "modelopt": as NVIDIA's Model Optimizer exports models. For a module x, by quant_algo:
//
//   NVFP4, W4A16_NVFP4         x.weight U8 [n, k / 2], E2M1, the first in the low half;
//                              x.weight_scale F8_E4M3 [n, k / 16], to be multiplied by
//                              x.weight_scale_2 F32, one number
//   FP8                        x.weight F8_E4M3 [n, k]; x.weight_scale F32, one number
//   FP8_PER_CHANNEL_PER_TOKEN  the same codes; x.weight_scale F32 [n]
//   FP8_PB_WO                  x.weight_scale F32 [ceil(n / 128), 1, ceil(k / 128), 1]
//   MXFP8                      x.weight_scale U8 [n, k / 32]: 2^(value - 127)
//   MIXED_PRECISION            each module has one of these
//
// The dtypes and shapes of what is stored say which it is. Experts in one tensor, x [E, k, n] of
// Llama 4, are FP8 with x_weight_scale, one number for all or one for each; those of Inkling, x
// [E, n, k / 2], are NVFP4 with x.scale F8_E4M3 [E, n, k / 16] and x.scale2 F32 [E].
//
// Activations are not quantised here, whatever x.input_scale says, nor is the cache.
#include "runtime/quant/code_tensors.h"
#include "runtime/quant/formats.h"
#include "runtime/quant/fp4.h"
#include "runtime/quant/fp8.h"
#include "runtime/quant/modelopt_scheme.h"

namespace folkmoot {
namespace {

// Where the tensors that belong to the codes `name` stand.
struct ModelOptNames {
  ModelOptNames(const Checkpoint& checkpoint, const std::string& name)
      : of_inkling(checkpoint.Find(name + ".scale") != nullptr) {
    const auto module = ModuleOf(name);
    const std::string stem = module ? *module + "." : name + "_";
    scale = of_inkling ? name + ".scale" : stem + "weight_scale";
    second_scale = of_inkling ? name + ".scale2" : stem + "weight_scale_2";
    activation_scale = of_inkling ? name + ".input_amax" : stem + "input_scale";
    scaled_for_activations = stem + "pre_quant_scale";
    shape = name + ".original_shape";
  }

  bool of_inkling;
  std::string scale;
  std::string second_scale;
  std::string activation_scale;
  std::string scaled_for_activations;
  std::string shape;  // which that of the codes says, too
};

// How many weights share a scale of FP8, by what the scales look like.
ScaleBlocks BlocksOf(const TensorInfo* scales) {
  constexpr int64_t kSide = 128;
  if (scales == nullptr || scales->bytes == DTypeBytes(scales->dtype)) return {};
  if (scales->dtype == DType::kU8 || scales->dtype == DType::kF8E8M0) {
    return {.rows = 1, .columns = 32, .bytes = true};
  }
  const Shape& shape = scales->shape;
  if (shape.size() == 1 || (shape.size() == 2 && shape[1] == 1)) return {.rows = 1};
  return {.rows = kSide, .columns = kSide};
}

class ModelOpt final : public WeightFormat {
 public:
  explicit ModelOpt(ModelOptScheme scheme) : scheme_(std::move(scheme)) {}

  std::string description() const override { return Describe(scheme_); }
  bool floats() const override { return scheme_.algorithm.find("FP8") != std::string::npos; }

  std::vector<std::string> Parts(const Checkpoint& checkpoint,
                                 const std::string& name) const override {
    const TensorInfo* info = checkpoint.Find(name);
    if (info == nullptr || (info->dtype != DType::kU8 && info->dtype != DType::kF8E4M3)) return {};
    const ModelOptNames names(checkpoint, name);
    std::vector<std::string> parts =
        Present(checkpoint, {names.scale, names.second_scale, names.activation_scale,
                             names.scaled_for_activations, names.shape});
    parts.insert(parts.begin(), name);
    return parts;
  }

  absl::StatusOr<std::unique_ptr<CodeMatrix>> Open(const Checkpoint& checkpoint,
                                                   const TensorRef& ref) const override {
    const CodeTensors tensors(checkpoint, ref);
    const ModelOptNames names(checkpoint, ref.name);
    if (tensors.Find(names.scaled_for_activations) != nullptr) {
      return InvalidArgument(
          "{}: weights that were scaled for their activations (AWQ, SVDQuant) are not supported; "
          "quantise without",
          tensors.Where(names.scaled_for_activations));
    }
    if (tensors.Find(ref.name)->dtype == DType::kU8) return OpenNvfp4(tensors, names, ref);
    const bool sliced = ref.slices > 0;
    return OpenFp8(checkpoint, ref, names.scale,
                   sliced ? ScaleBlocks{} : BlocksOf(tensors.Find(names.scale)));
  }

 private:
  absl::StatusOr<std::unique_ptr<CodeMatrix>> OpenNvfp4(const CodeTensors& tensors,
                                                        const ModelOptNames& names,
                                                        const TensorRef& ref) const {
    if (ref.slices > 0 && !names.of_inkling) {
      return InvalidArgument(
          "{}: experts of FP4 in one tensor are known of Inkling only; quantise them one by one",
          tensors.Where(ref.name));
    }
    Fp4Parts parts = {.codes = ref.name, .scales = names.scale, .scale_type = DType::kF8E4M3};
    const Shape one_each = {ref.slices};
    FM_ASSIGN_OR_RETURN(parts.factor, ref.slices > 0
                                          ? ScaleFactor(tensors, names.second_scale,
                                                        {one_each, {ref.slices, 1}}, ref.slice)
                                          : ScaleFactor(tensors, names.second_scale, {{}, {1}}));
    return OpenFp4(tensors, ref, parts, scheme_.group_size);
  }

  ModelOptScheme scheme_;
};

}  // namespace

absl::StatusOr<WeightFormatPtr> MakeModelOpt(const ConfigReader& keys) {
  FM_ASSIGN_OR_RETURN(std::optional<ModelOptScheme> scheme, ReadModelOptScheme(keys));
  if (!scheme) return nullptr;
  return std::make_shared<ModelOpt>(*std::move(scheme));
}

absl::StatusOr<std::shared_ptr<const WeightFormat>> MakeModelOptFormat(const nlohmann::json& file,
                                                                       std::string_view where) {
  constexpr std::string_view kProducer = "producer";
  const ConfigReader keys(file, std::string(where));
  const nlohmann::json* producer = keys.Find(kProducer);
  if (producer == nullptr || !producer->is_object() || !producer->contains("name") ||
      *producer->find("name") != "modelopt") {
    return keys.Wrong(kProducer, "the only one known is {\"name\": \"modelopt\"}");
  }
  return MakeModelOpt(keys);
}

}  // namespace folkmoot
