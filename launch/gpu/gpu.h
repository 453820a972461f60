// SPDX-License-Identifier: Apache-2.0
// The one door from the program to its GPU support. What is behind it is chosen when a program is
// linked: gpu_linked.cc (with CUDA or the simulator), or gpu_none.cc, which says that there is
// none.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "layers/models/model.h"
#include "runtime/cuda/device.h"
#include "runtime/status.h"

namespace folkmoot {

// "CUDA", "simulator" or "none".
std::string_view GpuBackend();

// FailedPrecondition or Unavailable, with the reason and the remedy, where no GPU can be used.
absl::StatusOr<std::vector<cuda::DeviceInfo>> ListGpus();

// LoadModel on options.gpu.device.
absl::StatusOr<std::unique_ptr<Model>> LoadGpuModel(const ModelConfig& config,
                                                    const ModelOptions& options,
                                                    WeightLoader& loader,
                                                    const ExpertPlacement& placement,
                                                    Communicator& experts, ThreadPool& pool);

}  // namespace folkmoot
