// SPDX-License-Identifier: Apache-2.0
// What sets one decoder family apart from another: its config.json, its tensor names and its
// published gate. A new family is one file that defines a Family, and one line in
// FOLKMOOT_FAMILIES.
#pragma once

#include <span>
#include <string>

#include "absl/functional/function_ref.h"
#include "layers/gates/gate_config.h"
#include "layers/moe_layer.h"
#include "runtime/config_family.h"
#include "runtime/model_config.h"

namespace folkmoot {

struct Family {
  ConfigFamily config;
  // Names of the MoE block of a layer, whose tensors begin with "model.layers.N." (`prefix`). Null
  // for dense families.
  MoeNames (*moe_names)(const std::string& prefix) = nullptr;
  // The gate of the published model. Null for dense families.
  GateConfig (*gate)(const ModelConfig& config) = nullptr;
};

#define FOLKMOOT_FAMILIES(F) \
  F(kGraniteMoe)             \
  F(kGraniteMoeShared)       \
  F(kLlama)                  \
  F(kMistral)                \
  F(kMixtral)                \
  F(kOlmoe)                  \
  F(kQwen2)                  \
  F(kQwen2Moe)               \
  F(kQwen3)                  \
  F(kQwen3Moe)

#define FOLKMOOT_DECLARE(family) extern const Family family;
FOLKMOOT_FAMILIES(FOLKMOOT_DECLARE)
#undef FOLKMOOT_DECLARE

std::span<const Family* const> Families();

// What most families have: mlp.gate, mlp.experts.N.{gate,up,down}_proj or experts in one tensor.
MoeNames UsualMoeNames(const std::string& prefix);
// Softmax over all experts, top-k, renormalised as config.moe.norm_topk_prob says.
GateConfig TopKGate(const ModelConfig& config);

// nullptr: unknown.
const Family* FindFamily(const std::string& architecture);

// The family of a model that can be run with this gate, or why not.
absl::StatusOr<const Family*> CheckModel(const ModelConfig& config, const GateConfig& gate);

// The names of a MoE block in this checkpoint. `prefix` is "model.layers.3.".
// `has` says whether the checkpoint has a tensor.
MoeNames MoeNamesOf(const Family& family, absl::FunctionRef<bool(const std::string&)> has,
                    const std::string& prefix);

}  // namespace folkmoot
