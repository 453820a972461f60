// SPDX-License-Identifier: Apache-2.0
// Programs without GPU support.
#include "launch/gpu/gpu.h"

namespace folkmoot {
namespace {

absl::Status NoSupport() {
  return FailedPrecondition(
      "this build has no CUDA support; use --device cpu, or build it where nvcc is found "
      "(docs/gpu.md)");
}

}  // namespace

std::string_view GpuBackend() { return "none"; }

absl::StatusOr<std::vector<cuda::DeviceInfo>> ListGpus() { return NoSupport(); }

absl::StatusOr<std::unique_ptr<Model>> LoadGpuModel(const ModelConfig&, const ModelOptions&,
                                                    WeightLoader&, const ExpertPlacement&,
                                                    Communicator&, ThreadPool&) {
  return NoSupport();
}

}  // namespace folkmoot
