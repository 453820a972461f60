// SPDX-License-Identifier: Apache-2.0
// Which GPU a rank computes on.
#pragma once

#include <optional>

#include "launch/engine_options.h"
#include "parallel/communicator.h"
#include "runtime/cuda/device.h"

namespace folkmoot {

// nullopt: on the CPU. Ranks of one host take its GPUs in order of their local rank; beyond the
// last they begin anew (see CheckGpuSharing). --device auto takes a GPU where there is one that can
// be used.
absl::StatusOr<std::optional<cuda::DeviceInfo>> ChooseGpu(const EngineOptions& options, int rank);

// Collective among ranks that have agreed on the device and on --allow-shared-gpu. Two ranks on one
// GPU are refused unless --allow-shared-gpu says that it is meant.
absl::Status CheckGpuSharing(const EngineOptions& options, Communicator& world,
                             const std::optional<cuda::DeviceInfo>& gpu);

}  // namespace folkmoot
