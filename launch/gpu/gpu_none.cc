// SPDX-License-Identifier: Apache-2.0
// Linked into programs that were built without a CUDA toolkit.
#include "launch/gpu/gpu.h"
#include "launch/gpu/gpu_bench.h"

namespace folkmoot {

GpuBuildInfo GpuBuild() { return {.backend = "none"}; }

absl::StatusOr<std::vector<cuda::DeviceInfo>> ListGpus() {
  return Unavailable(
      "this program was built without GPU support: build it where a CUDA toolkit (12.2 or newer) "
      "is found (cmake -DFOLKMOOT_CUDA=ON says why one is not), or use --device cpu");
}

absl::StatusOr<cuda::DeviceInfo> DescribeGpu(int) { return ListGpus().status(); }

std::vector<cuda::GpuLibrary> ListGpuLibraries() { return {}; }

absl::StatusOr<std::unique_ptr<Model>> LoadGpuModel(const ModelConfig&, const ModelOptions&,
                                                    WeightLoader&, const ExpertPlacement&,
                                                    Communicator&, ThreadPool&) {
  return ListGpus().status();
}

absl::StatusOr<MoeBenchReport> BenchGpuMoe(const MoeBenchOptions&) { return ListGpus().status(); }

absl::StatusOr<GpuRates> MeasureGpu() { return ListGpus().status(); }

}  // namespace folkmoot
