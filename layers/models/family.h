// SPDX-License-Identifier: Apache-2.0
// What sets one decoder family apart from another once its config is read: tensor names and the
// published gate. A new family is one file that defines a Family, and one line in model_factory.cc.
#pragma once

#include <string>

#include "layers/gates/gate_config.h"
#include "layers/moe_layer.h"
#include "runtime/model_config.h"

namespace folkmoot {

struct Family {
  const char* architecture;
  // Names of the MoE block of a layer, whose tensors begin with "model.layers.N." (`prefix`). Null
  // for dense families.
  MoeNames (*moe_names)(const std::string& prefix) = nullptr;
  // The gate of the published model. Null for dense families.
  GateConfig (*gate)(const ModelConfig& config) = nullptr;
};

extern const Family kMixtral;   // mixtral.cc
extern const Family kQwen2Moe;  // qwen_moe.cc
extern const Family kQwen3Moe;
extern const Family kLlama;  // llama.cc: dense
extern const Family kMistral;
extern const Family kQwen2;
extern const Family kQwen3;

// nullptr: unknown.
const Family* FindFamily(const std::string& architecture);

// The family of a model that can be run with this gate, or why not.
absl::StatusOr<const Family*> CheckModel(const ModelConfig& config, const GateConfig& gate);

// The names of a MoE block in this checkpoint. `prefix` is "model.layers.3.".
MoeNames MoeNamesOf(const Family& family, const WeightLoader& loader, const std::string& prefix);

}  // namespace folkmoot
