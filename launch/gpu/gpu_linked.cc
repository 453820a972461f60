// SPDX-License-Identifier: Apache-2.0
// Linked into programs that have a back end: folkmoot_cuda or folkmoot_cuda_sim.
#include "launch/gpu/gpu.h"
#include "launch/gpu/gpu_bench.h"
#include "layers/gpu/gpu_decoder.h"
#include "runtime/cuda/probe.h"

namespace folkmoot {

GpuBuildInfo GpuBuild() {
  return {.backend = cuda::BackendName(),
          .runtime_version = cuda::RuntimeVersion(),
          .driver_version = cuda::DriverVersion()};
}

absl::StatusOr<std::vector<cuda::DeviceInfo>> ListGpus() { return cuda::ListDevices(); }

absl::StatusOr<cuda::DeviceInfo> DescribeGpu(int index) { return cuda::DescribeDevice(index); }

std::vector<cuda::GpuLibrary> ListGpuLibraries() { return cuda::FindGpuLibraries(); }

absl::StatusOr<std::unique_ptr<Model>> LoadGpuModel(const ModelConfig& config,
                                                    const ModelOptions& options,
                                                    WeightLoader& loader,
                                                    const ExpertPlacement& placement,
                                                    Communicator& experts, ThreadPool& pool) {
  return GpuDecoder::Load(config, options, loader, placement, experts, pool);
}

absl::StatusOr<MoeBenchReport> BenchGpuMoe(const MoeBenchOptions& options) {
  return RunMoeBench(options);
}

absl::StatusOr<GpuRates> MeasureGpu() {
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<cuda::Stream> stream, cuda::Stream::Create());
  const ProbeSizes sizes = ProbeSizesHere();
  GpuRates rates;
  FM_ASSIGN_OR_RETURN(rates.read_bytes_per_second,
                      cuda::ProbeReadBandwidth(*stream, sizes.bytes, 5));
  FM_ASSIGN_OR_RETURN(
      rates.flops_per_second,
      cuda::ProbeMatrixRate(*stream, MatrixUnitOf(stream->device()), DType::kBF16, sizes.steps, 3));
  return rates;
}

}  // namespace folkmoot
