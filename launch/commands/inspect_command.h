// SPDX-License-Identifier: Apache-2.0
// `folkmoot inspect`: what a model directory holds and what each rank would hold of it. Reads
// config.json and the headers of the weight files, never the weights.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "launch/command.h"
#include "launch/commands/model_inventory.h"
#include "launch/terminal.h"
#include "parallel/expert_placement.h"
#include "runtime/model_config.h"

namespace folkmoot {

struct InspectReport {
  std::string directory;
  ModelConfig config;
  ModelInventory inventory;
  bool has_weights = false;  // as a checkpoint
  int64_t packed_bytes = 0;  // of the file of `folkmoot pack`, when that is what is there
  uint64_t fingerprint = 0;  // of the weight files, when there are any
  int ranks = 1;
  std::optional<ExpertPlacement> placement;  // of models with experts
  bool tensor_parallel = false;              // ranks have a part of every matrix instead
};

// `placement` as ExpertPlacement::Parse takes it. A directory without any weights is described by
// its config.json alone.
absl::StatusOr<InspectReport> InspectModel(const std::string& directory, int ranks,
                                           const std::string& placement);

std::string RenderInspect(const InspectReport& report, const Terminal& terminal);
std::string RenderInspectJson(const InspectReport& report);

Command MakeInspectCommand(CLI::App& app);

}  // namespace folkmoot
