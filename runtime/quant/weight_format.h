// SPDX-License-Identifier: Apache-2.0
// How a checkpoint of safetensors stores quantised weights, as the `quantization_config` of its
// config.json says. One file per format; weight_formats.cc has the list.
//
// What is stored decides which matrices are quantised: lists of modules that stay plain ("ignore",
// "modules_to_not_convert") are checked for their form only.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "nlohmann/json_fwd.hpp"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/checkpoint/tensor_ref.h"
#include "runtime/quant/code_matrix.h"
#include "runtime/status.h"

namespace folkmoot {

// Immutable; any thread.
class WeightFormat {
 public:
  virtual ~WeightFormat() = default;

  // For people: "AWQ, 4 bits in groups of 128".
  virtual std::string description() const = 0;
  // Its codes are E4M3 numbers, which products widen to float32.
  virtual bool floats() const { return false; }
  // The tensors that hold the matrix (or the packed expert tensor) `name` as codes: the codes
  // first, then their scales and what else is there. Empty: it is plain, or not in the checkpoint.
  virtual std::vector<std::string> Parts(const Checkpoint& checkpoint,
                                         const std::string& name) const = 0;
  // The matrix, when Parts is not empty. Errors name the tensor, its file and what it should be:
  // shapes, dtypes, missing scales, and scales that are not finite. The result reads from the
  // checkpoint's memory.
  virtual absl::StatusOr<std::unique_ptr<CodeMatrix>> Open(const Checkpoint& checkpoint,
                                                           const TensorRef& ref) const = 0;
};

// `where` stands before keys in errors: "config.json: key 'quantization_config.". Null: it says
// that no weights are quantised.
absl::StatusOr<std::shared_ptr<const WeightFormat>> MakeWeightFormat(const nlohmann::json& config,
                                                                     std::string_view where);
// The same of a hf_quant_config.json, which ModelOpt before 0.31 wrote beside a config.json without
// quantization_config.
absl::StatusOr<std::shared_ptr<const WeightFormat>> MakeModelOptFormat(const nlohmann::json& file,
                                                                       std::string_view where);
// How a checkpoint of Inkling 2's looped form stores its experts, which only the names of its
// tensors tell. Null: as plain weights.
std::shared_ptr<const WeightFormat> FindInklingExperts(const Checkpoint& checkpoint);

}  // namespace folkmoot
