// SPDX-License-Identifier: Apache-2.0
// What the rest of launch knows of GPUs. The program is linked with one of two implementations:
// gpu_linked.cc with a back end (CUDA, or its simulator in tests), or gpu_none.cc, whose functions
// say that there is none. No CUDA type shows here.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "layers/models/model.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/libraries.h"
#include "runtime/status.h"

namespace folkmoot {

struct GpuBuildInfo {
  std::string backend;      // "CUDA", "simulator" or "none"
  int runtime_version = 0;  // 13000 for CUDA 13.0; 0: none
  int driver_version = 0;   // the CUDA that the driver knows; 0: no driver
};
GpuBuildInfo GpuBuild();

// The GPUs of this machine. Unavailable, with the reason and the remedy, when there is none that
// this program can use.
absl::StatusOr<std::vector<cuda::DeviceInfo>> ListGpus();
// One of them, with the memory that is free now.
absl::StatusOr<cuda::DeviceInfo> DescribeGpu(int index);

// cuda::FindGpuLibraries. Empty without a back end.
std::vector<cuda::GpuLibrary> ListGpuLibraries();

// LoadModel on the GPU options.gpu.device.
absl::StatusOr<std::unique_ptr<Model>> LoadGpuModel(const ModelConfig& config,
                                                    const ModelOptions& options,
                                                    WeightLoader& loader,
                                                    const ExpertPlacement& placement,
                                                    Communicator& experts, ThreadPool& pool);

}  // namespace folkmoot
