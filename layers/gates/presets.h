// SPDX-License-Identifier: Apache-2.0
// Published routers as gate configurations. Model-specific vectors (router_bias, selection_bias,
// token_table) are weights and therefore not part of a preset.
#pragma once

#include <span>
#include <string_view>

#include "layers/gates/gate_config.h"
#include "runtime/status.h"

namespace folkmoot {

struct GatePreset {
  std::string_view name;
  int num_experts;                  // of the published model, or 8 where it is left open
  GateConfig (*make)(int experts);  // for any number of experts
  std::string_view source;          // where the semantics come from
};

// All presets, in the order of docs/gates.md.
std::span<const GatePreset> GatePresets();

// The preset `name` for num_experts experts; 0 = the published number. '_' is read as '-'. An
// unknown name is an error that suggests the nearest.
absl::StatusOr<GateConfig> MakePreset(std::string_view name, int num_experts = 0);

}  // namespace folkmoot
