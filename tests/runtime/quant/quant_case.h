// SPDX-License-Identifier: Apache-2.0
// One case of tests/data/quant/matrices: a quantization_config, matrices as codes, and the numbers
// that others read in them. May be changed before it is opened, to be wrong in one place.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/checkpoint/tensor_ref.h"
#include "runtime/quant/weight_format.h"

namespace folkmoot {

// The names of all cases.
std::vector<std::string> QuantCases();

class QuantCase {
 public:
  struct Tensor {
    DType dtype = DType::kF32;
    std::vector<int64_t> shape;
    std::string bytes;
  };

  explicit QuantCase(const std::string& name);
  ~QuantCase();

  size_t matrices() const { return refs.size(); }
  // Writes the tensors as they are now, and opens them with the configuration as it is now.
  absl::StatusOr<std::unique_ptr<CodeMatrix>> Open(size_t matrix = 0);
  absl::StatusOr<std::shared_ptr<const WeightFormat>> Format() const;
  std::vector<float> Expected(size_t matrix) const;
  const Checkpoint& checkpoint() const { return *checkpoint_; }

  nlohmann::json config;
  std::vector<TensorRef> refs;
  std::map<std::string, Tensor> tensors;

 private:
  std::string directory_;  // a temporary one
  std::unique_ptr<Checkpoint> checkpoint_;
};

}  // namespace folkmoot
