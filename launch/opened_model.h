// SPDX-License-Identifier: Apache-2.0
// What is known of a model before its weights are read.
#pragma once

#include <cstdint>
#include <optional>

#include "launch/agreement.h"
#include "launch/engine_options.h"
#include "launch/weight_source.h"
#include "layers/gates/gate_config.h"
#include "parallel/expert_placement.h"
#include "runtime/cuda/device.h"
#include "runtime/model_config.h"
#include "scheduler/scheduler.h"

namespace folkmoot {

struct OpenedModel {
  ModelConfig config;
  GateConfig gate;
  int64_t context = 0;
  std::optional<WeightSource> weights;
  ExpertPlacement placement = ExpertPlacement::Contiguous(0, 1);
  std::optional<cuda::DeviceInfo> gpu;  // nullopt: the CPU
};

// `ranks`: that experts are placed on. `gpu`: what will compute it; nullopt: the CPU, or somebody
// else's GPU.
absl::StatusOr<OpenedModel> OpenModel(const EngineOptions& options, int ranks,
                                      std::optional<cuda::DeviceInfo> gpu);

// Build, files and flags: what processes that work on one model must have in common, but for the
// device.
AgreementFields FieldsOf(const EngineOptions& options, const OpenedModel& opened);

// `ranks`: parts of a plan; `pages`: of each.
SchedulerOptions SchedulerOf(const EngineOptions& options, const OpenedModel& opened, int ranks,
                             const CachePages& pages);

}  // namespace folkmoot
