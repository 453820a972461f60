// SPDX-License-Identifier: Apache-2.0
#include "launch/gpu/gpu.h"
#include "layers/gpu/gpu_decoder.h"

namespace folkmoot {

std::string_view GpuBackend() { return cuda::BackendName(); }

absl::StatusOr<std::vector<cuda::DeviceInfo>> ListGpus() { return cuda::ListDevices(); }

absl::StatusOr<std::unique_ptr<Model>> LoadGpuModel(const ModelConfig& config,
                                                    const ModelOptions& options,
                                                    WeightLoader& loader,
                                                    const ExpertPlacement& placement,
                                                    Communicator& experts, ThreadPool& pool) {
  return GpuDecoder::Load(config, options, loader, placement, experts, pool);
}

}  // namespace folkmoot
