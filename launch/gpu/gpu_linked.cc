// SPDX-License-Identifier: Apache-2.0
// Linked into programs that have a back end: folkmoot_cuda or folkmoot_cuda_sim.
#include "launch/gpu/gpu.h"

namespace folkmoot {

GpuBuildInfo GpuBuild() {
  return {.backend = cuda::BackendName(),
          .runtime_version = cuda::RuntimeVersion(),
          .driver_version = cuda::DriverVersion()};
}

absl::StatusOr<std::vector<cuda::DeviceInfo>> ListGpus() { return cuda::ListDevices(); }

std::vector<cuda::GpuLibrary> ListGpuLibraries() { return cuda::FindGpuLibraries(); }

}  // namespace folkmoot
