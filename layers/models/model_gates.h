// SPDX-License-Identifier: Apache-2.0
// The gates of a loaded model: its own, and those that requests made of it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "layers/gates/gate.h"
#include "layers/gates/gate_config.h"
#include "runtime/model_config.h"
#include "runtime/status.h"

namespace folkmoot {

// Not thread-safe.
class ModelGates {
 public:
  // `model` must outlive the gates; a dense model has none.
  ModelGates(const ModelConfig& model, const GateConfig& base);

  const GateConfig& base() const { return base_; }
  // Model::GateFor.
  absl::StatusOr<std::shared_ptr<const Gate>> For(const std::string& overrides);
  const Gate* own() const { return own_.get(); }

 private:
  const ModelConfig& model_;
  GateConfig base_;
  std::vector<int64_t> layer_top_k_;
  std::shared_ptr<const Gate> own_;
  std::map<std::string, std::shared_ptr<const Gate>> others_;  // by overrides
};

}  // namespace folkmoot
